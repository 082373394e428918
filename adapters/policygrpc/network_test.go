package policygrpc_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// What real connections do: everything here is over TCP.

func TestNetwork_TheServerIsKilledInTheMiddleOfACall(t *testing.T) {
	seen := &witness{}
	entered := make(chan struct{}, 10)
	s := &service{unary: func(ctx context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		entered <- struct{}{}
		return sleeping(ctx, number, in)
	}}
	b := start(t, s, setting{tcp: true, source: resilience.Compose(quick(3), seen)})
	go func() {
		<-entered
		b.server.Stop()
	}()
	_, err := b.call(within(t))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Len(t, seen.seen(), 3, "killed, and then refused twice")
	for _, outcome := range seen.seen() {
		require.Equal(t, policy.Transient, outcome.Class)
	}
}

func TestNetwork_TheServerIsKilledInTheMiddleOfAStream(t *testing.T) {
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			seen := &witness{}
			b := start(t, behaving(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), setting{tcp: true, source: resilience.Compose(quick(3), seen)})
			stream, err := open(within(t), b)
			require.NoError(t, err)
			_, err = stream.Header()
			require.NoError(t, err)
			b.server.Stop()
			require.Equal(t, codes.Unavailable, status.Code(readToTheEnd(kind, stream)))
			require.Equal(t, policy.Failure, seen.only(t).Verdict(nil))
		})
	}
}

func TestNetwork_GoAway(t *testing.T) {
	t.Parallel()
	// The server asks for a new connection all the time. No call notices.
	seen := &witness{}
	b := start(t, &service{unary: answers()}, setting{tcp: true, source: resilience.Compose(quick(3), seen),
		serve: []grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 20 * time.Millisecond, MaxConnectionAgeGrace: time.Minute})}})
	begin := time.Now()
	calls := 0
	for time.Since(begin) < 300*time.Millisecond {
		_, err := b.call(within(t))
		require.NoError(t, err)
		calls++
	}
	require.GreaterOrEqual(t, b.count(), calls)
}

func TestNetwork_TheServerStopsGracefully(t *testing.T) {
	s := &service{}
	entered := make(chan struct{})
	s.unary = func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		close(entered)
		time.Sleep(50 * time.Millisecond)
		return reply("ok"), nil
	}
	b := start(t, s, setting{tcp: true, source: resilience.Compose(quick(3))})
	go func() {
		<-entered
		b.server.GracefulStop()
	}()
	answer, err := b.call(within(t))
	require.NoError(t, err)
	require.Equal(t, "ok", body(answer))
}

func TestNetwork_TheServerStopsGracefullyWhileStreamsRun(t *testing.T) {
	theirs, ours := bulkhead.New(10), bulkhead.New(10)
	options, _ := guarded(resilience.Compose(theirs))
	release := make(chan struct{})
	b := start(t, behaving(func(context.Context) error { <-release; return nil }), setting{tcp: true, source: resilience.Compose(quick(2), ours), serve: options})
	streams := map[string]receiver{}
	for kind, open := range kinds {
		stream, err := open(within(t), b)
		require.NoError(t, err)
		_, err = stream.Header()
		require.NoError(t, err)
		require.NoError(t, stream.CloseSend())
		streams[kind] = stream
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.server.GracefulStop()
	}()
	close(release)
	for kind, stream := range streams {
		require.NoError(t, readToTheEnd(kind, stream))
	}
	<-stopped
	require.Zero(t, ours.Snapshot().InFlight)
	require.Zero(t, theirs.Snapshot().InFlight)
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testsize.Port(t)))
}

func to(t *testing.T, address string, source resilience.Source) testgrpc.TestServiceClient {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithUnaryInterceptor(policygrpc.UnaryClient(source)), grpc.WithStreamInterceptor(policygrpc.StreamClient(source)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return testgrpc.NewTestServiceClient(connection)
}

func TestNetwork_ConnectionRefused(t *testing.T) {
	db := breaker.New(breaker.ConsecutiveFailures(2), breaker.OpenFor(time.Hour))
	client := to(t, closedPort(t), resilience.Compose(quick(5), db))
	begin := time.Now()
	_, err := client.UnaryCall(within(t), &testgrpc.SimpleRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.Less(t, time.Since(begin), 5*time.Second, "at once, without wait-for-ready")
}

func TestG7_Network_WaitForReady(t *testing.T) {
	t.Parallel()
	seen := &witness{}
	client := to(t, closedPort(t), resilience.Compose(timeout.Total(3*time.Second), quick(1000), seen, timeout.PerAttempt(100*time.Millisecond)))
	begin := time.Now()
	_, err := client.UnaryCall(within(t), &testgrpc.SimpleRequest{}, grpc.WaitForReady(true))
	took := time.Since(begin)
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.ErrorIs(t, err, timeout.ErrTimeout)
	require.GreaterOrEqual(t, took, 800*time.Millisecond)
	require.Less(t, took, 15*time.Second)
	failures := 0
	for _, outcome := range seen.seen() {
		if outcome.Kind == policy.NotCalled {
			continue // it was admitted as the call ended
		}
		require.Equal(t, policy.Transient, outcome.Class, "each attempt is a failure of its own: %+v", outcome)
		require.Equal(t, policy.Failure, outcome.Verdict(nil))
		failures++
	}
	require.GreaterOrEqual(t, failures, 3)

	_, err = client.UnaryCall(within(t), &testgrpc.SimpleRequest{}, policygrpc.With(resilience.Compose(quick(2))))
	require.Equal(t, codes.Unavailable, status.Code(err), "without wait-for-ready it is known without a timeout")
}

func TestNetwork_TheServerComesBack(t *testing.T) {
	// The breaker of a client recovers, also with another interceptor between: failsafe-go #136.
	var trips atomic.Int32
	db := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(20*time.Millisecond), breaker.OnChange(countTrips(&trips)))
	var traced atomic.Int32
	tracing := func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, cancel := context.WithCancel(ctx) // whatever it does with the context
		defer cancel()
		traced.Add(1)
		return invoker(ctx, method, in, out, cc, opts...)
	}
	var down atomic.Bool
	s := &service{unary: func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		if down.Load() {
			return nil, errUnavailable
		}
		return reply("ok"), nil
	}}
	b := start(t, s, setting{tcp: true, dial: []grpc.DialOption{grpc.WithUnaryInterceptor(tracing)}, source: resilience.Compose(db, timeout.PerAttempt(time.Second))})
	for round := range 3 {
		down.Store(true)
		_, err := b.call(within(t))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.EqualValues(t, round+1, trips.Load())
		down.Store(false)
		require.Eventually(t, func() bool { _, err := b.call(within(t)); return err == nil }, 10*time.Second, 5*time.Millisecond)
		require.Equal(t, breaker.Closed, db.Snapshot().State)
	}
	require.Positive(t, traced.Load())
}

// countTrips counts how often a breaker opens that was closed. Its state says less: on a busy machine it may be half-open by
// the time that a test asks.
func countTrips(trips *atomic.Int32) func(breaker.Change) {
	return func(c breaker.Change) {
		if c.From == breaker.Closed && c.To == breaker.Open {
			trips.Add(1)
		}
	}
}

func TestNetwork_ABreakerRecoversBetweenOtherInterceptors(t *testing.T) {
	// As tracing does it: another context, an option more, a stream that is wrapped.
	type key struct{}
	unary := func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, cancel := context.WithCancel(context.WithValue(ctx, key{}, method))
		defer cancel()
		return invoker(ctx, method, in, out, cc, append(opts, grpc.StaticMethod())...)
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := streamer(context.WithValue(ctx, key{}, method), desc, cc, method, append(opts, grpc.StaticMethod())...)
		if err != nil {
			return nil, err
		}
		return traced{stream}, nil
	}
	var trips atomic.Int32
	db := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(20*time.Millisecond), breaker.OnChange(countTrips(&trips)))
	source := resilience.Compose(quick(2), db, timeout.PerAttempt(time.Second))
	var down atomic.Bool
	s := behaving(func(context.Context) error {
		if down.Load() {
			return errUnavailable
		}
		return nil
	})
	s.unary = func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		if down.Load() {
			return nil, errUnavailable
		}
		return reply("ok"), nil
	}
	b := start(t, s, setting{tcp: true, dial: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(unary, policygrpc.UnaryClient(source), unary),
		grpc.WithChainStreamInterceptor(stream, policygrpc.StreamClient(source), stream),
	}})
	calls := map[string]func(context.Context) error{"unary": func(ctx context.Context) error { _, err := b.call(ctx); return err }}
	for kind, open := range kinds {
		calls[kind] = func(ctx context.Context) error {
			stream, err := open(ctx, b)
			if err != nil {
				return err
			}
			_ = stream.CloseSend()
			return readToTheEnd(kind, stream)
		}
	}
	rounds := int32(0)
	for kind, call := range calls {
		rounds++
		down.Store(true)
		require.Equal(t, codes.Unavailable, status.Code(call(within(t))), kind)
		require.Equal(t, rounds, trips.Load(), kind)
		down.Store(false)
		require.Eventually(t, func() bool { return call(within(t)) == nil }, 10*time.Second, 5*time.Millisecond, kind)
		require.Equal(t, breaker.Closed, db.Snapshot().State, kind)
	}
}

// traced is a stream that an interceptor has wrapped.
type traced struct{ grpc.ClientStream }

func TestNetwork_AMessageThatIsTooLarge(t *testing.T) {
	large := strings.Repeat("x", 2000)
	for name, test := range map[string]struct {
		opts []grpc.CallOption
		sent int
	}{
		"to be sent":     {[]grpc.CallOption{grpc.MaxCallSendMsgSize(1000)}, 0},
		"to be received": {[]grpc.CallOption{grpc.MaxCallRecvMsgSize(1000)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &witness{}
			s := &service{unary: func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
				return reply(large), nil
			}}
			s.output = func(_ int, _ *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
				return outputs(stream, large)
			}
			b := start(t, s, setting{tcp: true, source: resilience.Compose(quick(3), seen)})
			_, err := b.client.UnaryCall(within(t), &testgrpc.SimpleRequest{Payload: payload(large)}, test.opts...)
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
			require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil), "another attempt is as large, and the server is not to blame")
			require.Equal(t, test.sent, b.count())

			stream, err := b.client.StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{Payload: payload(large)}, test.opts...)
			if err == nil {
				_, err = stream.Recv()
			}
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
			require.Len(t, seen.seen(), 2)
			require.Equal(t, 2*test.sent, b.count())
		})
	}
}

func TestNetwork_TheConnectionIsClosedByTheClient(t *testing.T) {
	seen := &witness{}
	b := start(t, &service{unary: answers()}, setting{tcp: true, source: resilience.Compose(quick(3), seen)})
	_, err := b.call(within(t))
	require.NoError(t, err)
	require.NoError(t, b.connection.Close())
	require.Equal(t, connectivity.Shutdown, b.connection.GetState())
	_, err = b.call(within(t))
	require.Equal(t, codes.Canceled, status.Code(err))
	require.Equal(t, policy.Ignored, seen.seen()[1].Class, "the caller's own doing")
	require.Len(t, seen.seen(), 2)
}
