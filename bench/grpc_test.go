package bench

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	grpcretry "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// grpcClients are the interceptors side by side. "guards" is a retry, a breaker and a bulkhead, for the peer a retry and a
// breaker; "limits" adds a total timeout and one for each attempt. "limits/by-hand" is what the contexts of those cost.
func grpcClients() map[string]grpc.UnaryClientInterceptor {
	guards := resilience.Compose(retry.New(), breaker.New(), bulkhead.New(unlimitedSlots))
	again := failsafegrpc.NewRetryPolicyBuilder[any]().Build()
	circuit := circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build()
	return map[string]grpc.UnaryClientInterceptor{
		"bare":                     nil,
		"retry/" + ours:            policygrpc.UnaryClient(resilience.Compose(retry.New())),
		"retry/go-grpc-middleware": grpcretry.UnaryClientInterceptor(grpcretry.WithMax(2)),
		"retry/failsafegrpc":       failsafegrpc.NewUnaryClientInterceptor[any](again),
		"guards/" + ours:           policygrpc.UnaryClient(guards),
		"guards/failsafegrpc":      failsafegrpc.NewUnaryClientInterceptor[any](again, circuit),
		"limits/" + ours:           policygrpc.UnaryClient(resilience.Compose(guards, timeout.Total(totalLimit), timeout.PerAttempt(attemptLimit))),
		"limits/by-hand": func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			total, endTotal := context.WithTimeout(ctx, totalLimit)
			defer endTotal()
			attempt, end := context.WithTimeout(total, attemptLimit)
			defer end()
			return invoker(attempt, method, in, out, cc, opts...)
		},
	}
}

func benchmarkGRPC(b *testing.B, client grpc.UnaryClientInterceptor, server ...grpc.ServerOption) {
	pipe := bufconn.Listen(1 << 20)
	s := grpc.NewServer(server...)
	healthgrpc.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(pipe)
	}()
	defer func() { s.Stop(); <-done }()
	dial := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) })}
	if client != nil {
		dial = append(dial, grpc.WithUnaryInterceptor(client))
	}
	connection, err := grpc.NewClient("passthrough:///bufconn", dial...)
	must(err == nil, "dial")
	defer connection.Close()
	request, ctx := &healthgrpc.HealthCheckRequest{}, b.Context()
	answer := &healthgrpc.HealthCheckResponse{}
	b.ReportAllocs()
	for b.Loop() {
		err := connection.Invoke(ctx, healthgrpc.Health_Check_FullMethodName, request, answer)
		must(err == nil && answer.GetStatus() == healthgrpc.HealthCheckResponse_SERVING, "answer")
	}
}

// BenchmarkGRPCClient makes unary calls over bufconn.
func BenchmarkGRPCClient(b *testing.B) {
	for name, client := range grpcClients() {
		b.Run(name, func(b *testing.B) { benchmarkGRPC(b, client) })
	}
}

// BenchmarkGRPCInterceptor is the interceptors alone: the call beneath is nothing.
func BenchmarkGRPCInterceptor(b *testing.B) {
	nothing := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	request, answer := &healthgrpc.HealthCheckRequest{}, &healthgrpc.HealthCheckResponse{}
	for name, client := range grpcClients() {
		if client == nil {
			continue
		}
		b.Run(name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				must(client(ctx, healthgrpc.Health_Check_FullMethodName, request, answer, nil, nothing) == nil, "error")
			}
		})
	}
}

// BenchmarkGRPCServer makes unary calls to a server behind a front door.
func BenchmarkGRPCServer(b *testing.B) {
	circuit := circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build()
	for name, server := range map[string]grpc.UnaryServerInterceptor{
		"bare":                nil,
		"guards/" + ours:      policygrpc.UnaryServer(resilience.Compose(breaker.New(), bulkhead.New(unlimitedSlots)), policygrpc.AllMethods()),
		"guards/failsafegrpc": failsafegrpc.NewUnaryServerInterceptor[any](circuit),
	} {
		b.Run(name, func(b *testing.B) {
			if server == nil {
				benchmarkGRPC(b, nil)
				return
			}
			benchmarkGRPC(b, nil, grpc.UnaryInterceptor(server))
		})
	}
}
