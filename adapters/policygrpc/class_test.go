package policygrpc_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// table is what every code means. attempts is what three attempts become.
var table = []struct {
	code     codes.Code
	class    policy.Class
	verdict  policy.Verdict
	attempts int
}{
	{codes.OK, policy.Unclassified, policy.Success, 1},
	{codes.Canceled, policy.Ignored, policy.Neutral, 1},
	{codes.Unknown, policy.Permanent, policy.Failure, 1},
	{codes.InvalidArgument, policy.Expected, policy.Success, 1},
	{codes.DeadlineExceeded, policy.Permanent, policy.Failure, 1},
	{codes.NotFound, policy.Expected, policy.Success, 1},
	{codes.AlreadyExists, policy.Expected, policy.Success, 1},
	{codes.PermissionDenied, policy.Expected, policy.Success, 1},
	{codes.ResourceExhausted, policy.Throttled, policy.Neutral, 1},
	{codes.FailedPrecondition, policy.Expected, policy.Success, 1},
	{codes.Aborted, policy.Expected, policy.Success, 1},
	{codes.OutOfRange, policy.Expected, policy.Success, 1},
	{codes.Unimplemented, policy.Expected, policy.Success, 1},
	{codes.Internal, policy.Permanent, policy.Failure, 1},
	{codes.Unavailable, policy.Transient, policy.Failure, 3},
	{codes.DataLoss, policy.Permanent, policy.Failure, 1},
	{codes.Unauthenticated, policy.Expected, policy.Success, 1},
}

func TestUG1_G11_Fault209_EveryCodeOnTheClient(t *testing.T) {
	require.Len(t, table, 17)
	for _, tcp := range []bool{false, true} {
		for _, row := range table {
			t.Run(fmt.Sprintf("%v tcp %v", row.code, tcp), func(t *testing.T) {
				seen := &witness{}
				b := start(t, &service{unary: always(status.Error(row.code, "so it is"))}, setting{tcp: tcp, source: resilience.Compose(quick(3), seen)})
				_, err := b.call(within(t))
				require.Equal(t, row.code, status.Code(err))
				require.Equal(t, row.attempts, b.count())
				for _, outcome := range seen.seen() {
					require.Equal(t, row.class, outcome.Class)
					require.Equal(t, row.verdict, outcome.Verdict(nil))
				}
				if row.code != codes.OK {
					require.Equal(t, row.class, policygrpc.Classify(status.Error(row.code, "alone")))
				}
			})
		}
	}
}

func TestG11_EveryCodeOnTheServer(t *testing.T) {
	for _, row := range table {
		t.Run(row.code.String(), func(t *testing.T) {
			seen := &witness{}
			front := resilience.Compose(seen)
			s := &service{unary: always(status.Error(row.code, "so it is"))}
			s.output = func(_ int, _ *testgrpc.StreamingOutputCallRequest, _ testgrpc.TestService_StreamingOutputCallServer) error {
				return status.Error(row.code, "so it is")
			}
			b := start(t, s, setting{serve: []grpc.ServerOption{
				grpc.UnaryInterceptor(policygrpc.UnaryServer(front)), grpc.StreamInterceptor(policygrpc.StreamServer(front)),
			}})
			_, err := b.call(within(t))
			require.Equal(t, row.code, status.Code(err))
			stream, err := b.client.StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{})
			require.NoError(t, err)
			_, _ = stream.Recv()
			require.Eventually(t, func() bool { return len(seen.seen()) == 2 }, 10*time.Second, time.Millisecond)
			for _, outcome := range seen.seen() {
				require.Equal(t, row.class, outcome.Class)
				require.Equal(t, row.verdict, outcome.Verdict(nil))
			}
		})
	}
}

func TestClassify(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		class policy.Class
		code  codes.Code
	}{
		"nil":                 {nil, policy.Unclassified, codes.OK},
		"an unknown code":     {status.Error(99, "?"), policy.Permanent, 99},
		"the largest code":    {status.Error(math.MaxUint32, "?"), policy.Permanent, math.MaxUint32}, // "-1" on the wire
		"no status":           {errors.New("plain"), policy.Permanent, codes.Unknown},
		"canceled":            {fmt.Errorf("so: %w", context.Canceled), policy.Ignored, codes.Canceled},
		"deadline":            {fmt.Errorf("so: %w", context.DeadlineExceeded), policy.Permanent, codes.DeadlineExceeded},
		"wrapped":             {fmt.Errorf("so: %w", errUnavailable), policy.Transient, codes.Unavailable},
		"a timeout":           {fmt.Errorf("so: %w", timeout.ErrTimeout), policy.Transient, codes.DeadlineExceeded},
		"a rejection":         {&policy.Rejection{Reason: breaker.ErrOpen}, policy.Ignored, codes.Unavailable},
		"rejected otherwise":  {fmt.Errorf("so: %w", policy.ErrRejected), policy.Permanent, codes.Unavailable},
		"an error of a retry": {&retry.Error{Reason: retry.ErrExhausted, Last: errInternal}, policy.Permanent, codes.Internal},
		"errors of a hedge":   {&hedge.Error{Errs: []error{errInternal, errUnavailable}}, policy.Transient, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.code, policygrpc.Status(test.err).Code())
			if name != "an error of a retry" && name != "errors of a hedge" && name != "rejected otherwise" {
				require.Equal(t, test.class, policygrpc.Classify(test.err))
			}
		})
	}
}

// retryInfo returns a status that asks to wait.
func retryInfo(code codes.Code, wait time.Duration) error {
	s, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

// pushing returns a unary method that fails once with a pushback.
func pushing(err error, values ...string) func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	return func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		if number > 1 {
			return reply("ok"), nil
		}
		md := metadata.MD{}
		md.Append("grpc-retry-pushback-ms", values...)
		_ = grpc.SetTrailer(ctx, md)
		return nil, err
	}
}

func TestG3_Fault195_PushbackInAllForms(t *testing.T) {
	for name, test := range map[string]struct {
		values   []string
		attempts int
		wait     time.Duration
	}{
		"70 ms":               {[]string{"70"}, 2, 70 * time.Millisecond},
		"at once":             {[]string{"0"}, 2, 0},
		"-1":                  {[]string{"-1"}, 1, 0},
		"x":                   {[]string{"x"}, 1, 0},
		"empty":               {[]string{""}, 1, 0},
		"a fraction":          {[]string{"1.5"}, 1, 0},
		"beyond 32 bits":      {[]string{"2147483648"}, 1, 0},
		"far beyond":          {[]string{strings.Repeat("9", 5000)}, 1, 0},
		"with spaces":         {[]string{" 70"}, 1, 0},
		"two values":          {[]string{"70", "70"}, 1, 0},
		"beyond what we wait": {[]string{"2147483647"}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			again := retry.New(retry.Constant(time.Minute), retry.NoJitter())
			seen := &witness{}
			b := start(t, &service{unary: pushing(errUnavailable, test.values...)}, setting{source: resilience.Compose(again, seen)})
			var call policygrpc.Call
			_, err := b.call(within(t), policygrpc.Info(&call))
			require.Equal(t, test.attempts, b.count())
			require.Equal(t, policy.Failure, seen.seen()[0].Verdict(nil), "a failure for a breaker, all the same")
			if test.attempts == 1 {
				require.Equal(t, codes.Unavailable, status.Code(err))
				want := policygrpc.ErrPushback
				if name == "beyond what we wait" {
					want = retry.ErrRetryAfter
				}
				require.ErrorIs(t, call.Reason, want)
				return
			}
			require.NoError(t, err)
			require.GreaterOrEqual(t, call.Waits[0], test.wait)
			require.Less(t, call.Waits[0], test.wait+10*time.Second, "what the server asks, not the backoff")
		})
	}
}

func TestG3_AfterAPushbackBackoffStartsAnew(t *testing.T) {
	t.Parallel()
	s := &service{}
	s.unary = func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		switch number {
		case 3:
			_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "1"))
		case 5:
			return reply("ok"), nil
		}
		return nil, errUnavailable
	}
	again := retry.New(retry.Attempts(5), retry.Exponential(30*time.Millisecond, time.Hour), retry.Multiplier(50), retry.NoJitter())
	b := start(t, s, setting{source: resilience.Compose(again)})
	_, err := b.call(within(t))
	require.NoError(t, err)
	gaps := b.gaps()
	require.GreaterOrEqual(t, gaps[0], 30*time.Millisecond)
	require.GreaterOrEqual(t, gaps[1], 1500*time.Millisecond)
	require.GreaterOrEqual(t, gaps[3], 30*time.Millisecond, "anew")
	require.Less(t, gaps[2]+gaps[3], 10*time.Second, "a pushback and the first delay, where it would have been 75 s")
}

func TestUG2_ResourceExhausted(t *testing.T) {
	for name, test := range map[string]struct {
		unary    func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)
		attempts int
		reason   error
		wait     time.Duration
	}{
		"no hint":             {answers(errExhausted), 1, policygrpc.ErrNoHint, 0},
		"RetryInfo":           {answers(retryInfo(codes.ResourceExhausted, 40*time.Millisecond)), 2, nil, 40 * time.Millisecond},
		"RetryInfo, at once":  {answers(retryInfo(codes.ResourceExhausted, 0)), 2, nil, 0},
		"RetryInfo, negative": {answers(retryInfo(codes.ResourceExhausted, -time.Hour)), 2, nil, 0},
		"RetryInfo, huge":     {answers(retryInfo(codes.ResourceExhausted, math.MaxInt64)), 1, retry.ErrRetryAfter, 0},
		"pushback 0":          {pushing(errExhausted, "0"), 2, nil, 0},
		"pushback -1":         {pushing(errExhausted, "-1"), 1, policygrpc.ErrPushback, 0},
		"RetryInfo and -1":    {pushing(retryInfo(codes.ResourceExhausted, 1), "-1"), 1, policygrpc.ErrPushback, 0},
		"of another code":     {answers(retryInfo(codes.Internal, 1)), 1, nil, 0},
		"Unavailable":         {answers(retryInfo(codes.Unavailable, 40*time.Millisecond)), 2, nil, 40 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &service{unary: test.unary}, setting{source: resilience.Compose(quick(3))})
			var call policygrpc.Call
			_, err := b.call(within(t), policygrpc.Info(&call))
			require.Equal(t, test.attempts, b.count())
			require.Equal(t, test.attempts == 2, err == nil)
			require.ErrorIs(t, call.Reason, test.reason)
			if len(call.Waits) > 0 {
				require.GreaterOrEqual(t, call.Waits[0], test.wait)
			}
		})
	}
}

// sleeping waits for the end of the context.
func sleeping(ctx context.Context, _ int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestUG6_TheAttemptTimeoutIsRetriedTheCallersDeadlineIsNot(t *testing.T) {
	t.Parallel()
	t.Run("attempt timeout", func(t *testing.T) {
		seen := &witness{}
		var left []time.Duration
		b := start(t, &service{}, setting{source: resilience.Compose(quick(3), seen, timeout.PerAttempt(500*time.Millisecond))})
		b.connect(t)
		b.unary = func(ctx context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			deadline, ok := ctx.Deadline()
			if ok {
				b.mu.Lock()
				left = append(left, time.Until(deadline))
				b.mu.Unlock()
			}
			return sleeping(ctx, number, in)
		}
		_, err := b.call(within(t))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Len(t, seen.seen(), 3)
		for _, outcome := range seen.seen() {
			require.Equal(t, policy.Transient, outcome.Class)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, d := range left {
			require.LessOrEqual(t, d, 500*time.Millisecond, "the deadline of the attempt, which is sent on")
		}
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		seen := &witness{}
		b := start(t, &service{unary: sleeping}, setting{source: resilience.Compose(quick(3), seen, timeout.PerAttempt(10*time.Second))})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := b.call(ctx)
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.NotErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, policy.Failure, seen.only(t).Verdict(nil))
	})
	t.Run("the caller cancels", func(t *testing.T) {
		seen := &witness{}
		ctx, cancel := context.WithCancel(t.Context())
		b := start(t, &service{}, setting{source: resilience.Compose(quick(3), seen)})
		b.unary = func(ctx context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			cancel()
			return sleeping(ctx, number, in)
		}
		_, err := b.call(ctx)
		require.Equal(t, codes.Canceled, status.Code(err))
		require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))
	})
}

// lateTimer is a guard with a deadline after 50 ms, whose context ends later: on a busy machine, timers do not run in time.
type lateTimer struct{ by time.Duration }

var errLateTimer = errors.New("the deadline of the guard")

func (lateTimer) Stage() policy.Stage { return policy.StageAttemptTimeout }
func (l lateTimer) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	const limit = 50 * time.Millisecond
	deadline := time.Now().Add(limit)
	ctx, cancel := context.WithCancelCause(ctx)
	time.AfterFunc(limit+l.by, func() { cancel(errLateTimer) })
	return withDeadline{ctx, deadline}, policy.Ticket{}, nil
}
func (lateTimer) Settle(context.Context, policy.Ticket, policy.Outcome) {}

type withDeadline struct {
	context.Context
	deadline time.Time
}

func (w withDeadline) Deadline() (time.Time, bool) { return w.deadline, true }

// gRPC and the server compare clocks, and so know before the context does that its deadline is over.
func TestUG6_ADeadlineIsThatOfItsContextAlsoWhereTimersAreLate(t *testing.T) {
	for _, by := range []time.Duration{0, 30 * time.Millisecond, 900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			ours := policygrpc.UnaryClient(resilience.Compose(lateTimer{by}))
			err := ours(t.Context(), unaryMethod, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				time.Sleep(50 * time.Millisecond)
				return status.Error(codes.DeadlineExceeded, "by the clock")
			})
			require.ErrorIs(t, err, errLateTimer, "%v late", by)
		})
	}
}

func TestUG8_TheServerIsToldOfPreviousAttempts(t *testing.T) {
	var previous [][]string
	var own []string
	s := &service{}
	s.unary = func(ctx context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		previous = append(previous, append([]string{}, md["grpc-previous-rpc-attempts"]...))
		own = append(own, md["own"]...)
		return nil, errUnavailable
	}
	b := start(t, s, setting{source: resilience.Compose(quick(3))})
	_, err := b.call(metadata.AppendToOutgoingContext(within(t), "own", "kept"))
	require.Error(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, [][]string{{}, {"1"}, {"2"}}, previous)
	require.Equal(t, []string{"kept", "kept", "kept"}, own)
}

// An interceptor further in can hide from us what gRPC has done. Then nothing proves that nothing was sent.
func TestAnInterceptorThatForgetsTheOptionsDoesNotMakeACallHappenTwice(t *testing.T) {
	s := &service{unary: always(errUnavailable)}
	s.output = func(int, *testgrpc.StreamingOutputCallRequest, testgrpc.TestService_StreamingOutputCallServer) error {
		return errUnavailable
	}
	b := start(t, s, setting{tcp: true})
	forgets := []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(resilience.Compose(quick(3))),
			func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, _ ...grpc.CallOption) error {
				return invoker(ctx, method, in, out, cc)
			}),
		grpc.WithChainStreamInterceptor(policygrpc.StreamClient(resilience.Compose(quick(3))),
			func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				return streamer(ctx, desc, cc, method)
			}),
	}
	connection, err := grpc.NewClient("passthrough:///"+b.address, append(b.dial, forgets...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	client := testgrpc.NewTestServiceClient(connection)

	ctx := retry.NotIdempotent(within(t))
	_, err = client.UnaryCall(ctx, &testgrpc.SimpleRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 1, b.count())
	stream, err := client.StreamingOutputCall(ctx, &testgrpc.StreamingOutputCallRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 2, b.count())
	_, err = client.UnaryCall(within(t), &testgrpc.SimpleRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 5, b.count(), "where nobody says so, a retry repeats what may have been sent")
}

// A stream whose request was sent may fail before gRPC is done with it.
func TestAStreamThatWasSentAndFailsInAnInterceptorIsNotSentTwice(t *testing.T) {
	b := start(t, behaving(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), setting{tcp: true})
	connection, err := grpc.NewClient("passthrough:///"+b.address, append(b.dial, grpc.WithChainStreamInterceptor(
		policygrpc.StreamClient(resilience.Compose(quick(3)), policygrpc.NotIdempotent(outputMethod)),
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			stream, err := streamer(ctx, desc, cc, method, opts...)
			return picky{stream}, err
		}))...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	stream, err := testgrpc.NewTestServiceClient(connection).StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, errUnavailable, err)
	require.Equal(t, 1, b.count())
}

// picky is a stream that does not like the headers that it gets.
type picky struct{ grpc.ClientStream }

func (p picky) Header() (metadata.MD, error) {
	_, _ = p.ClientStream.Header()
	return nil, errUnavailable
}

func TestNotIdempotentCallsAreTriedAgainOnlyIfNothingWasSent(t *testing.T) {
	ctx := within(t)
	b := start(t, &service{unary: always(errUnavailable)}, setting{tcp: true, source: resilience.Compose(quick(3)),
		options: []policygrpc.Option{policygrpc.NotIdempotent(unaryMethod)}})
	_, err := b.call(ctx)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 1, b.count(), "the server has seen it")

	_, err = b.call(retry.Idempotent(ctx))
	require.Error(t, err)
	require.Equal(t, 1+3, b.count(), "the caller knows better")

	b.server.Stop() // from now on the connection is refused
	require.True(t, b.connection.WaitForStateChange(ctx, connectivity.Ready))
	var call policygrpc.Call
	_, err = b.call(ctx, policygrpc.Info(&call))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 3, call.Attempts, "nothing was sent: it may be tried again")
}
