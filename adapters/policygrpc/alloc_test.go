//go:build !race

package policygrpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/retry"
)

// guards is a pipeline without timeouts, whose contexts cost what they cost anywhere.
func guards() *resilience.Pipeline {
	return resilience.Compose(retry.New(), breaker.New(), bulkhead.New(1000))
}

// TestAllocations: the call. gRPC adds the map of the trailer, which it fills in for whoever asks for it.
func TestAllocations(t *testing.T) {
	ctx := t.Context()
	invoker := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	count := func(source resilience.Source) float64 {
		ours := policygrpc.UnaryClient(source)
		return testing.AllocsPerRun(1000, func() {
			if err := ours(ctx, unaryMethod, nil, nil, nil, invoker); err != nil {
				panic(err)
			}
		})
	}
	require.LessOrEqual(t, count(guards()), 1.0)
	source, err := policygrpc.FromServiceConfig(`{}`, breaker.New(), bulkhead.New(10))
	require.NoError(t, err)
	require.LessOrEqual(t, count(policygrpc.PerMethod(func(string) *resilience.Pipeline { return guards() })), 1.0)
	require.LessOrEqual(t, count(source), 2.0)

	overloaded := status.Error(codes.ResourceExhausted, "without a hint")
	failing := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return overloaded }
	never := breaker.New(breaker.ConsecutiveFailures(1_000_000))
	client := policygrpc.UnaryClient(resilience.Compose(retry.New(), never))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = client(ctx, unaryMethod, nil, nil, nil, failing) }), 6.0,
		"a failure that no attempt may follow is looked through by each policy, and marked once")

	handler := func(context.Context, any) (any, error) { return nil, nil }
	info := &grpc.UnaryServerInfo{FullMethod: unaryMethod}
	server := policygrpc.UnaryServer(resilience.Compose(breaker.New(), bulkhead.New(1000)))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = server(ctx, nil, info, handler) }), 2.0)
}

// TestAllocationsOverAConnection: at most three above a connection without an interceptor.
func TestAllocationsOverAConnection(t *testing.T) {
	ctx := t.Context()
	count := func(source resilience.Source) float64 {
		b := start(t, &service{unary: answers()}, setting{source: source})
		b.times = make([]time.Time, 0, 1<<16)
		return testing.AllocsPerRun(2000, func() {
			if _, err := b.call(ctx); err != nil {
				panic(err)
			}
		})
	}
	bare, ours := count(nil), count(guards())
	require.LessOrEqual(t, ours-bare, 3.5, "bare %v, ours %v", bare, ours)
}
