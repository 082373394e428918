package interop_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The cases of gRPC's "Interoperability Test Case Descriptions" that need no service from outside. A case that fails ends
// the process: that is how they are written.
func TestInterop(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{
		"guards": {retry.New(), breaker.New(), ratelimit.New(1e6, 1000), bulkhead.New(100)},
		"limits": {timeout.Total(time.Minute), retry.New(), breaker.New(), bulkhead.New(100), timeout.PerAttempt(4 * time.Second)},
		"hedged": {retry.New(), hedge.New(hedge.Idempotent(), hedge.After(time.Minute)), bulkhead.New(100)},
	} {
		t.Run(name, func(t *testing.T) {
			slots, served := bulkhead.New(100), bulkhead.New(100)
			backend := resilience.Compose(append(layers, policy.At(policy.StageBulkhead+1, slots))...)
			front := resilience.Compose(breaker.New(), served, timeout.Total(time.Minute))
			connection, client := start(t, backend, front)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, run := range []struct {
				name string
				test func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
			}{
				{"empty_unary", interop.DoEmptyUnaryCall},
				{"large_unary", interop.DoLargeUnaryCall},
				{"client_streaming", interop.DoClientStreaming},
				{"server_streaming", interop.DoServerStreaming},
				{"ping_pong", interop.DoPingPong},
				{"empty_stream", interop.DoEmptyStream},
				{"timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer},
				{"cancel_after_begin", interop.DoCancelAfterBegin},
				{"cancel_after_first_response", interop.DoCancelAfterFirstResponse},
				{"custom_metadata", interop.DoCustomMetadata},
				{"status_code_and_message", interop.DoStatusCodeAndMessage},
				{"special_status_message", interop.DoSpecialStatusMessage},
			} {
				t.Run(run.name, func(*testing.T) { run.test(ctx, client) })
			}
			t.Run("unimplemented_method", func(*testing.T) { interop.DoUnimplementedMethod(ctx, connection) })
			t.Run("unimplemented_service", func(*testing.T) {
				interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(connection))
			})
			require.Eventually(t, func() bool {
				return slots.Snapshot().InFlight == 0 && served.Snapshot().InFlight == 0
			}, 10*time.Second, time.Millisecond, "every slot is back")
		})
	}
}

func start(t *testing.T, backend, front *resilience.Pipeline) (*grpc.ClientConn, testgrpc.TestServiceClient) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.UnaryInterceptor(policygrpc.UnaryServer(front)), grpc.StreamInterceptor(policygrpc.StreamServer(front)))
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	connection, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithUnaryInterceptor(policygrpc.UnaryClient(backend)), grpc.WithStreamInterceptor(policygrpc.StreamClient(backend)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection, testgrpc.NewTestServiceClient(connection)
}
