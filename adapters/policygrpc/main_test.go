package policygrpc_test

import (
	"context"
	"flag"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests that run in parallel wait nearly all the time.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// The methods of the service of grpc-go's own tests.
const (
	unaryMethod  = "/grpc.testing.TestService/UnaryCall"
	outputMethod = "/grpc.testing.TestService/StreamingOutputCall"
)

// service is a server whose answers are functions; it counts what it is asked.
type service struct {
	testgrpc.UnimplementedTestServiceServer
	unary  func(ctx context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)
	output func(number int, in *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error
	input  func(number int, stream testgrpc.TestService_StreamingInputCallServer) error
	duplex func(number int, stream testgrpc.TestService_FullDuplexCallServer) error

	mu    sync.Mutex
	calls int
	times []time.Time
}

func (s *service) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.times = append(s.times, time.Now())
	return s.calls
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// gaps returns the times between the calls.
func (s *service) gaps() (gaps []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(s.times); i++ {
		gaps = append(gaps, s.times[i].Sub(s.times[i-1]))
	}
	return gaps
}

func (s *service) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	return s.unary(ctx, s.next(), in)
}

func (s *service) StreamingOutputCall(in *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
	return s.output(s.next(), in, stream)
}

func (s *service) StreamingInputCall(stream testgrpc.TestService_StreamingInputCallServer) error {
	return s.input(s.next(), stream)
}

func (s *service) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	return s.duplex(s.next(), stream)
}

// answers returns a unary method that fails with each of errs in turn, and then answers "ok".
func answers(errs ...error) func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	return func(_ context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		if number <= len(errs) && errs[number-1] != nil {
			return nil, errs[number-1]
		}
		return reply("ok"), nil
	}
}

// always returns a unary method that fails with err.
func always(err error) func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	return func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) { return nil, err }
}

func reply(text string) *testgrpc.SimpleResponse {
	return &testgrpc.SimpleResponse{Payload: payload(text)}
}

func payload(text string) *testgrpc.Payload { return &testgrpc.Payload{Body: []byte(text)} }

func body(r *testgrpc.SimpleResponse) string { return string(r.GetPayload().GetBody()) }

// outputs sends messages.
func outputs(stream testgrpc.TestService_StreamingOutputCallServer, texts ...string) error {
	for _, text := range texts {
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: payload(text)}); err != nil {
			return err
		}
	}
	return nil
}

var (
	errUnavailable = status.Error(codes.Unavailable, "down")
	errExhausted   = status.Error(codes.ResourceExhausted, "too much")
	errInternal    = status.Error(codes.Internal, "broken")
)

// backend is a running server with a connection to it.
type backend struct {
	*service
	server     *grpc.Server
	connection *grpc.ClientConn
	client     testgrpc.TestServiceClient
	address    string            // of a TCP server
	dial       []grpc.DialOption // without interceptors
}

// setting says how a backend is made.
type setting struct {
	tcp     bool
	source  resilience.Source // of the client's interceptors; nil: none
	options []policygrpc.Option
	dial    []grpc.DialOption
	serve   []grpc.ServerOption
	health  bool
}

// start runs a server until the end of the test.
func start(t testing.TB, s *service, set setting) *backend {
	t.Helper()
	b := &backend{service: s, server: grpc.NewServer(set.serve...)}
	testgrpc.RegisterTestServiceServer(b.server, s)
	if set.health {
		healthgrpc.RegisterHealthServer(b.server, health.NewServer())
	}
	dial := append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, set.dial...)
	target := "passthrough:///bufconn"
	var listener net.Listener
	if set.tcp {
		var err error
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		b.address = listener.Addr().String()
		target = "passthrough:///" + b.address
	} else {
		pipe := bufconn.Listen(1 << 20)
		listener = pipe
		dial = append(dial, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.server.Serve(listener)
	}()
	t.Cleanup(func() {
		b.server.Stop()
		<-done
	})
	b.dial = dial
	if set.source != nil {
		dial = append(dial,
			grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(set.source, set.options...)),
			grpc.WithChainStreamInterceptor(policygrpc.StreamClient(set.source, set.options...)))
	}
	var err error
	b.connection, err = grpc.NewClient(target, dial...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.connection.Close() })
	b.client = testgrpc.NewTestServiceClient(b.connection)
	return b
}

// connect waits for the connection: an attempt that waits for it may not come to the server in time.
func (b *backend) connect(t testing.TB) {
	t.Helper()
	b.connection.Connect()
	require.Eventually(t, func() bool { return b.connection.GetState() == connectivity.Ready }, 10*time.Second, time.Millisecond)
}

// call makes a unary call.
func (b *backend) call(ctx context.Context, opts ...grpc.CallOption) (*testgrpc.SimpleResponse, error) {
	return b.client.UnaryCall(ctx, &testgrpc.SimpleRequest{}, opts...)
}

// within returns a context that ends with the test, and long before a test hangs.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// quick returns a retry that waits a millisecond.
func quick(attempts int, options ...retry.Option) *retry.Retrier {
	return retry.New(append([]retry.Option{retry.Attempts(attempts), retry.Constant(time.Millisecond), retry.NoJitter(), retry.NoBudget()}, options...)...)
}

// witness is a guard that notes every outcome.
type witness struct {
	stage policy.Stage

	mu       sync.Mutex
	outcomes []policy.Outcome
	admitted int
	running  int
}

func (w *witness) Stage() policy.Stage {
	if w.stage == 0 {
		return policy.StageBulkhead
	}
	return w.stage
}

func (w *witness) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.admitted++
	w.running++
	return ctx, policy.Ticket{}, nil
}

func (w *witness) Settle(_ context.Context, _ policy.Ticket, o policy.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	w.outcomes = append(w.outcomes, o)
}

func (w *witness) seen() []policy.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]policy.Outcome(nil), w.outcomes...)
}

// only waits for the only outcome.
func (w *witness) only(t *testing.T) policy.Outcome {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.seen()) == 1 }, 10*time.Second, time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(t, 1, w.admitted)
	require.Zero(t, w.running)
	return w.outcomes[0]
}
