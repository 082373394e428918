package policygrpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

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

func TestAUnaryCallIsTriedAgain(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		seen := &witness{}
		b := start(t, &service{unary: answers(errUnavailable, errUnavailable)}, setting{tcp: tcp, source: resilience.Compose(quick(3), seen)})
		var call policygrpc.Call
		answer, err := b.call(within(t), policygrpc.Info(&call))
		require.NoError(t, err)
		require.Equal(t, "ok", body(answer))
		require.Equal(t, 3, b.count())
		require.Equal(t, 3, call.Attempts)
		require.Len(t, call.Waits, 2)
		require.NoError(t, call.Reason)
		require.Empty(t, call.Code())
		require.Equal(t, policy.Transient, seen.seen()[0].Class)
		require.True(t, seen.seen()[2].Succeeded())
	}
}

func TestAnErrorThatNoPolicyTouchedIsTheServersOwn(t *testing.T) {
	notFound := status.Error(codes.NotFound, "no such user")
	b := start(t, &service{unary: always(notFound)}, setting{source: resilience.Compose(quick(3), breaker.New(), timeout.PerAttempt(time.Second))})
	_, err := b.call(within(t))
	require.Equal(t, "rpc error: code = NotFound desc = no such user", err.Error())
	_, wrapped := errors.AsType[*policygrpc.Error](err)
	require.False(t, wrapped)
	require.Equal(t, 1, b.count())
}

func TestCallOptions(t *testing.T) {
	other := resilience.Compose(quick(5))
	b := start(t, &service{unary: always(errUnavailable)}, setting{source: resilience.Compose(quick(3))})
	ctx := within(t)

	_, err := b.call(ctx)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 3, b.count())

	var call policygrpc.Call
	_, err = b.call(ctx, policygrpc.Off(), policygrpc.Info(&call))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 3+1, b.count())
	require.Zero(t, call)

	_, err = b.call(ctx, policygrpc.With(other), policygrpc.Info(&call), policygrpc.Info(nil))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 3+1+5, b.count())
	require.Equal(t, 5, call.Attempts)
	require.ErrorIs(t, call.Reason, retry.ErrExhausted)
	require.Equal(t, "retry.exhausted", call.Code())
	require.Equal(t, int64(5), call.LogValue().Group()[0].Value.Int64())

	require.Panics(t, func() { policygrpc.With(nil) })
}

func TestWhatGRPCWritesIsThatOfTheLastAttemptAndOnFinishIsCalledOnce(t *testing.T) {
	number := func(ctx context.Context, n int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		_ = grpc.SetHeader(ctx, metadata.Pairs("number", string(rune('0'+n))))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("last", string(rune('0'+n))))
		if n%2 == 1 {
			return nil, errUnavailable
		}
		return reply("ok"), nil
	}
	for name, layer := range map[string]policy.Layer{
		"retry": quick(3),
		"hedge": resilience.Compose(quick(3), hedge.New(hedge.Idempotent(), hedge.After(time.Minute))),
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &service{unary: number}, setting{source: resilience.Compose(layer)})
			var header, trailer metadata.MD
			var from peer.Peer
			var finished []error
			_, err := b.call(within(t), grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from),
				grpc.OnFinish(func(err error) { finished = append(finished, err) }))
			require.NoError(t, err)
			require.Equal(t, []string{"2"}, header["number"])
			require.Equal(t, []string{"2"}, trailer["last"])
			require.NotNil(t, from.Addr)
			require.Equal(t, []error{nil}, finished)
		})
	}
}

// The options that an interceptor further in gets are its own to append to.
func TestInterceptorsFurtherInMayAppendOptions(t *testing.T) {
	check := func(opts []grpc.CallOption) {
		t.Helper()
		one := append(opts, grpc.StaticMethod())
		two := append(opts, grpc.WaitForReady(true))
		require.IsType(t, grpc.StaticMethod(), one[len(opts)])
		require.IsType(t, grpc.WaitForReady(true), two[len(opts)])
	}
	invoker := func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		check(opts)
		return nil
	}
	streamer := func(_ context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		check(opts)
		return nil, errInternal
	}
	var header metadata.MD
	for _, opts := range [][]grpc.CallOption{nil, {grpc.WaitForReady(false)}, {grpc.Header(&header)}} {
		for _, source := range []resilience.Source{resilience.Compose(quick(2)), config(t, hedging(2, "1s", "", "")), config(t, `{}`)} {
			require.NoError(t, policygrpc.UnaryClient(source)(t.Context(), unaryMethod, nil, nil, nil, invoker, opts...))
			_, err := policygrpc.StreamClient(source)(t.Context(), &grpc.StreamDesc{ClientStreams: true}, nil, outputMethod, streamer, opts...)
			require.Equal(t, errInternal, err)
		}
	}
}

// What an attempt writes does not stay in what the next one leaves empty.
func TestThePeerIsThatOfTheLastAttemptAlone(t *testing.T) {
	var attempts int
	ours := policygrpc.UnaryClient(resilience.Compose(quick(2)))
	from := peer.Peer{}
	err := ours(t.Context(), unaryMethod, nil, nil, nil, func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		attempts++
		for _, opt := range opts {
			if opt, ok := opt.(grpc.PeerCallOption); ok && attempts == 1 {
				*opt.PeerAddr = peer.Peer{Addr: &net.TCPAddr{}, LocalAddr: &net.TCPAddr{}}
			}
		}
		return errUnavailable
	}, grpc.Peer(&from))
	require.Error(t, err)
	require.Equal(t, 2, attempts)
	require.Equal(t, peer.Peer{}, from)
}

// Of two interceptors of this package in one chain, that further in leaves the caller's Info alone, which it would write
// whenever one of its attempts ends.
// In virtual time the call is under way when its time is over, however busy the machine is.
func TestInfoIsThatOfTheFirstInterceptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, written := make(chan struct{}), make(chan struct{})
		inner := policygrpc.UnaryClient(resilience.Compose(quick(2)))
		outer := policygrpc.UnaryClient(resilience.Compose(timeout.Abandon(20 * time.Millisecond)))
		deaf := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			<-release
			return errUnavailable
		}
		var call policygrpc.Call
		err := outer(t.Context(), unaryMethod, nil, nil, nil, func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			defer close(written)
			return inner(ctx, method, in, out, cc, deaf, opts...)
		}, policygrpc.Info(&call))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, 1, call.Attempts)
		before := call.Err
		close(release)
		<-written
		require.Equal(t, before, call.Err)
	})
}

// What an option says of a method is said of no other method that an interceptor calls on the way, such as for a token. What
// the caller says of everything under a context is.
func TestWhatAnOptionSaysOfAMethodIsSaidOfNoOther(t *testing.T) {
	const tokenMethod = "/auth.Auth/Token"
	for name, test := range map[string]struct {
		mark     func(context.Context) context.Context
		options  []policygrpc.Option
		attempts int
	}{
		"an option":                     {nil, []policygrpc.Option{policygrpc.Idempotent(unaryMethod)}, 1},
		"the caller":                    {retry.Idempotent, nil, 3},
		"an option that says otherwise": {nil, []policygrpc.Option{policygrpc.NotIdempotent(unaryMethod)}, 1},
		"the option for the method too": {nil, []policygrpc.Option{policygrpc.Idempotent("/auth.Auth/", unaryMethod)}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := 0
			nothing := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
			failing := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				tokens++
				return errUnavailable
			}
			backend := resilience.Compose(hedge.New(hedge.After(10*time.Second), hedge.AfterFailure(), hedge.Extra(2), hedge.Limit(10, 1e6)))
			ours := policygrpc.UnaryClient(backend, test.options...)
			ctx := within(t)
			if test.mark != nil {
				ctx = test.mark(ctx)
			}
			require.NoError(t, ours(ctx, unaryMethod, nil, nil, nil, func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
				_ = ours(ctx, tokenMethod, nil, nil, nil, failing)
				return nothing(ctx, method, in, out, cc, opts...)
			}))
			require.Equal(t, test.attempts, tokens)
		})
	}
}

// gRPC takes everything before the last slash for the service.
func TestAServiceMayHaveSlashesInItsName(t *testing.T) {
	source := policygrpc.PerService(func(service string) *resilience.Pipeline {
		return resilience.Compose(resilience.Name(service))
	})
	for method, service := range map[string]string{
		"/a.B/Get": "a.B", "/a/b/Get": "a/b", "a.B/Get": "a.B", "": "*", "/": "*", "Get": "*", "/Get": "*", "//Get": "*", "//": "*",
	} {
		require.Equal(t, service, source.PipelineFor(method).Name(), "%q", method)
	}
}

func TestPipelinesPerMethodAndPerService(t *testing.T) {
	var made []string
	for name, per := range map[string]func(func(string) *resilience.Pipeline) *policygrpc.Methods{
		"/grpc.testing.TestService/UnaryCall": func(f func(string) *resilience.Pipeline) *policygrpc.Methods { return policygrpc.PerMethod(f) },
		"grpc.testing.TestService":            func(f func(string) *resilience.Pipeline) *policygrpc.Methods { return policygrpc.PerService(f) },
	} {
		made = nil
		source := per(func(key string) *resilience.Pipeline {
			made = append(made, key)
			return resilience.Compose(quick(2))
		})
		b := start(t, &service{unary: always(errUnavailable)}, setting{source: source})
		for range 2 {
			_, err := b.call(within(t))
			require.Error(t, err)
		}
		require.Equal(t, 4, b.count())
		require.Equal(t, []string{policygrpc.Other, name}, made)
		for key, pipeline := range source.All() {
			require.Equal(t, name, key)
			require.Same(t, pipeline, source.PipelineFor(unaryMethod))
		}
		require.Same(t, source.Current(), source.PipelineFor(""))
		require.NotEmpty(t, source.Report().Kind)
	}
	require.Panics(t, func() { policygrpc.PerMethod(nil) })
	empty := &resilience.Pipeline{}
	require.PanicsWithError(t, "policygrpc.PerService: a Pipeline must be made with Compose", func() {
		policygrpc.PerService(func(string) *resilience.Pipeline { return empty })
	})
	require.PanicsWithError(t, "policygrpc.UnaryClient: a Pipeline must be made with Compose",
		func() { policygrpc.UnaryClient(empty) })
}

func TestMethodAndServiceAreKeys(t *testing.T) {
	var method, serviceName string
	spy := &spyGuard{func(ctx context.Context) { method, serviceName = policygrpc.Method(ctx), policygrpc.Service(ctx) }}
	b := start(t, &service{unary: answers()}, setting{source: resilience.Compose(spy)})
	_, err := b.call(within(t))
	require.NoError(t, err)
	require.Equal(t, unaryMethod, method)
	require.Equal(t, "grpc.testing.TestService", serviceName)
	require.Empty(t, policygrpc.Method(t.Context()))
	require.Empty(t, policygrpc.Service(t.Context()))
}

type spyGuard struct{ admit func(context.Context) }

func (*spyGuard) Stage() policy.Stage { return policy.StageBulkhead }
func (s *spyGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	s.admit(ctx)
	return ctx, policy.Ticket{}, nil
}
func (*spyGuard) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestUG3_ErrorsAreStatusesAndMatch(t *testing.T) {
	open := breaker.New()
	open.ForceOpen()
	full := bulkhead.New(1)
	permit, err := policy.Acquire(t.Context(), full)
	require.NoError(t, err)
	defer permit.Done(nil)
	empty := ratelimit.New(0.001, 1)
	taken, err := policy.Acquire(t.Context(), empty)
	require.NoError(t, err)
	taken.Done(nil)
	for name, test := range map[string]struct {
		layer policy.Layer
		code  codes.Code
		is    error
	}{
		"breaker":  {open, codes.Unavailable, breaker.ErrOpen},
		"bulkhead": {full, codes.Unavailable, bulkhead.ErrFull},
		"limiter":  {empty, codes.ResourceExhausted, ratelimit.ErrLimited},
		"timeout":  {timeout.PerAttempt(20 * time.Millisecond), codes.DeadlineExceeded, timeout.ErrTimeout},
		"retry":    {quick(2, retry.If(func(error) bool { return true })), codes.Internal, retry.ErrExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			unary := always(errInternal)
			if name == "timeout" {
				unary = func(ctx context.Context, _ int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			b := start(t, &service{unary: unary}, setting{source: resilience.Compose(test.layer)})
			_, err := b.call(within(t))
			require.ErrorIs(t, err, test.is)
			require.Equal(t, test.code, status.Code(err))
			require.Equal(t, test.code, policygrpc.Status(err).Code())
			ours, ok := errors.AsType[*policygrpc.Error](err)
			require.True(t, ok)
			require.Equal(t, test.code.String(), ours.LogValue().Group()[0].Value.String())
			if name != "timeout" && name != "retry" {
				require.ErrorIs(t, err, policy.ErrRejected)
				require.Zero(t, b.count())
			}
			// And on the wire: a handler that returns the error.
			outer := start(t, &service{unary: always(err)}, setting{})
			_, err = outer.call(within(t))
			require.Equal(t, test.code, status.Code(err))
		})
	}
}

// The end of the caller's context is the end of the call, whatever happened before.
func TestTheCallerLeavesBetweenTwoAttempts(t *testing.T) {
	for name, layer := range map[string]policy.Layer{
		"retry": retry.New(retry.Constant(time.Minute), retry.NoJitter()),
		"hedge": hedge.New(hedge.Idempotent(), hedge.After(time.Minute), hedge.AfterFailure()),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // elsewhere a busy machine could let the caller leave in the first attempt
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ours := policygrpc.UnaryClient(resilience.Compose(layer))
				attempts := 0
				var call policygrpc.Call
				err := ours(ctx, unaryMethod, nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
					if attempts++; attempts == 1 {
						time.AfterFunc(20*time.Millisecond, cancel)
						return errUnavailable
					}
					<-ctx.Done()
					time.Sleep(50 * time.Millisecond) // deaf, for longer than a hedge waits
					return status.FromContextError(ctx.Err()).Err()
				}, policygrpc.Info(&call))
				require.Equal(t, codes.Canceled, status.Code(err), "%v", err)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorContains(t, err, "down", "what happened before is said")
				require.Equal(t, codes.Canceled, policygrpc.Status(fmt.Errorf("so: %w", err)).Code())
				time.Sleep(time.Second) // until the deaf attempt has ended
			})
		})
	}
	t.Run("no time for another attempt", func(t *testing.T) {
		b := start(t, &service{unary: always(errUnavailable)}, setting{source: resilience.Compose(timeout.Total(10*time.Second), retry.New(retry.Constant(time.Minute), retry.NoJitter()))})
		_, err := b.call(within(t))
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.Equal(t, codes.Unavailable, status.Code(err), "it was not the deadline that ended the call")
	})
}

func TestUG7_AnEndedContextAsksNoPolicy(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		code codes.Code
	}{
		"canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, codes.Canceled},
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, -1)
		}, codes.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &witness{}
			b := start(t, &service{unary: answers()}, setting{source: resilience.Compose(quick(3), seen)})
			ctx, cancel := test.end(t.Context())
			defer cancel()
			_, err := b.call(ctx)
			require.Equal(t, test.code, status.Code(err))
			require.ErrorIs(t, err, ctx.Err())
			stream, err := b.client.StreamingOutputCall(ctx, &testgrpc.StreamingOutputCallRequest{})
			require.Nil(t, stream)
			require.Equal(t, test.code, status.Code(err))
			_, err = b.client.FullDuplexCall(ctx)
			require.Equal(t, test.code, status.Code(err))
			require.Zero(t, seen.admitted)
			require.Zero(t, b.count())
		})
	}
}
