package policygrpc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
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

// guarded returns the options of a server behind source, and the errors that interceptors outside have seen.
func guarded(source resilience.Source, options ...policygrpc.ServerOption) ([]grpc.ServerOption, func() []error) {
	var mu sync.Mutex
	var errs []error
	note := func(err error) error {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		return err
	}
	guarding := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			answer, err := handler(ctx, request)
			return answer, note(err)
		}, policygrpc.UnaryServer(source, options...)),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return note(handler(srv, stream))
		}, policygrpc.StreamServer(source, options...)),
	}
	return guarding, func() []error {
		mu.Lock()
		defer mu.Unlock()
		return append([]error(nil), errs...)
	}
}

// asked returns what a refusal says about when to come back.
func asked(t *testing.T, err error, trailer metadata.MD) (info time.Duration, pushback string) {
	t.Helper()
	values := trailer["grpc-retry-pushback-ms"]
	require.Len(t, values, 1)
	for _, detail := range status.Convert(err).Details() {
		if retryInfo, ok := detail.(*errdetails.RetryInfo); ok {
			info = retryInfo.GetRetryDelay().AsDuration()
		}
	}
	return info, values[0]
}

func TestG5_G6_WhatAServerAnswers(t *testing.T) {
	open := breaker.New(breaker.Name("tenant-7"), breaker.OpenFor(15*time.Second))
	open.Trip()
	long := breaker.New(breaker.OpenFor(time.Hour))
	long.Trip()
	forced := breaker.New(breaker.Name("tenant-7"))
	forced.ForceOpen()
	full := bulkhead.New(1, bulkhead.Name("tenant-7"))
	permit, err := policy.Acquire(t.Context(), full)
	require.NoError(t, err)
	defer permit.Done(nil)
	empty := ratelimit.New(0.1, 1, ratelimit.Name("tenant-7"))
	token, err := policy.Acquire(t.Context(), empty)
	require.NoError(t, err)
	token.Done(nil)
	costly := ratelimit.New(1, 1, ratelimit.CostOf(func(context.Context) int { return 2 }))

	for name, test := range map[string]struct {
		layer     policy.Layer
		is        error
		code      codes.Code
		low, high time.Duration // 0: do not come back
	}{
		"breaker":           {open, breaker.ErrOpen, codes.Unavailable, 5 * time.Second, 25 * time.Second},
		"breaker, for long": {long, breaker.ErrOpen, codes.Unavailable, 30 * time.Second, 30 * time.Second},
		"breaker, forced":   {forced, breaker.ErrForced, codes.Unavailable, 0, 0},
		"bulkhead":          {full, bulkhead.ErrFull, codes.Unavailable, time.Second, 1250 * time.Millisecond},
		"limiter":           {empty, ratelimit.ErrLimited, codes.ResourceExhausted, time.Second, 12500 * time.Millisecond},
		"limiter, cost":     {costly, ratelimit.ErrLimited, codes.ResourceExhausted, 0, 0},
		"timeout":           {timeout.PerAttempt(20 * time.Millisecond), timeout.ErrTimeout, codes.DeadlineExceeded, time.Second, 1250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			options, seen := guarded(resilience.Compose(test.layer), policygrpc.ServerRand(rand.NewPCG(1, 2)))
			wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s := &service{unary: sleeping, output: func(_ int, _ *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
				return wait(stream.Context())
			}}
			b := start(t, s, setting{tcp: true, serve: options})
			check := func(err error, trailer metadata.MD) {
				t.Helper()
				require.Equal(t, test.code, status.Code(err))
				require.NotContains(t, status.Convert(err).Message(), "tenant", "the name of a policy is no business of a stranger")
				info, pushback := asked(t, err, trailer)
				if test.high == 0 {
					require.Equal(t, "-1", pushback)
					require.Zero(t, info)
					return
				}
				require.GreaterOrEqual(t, info, test.low)
				require.LessOrEqual(t, info, test.high)
				ms, err := strconv.Atoi(pushback)
				require.NoError(t, err)
				require.InDelta(t, info.Milliseconds(), ms, 1)
			}
			var trailer metadata.MD
			_, err := b.call(within(t), grpc.Trailer(&trailer))
			check(err, trailer)
			stream, err := b.client.StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{})
			require.NoError(t, err)
			_, err = stream.Recv()
			check(err, stream.Trailer())
			require.Len(t, seen(), 2)
			for _, err := range seen() {
				require.ErrorIs(t, err, test.is, "on the side of the server")
				if name != "timeout" {
					require.ErrorIs(t, err, policy.ErrRejected)
				}
			}
			if name != "timeout" {
				require.Zero(t, b.count())
			}
		})
	}
}

func TestG6_ALimitedCallIsTriedAgainBecauseOfItsRetryInfo(t *testing.T) {
	options, _ := guarded(resilience.Compose(ratelimit.New(10, 1)))
	b := start(t, &service{unary: answers()}, setting{serve: options, source: resilience.Compose(quick(2))})
	for range 3 {
		_, err := b.call(within(t))
		require.NoError(t, err, "the wait is long enough")
	}
	require.Equal(t, 3, b.count())
}

func TestAStockClientHonoursThePushback(t *testing.T) {
	t.Parallel()
	options, _ := guarded(resilience.Compose(ratelimit.New(2, 1)))
	config := `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["RESOURCE_EXHAUSTED"]}}]}`
	b := start(t, &service{unary: answers()}, setting{serve: options})
	connection, err := grpc.NewClient(b.connection.Target(), append(b.dial, grpc.WithDefaultServiceConfig(config))...)
	require.NoError(t, err)
	defer connection.Close()
	client := testgrpc.NewTestServiceClient(connection)
	for range 2 {
		_, err = client.UnaryCall(within(t), &testgrpc.SimpleRequest{})
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, b.gaps()[0], 400*time.Millisecond)
}

func TestHealthAndReflectionAreLeftAlone(t *testing.T) {
	closed := breaker.New()
	closed.ForceOpen()
	for name, test := range map[string]struct {
		options []policygrpc.ServerOption
		code    codes.Code
	}{
		"by default": {nil, codes.OK},
		"asked for":  {[]policygrpc.ServerOption{policygrpc.AllMethods()}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			options, _ := guarded(resilience.Compose(closed), test.options...)
			b := start(t, &service{unary: answers()}, setting{serve: options, health: true})
			client := healthgrpc.NewHealthClient(b.connection)
			_, err := client.Check(within(t), &healthgrpc.HealthCheckRequest{})
			require.Equal(t, test.code, status.Code(err))
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			stream, err := client.Watch(ctx, &healthgrpc.HealthCheckRequest{})
			require.NoError(t, err)
			_, err = stream.Recv()
			require.Equal(t, test.code, status.Code(err))
			_, err = b.call(within(t))
			require.Equal(t, codes.Unavailable, status.Code(err))
		})
	}
}

func TestTheErrorOfAHandlerThatAPolicyMadeIsAStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		code codes.Code
	}{
		{&policy.Rejection{Kind: "breaker", Reason: breaker.ErrOpen}, codes.Unavailable},
		{&policy.Rejection{Kind: "rate limiter", Reason: ratelimit.ErrLimited}, codes.ResourceExhausted},
		{&retry.Error{Reason: retry.ErrExhausted, Last: status.Error(codes.NotFound, "no")}, codes.NotFound},
		{timeout.ErrTimeout, codes.DeadlineExceeded},
		{errors.New("plain"), codes.Unknown},
		{status.Error(codes.Aborted, "again"), codes.Aborted},
	} {
		seen := &witness{}
		options, _ := guarded(resilience.Compose(seen))
		b := start(t, &service{unary: always(test.err)}, setting{serve: options})
		var trailer metadata.MD
		_, err := b.call(within(t), grpc.Trailer(&trailer))
		require.Equal(t, test.code, status.Code(err))
		require.Empty(t, trailer["grpc-retry-pushback-ms"], "the handler has run")
	}
}

func TestAClientCannotOpenTheBreakerOfAServer(t *testing.T) {
	t.Parallel()
	for _, cancels := range []bool{false, true} {
		t.Run(fmt.Sprintf("cancels %v", cancels), func(t *testing.T) {
			seen := &witness{}
			options, _ := guarded(resilience.Compose(seen))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			b := start(t, &service{unary: func(inner context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
				if cancels {
					cancel()
				}
				return sleeping(inner, number, in)
			}}, setting{serve: options})
			_, err := b.call(ctx)
			require.Error(t, err)
			require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))
		})
	}
}

func TestAPanicOfAHandlerGoesOnAndIsAFailure(t *testing.T) {
	seen := &witness{}
	ours := policygrpc.UnaryServer(resilience.Compose(seen))
	require.PanicsWithValue(t, "boom", func() {
		_, _ = ours(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(context.Context, any) (any, error) { panic("boom") })
	})
	require.Equal(t, policy.Panicked, seen.only(t).Kind)
}

func TestAHandlerThatPanicsGivesItsSlotBack(t *testing.T) {
	slots := bulkhead.New(1)
	recovering := func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() {
			if recovered := recover(); recovered != nil {
				err = errInternal
			}
		}()
		return handler(srv, stream)
	}
	s := &service{duplex: func(int, testgrpc.TestService_FullDuplexCallServer) error { panic("boom") }}
	b := start(t, s, setting{serve: []grpc.ServerOption{grpc.ChainStreamInterceptor(recovering, policygrpc.StreamServer(resilience.Compose(slots)))}})
	for range 3 {
		stream, err := b.client.FullDuplexCall(within(t))
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, codes.Internal, status.Code(err), "not refused")
	}
	require.Zero(t, slots.Snapshot().InFlight)
	require.Equal(t, 3, b.count())
}

func TestAStreamOfAServerHoldsItsSlotUntilTheHandlerReturns(t *testing.T) {
	slots := bulkhead.New(1)
	release := make(chan struct{})
	options, _ := guarded(resilience.Compose(slots, timeout.Total(time.Minute)))
	b := start(t, &service{duplex: func(_ int, stream testgrpc.TestService_FullDuplexCallServer) error {
		if _, ok := stream.Context().Deadline(); !ok {
			return errInternal // the context of the pipeline
		}
		_ = stream.SendHeader(metadata.MD{})
		<-release
		return nil
	}}, setting{serve: options})
	stream, err := b.client.FullDuplexCall(within(t))
	require.NoError(t, err)
	_, err = stream.Header()
	require.NoError(t, err)
	require.Equal(t, 1, slots.Snapshot().InFlight)
	refused, err := b.client.FullDuplexCall(within(t))
	require.NoError(t, err)
	_, err = refused.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	close(release)
	_, err = stream.Recv()
	require.Error(t, err)
	require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 }, 10*time.Second, time.Millisecond)
}

// changing is a source whose pipeline is replaced.
type changing struct {
	atomic.Pointer[resilience.Pipeline]
}

func (c *changing) Current() *resilience.Pipeline { return c.Load() }

func TestAPipelineThatIsUnfitForAServer(t *testing.T) {
	fit, unfit := resilience.Compose(bulkhead.New(10)), resilience.Compose(retry.New())
	for name, test := range map[string]struct {
		source  resilience.Source
		options []policygrpc.ServerOption
		says    string
	}{
		"nil":          {nil, nil, "the source is nil"},
		"nil pointer":  {(*resilience.Pipeline)(nil), nil, "the source is nil"},
		"nil inside":   {&changing{}, nil, "the pipeline in force is nil"},
		"retry":        {unfit, nil, "retry 3: repeats, and a handler must not run twice"},
		"moved hedge":  {resilience.Compose(policy.At(250, hedge.New())), nil, "wraps, and a handler must not run twice"},
		"not made":     {&resilience.Pipeline{}, nil, "a Pipeline must be made with Compose"},
		"bounds":       {fit, []policygrpc.ServerOption{policygrpc.PushbackBounds(2*time.Second, time.Second)}, "PushbackBounds(2s, 1s)"},
		"no bound":     {fit, []policygrpc.ServerOption{policygrpc.PushbackBounds(0, time.Second)}, "PushbackBounds(0s, 1s)"},
		"a day":        {fit, []policygrpc.ServerOption{policygrpc.PushbackBounds(time.Second, 25*time.Hour)}, "PushbackBounds(1s, 25h0m0s)"},
		"nil function": {fit, []policygrpc.ServerOption{policygrpc.OnConfigError(nil)}, "OnConfigError: the function is nil"},
		"nil rand":     {fit, []policygrpc.ServerOption{policygrpc.ServerRand(nil)}, "ServerRand: the source is nil"},
		"nil option":   {fit, []policygrpc.ServerOption{nil}, "option 1 is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			err := policygrpc.ValidateServer(test.source, test.options...)
			_, ok := errors.AsType[*policy.ConfigError](err)
			require.True(t, ok)
			require.ErrorContains(t, err, test.says)
			require.Panics(t, func() { policygrpc.UnaryServer(test.source, test.options...) })
			require.Panics(t, func() { policygrpc.StreamServer(test.source, test.options...) })
		})
	}
	require.NoError(t, policygrpc.ValidateServer(fit))

	t.Run("later", func(t *testing.T) {
		source := &changing{}
		limited := resilience.Compose(bulkhead.New(1))
		source.Store(limited)
		var told []error
		ours := policygrpc.UnaryServer(source, policygrpc.OnConfigError(func(err error) { told = append(told, err) }))
		call := func() error {
			_, err := ours(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(context.Context, any) (any, error) { return nil, nil })
			return err
		}
		permit, err := limited.Acquire(t.Context())
		require.NoError(t, err)
		for _, next := range []*resilience.Pipeline{limited, unfit, unfit, nil} {
			source.Store(next)
			require.ErrorIs(t, call(), bulkhead.ErrFull, "the last good one stays in force")
		}
		require.Len(t, told, 2)
		permit.Done(nil)
		source.Store(fit)
		require.NoError(t, call())
	})
	t.Run("by method", func(t *testing.T) {
		var told int
		source := policygrpc.PerMethod(func(method string) *resilience.Pipeline {
			switch method {
			case "/a/Unfit":
				return unfit
			case "/a/Unfit too":
				return resilience.Compose(retry.New())
			}
			return fit
		})
		ours := policygrpc.UnaryServer(source, policygrpc.OnConfigError(func(error) { told++ }))
		for _, method := range []string{"/a/Fit", "/a/Unfit", "/a/Fit", "/a/Unfit", "/a/Unfit too", "/a/Unfit", "/a/Unfit too"} {
			_, err := ours(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
			require.NoError(t, err)
		}
		require.Equal(t, 2, told, "once of each")
	})
	t.Run("nil at first", func(t *testing.T) {
		source, told := &changing{}, 0
		source.Store(fit)
		ours := policygrpc.UnaryServer(source, policygrpc.OnConfigError(func(error) { told++ }))
		source.Store(nil)
		for range 2 {
			_, err := ours(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(context.Context, any) (any, error) { return nil, nil })
			require.NoError(t, err)
		}
		require.Equal(t, 1, told)
	})
	t.Run("without end", func(t *testing.T) {
		source, told := &changing{}, 0
		source.Store(fit)
		ours := policygrpc.UnaryServer(source, policygrpc.OnConfigError(func(error) { told++ }))
		for range 200 {
			source.Store(resilience.Compose(retry.New()))
			_, err := ours(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(context.Context, any) (any, error) { return nil, nil })
			require.NoError(t, err)
		}
		require.Equal(t, 100, told, "what is remembered is bounded")
	})
}

// A server that passes calls on gets names of methods that it has never heard of.
func TestAMethodThatOnlyLooksLikeTheHealthServiceIsGuarded(t *testing.T) {
	full := bulkhead.New(1)
	permit, err := policy.Acquire(t.Context(), full)
	require.NoError(t, err)
	defer permit.Done(nil)
	ours := policygrpc.UnaryServer(resilience.Compose(full))
	for method, guarded := range map[string]bool{
		"/grpc.health.v1.Health/Check": false, "/grpc.health.v1.Health/more/Check": true, "/grpc.health.v1.HealthX/Check": true,
		"/grpc.health.v1.Health": true, "grpc.health.v1.Health/Check": true, "//grpc.health.v1.Health/Check": true,
	} {
		_, err := ours(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
		require.Equal(t, guarded, errors.Is(err, bulkhead.ErrFull), method)
	}
}

// Over a connection the client's cancellation is usually quicker than the deadline that it has sent.
// In virtual time the call is under way when its time is over, however busy the machine is.
func TestTheDeadlineOfAClientIsNeutralOnTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &witness{}
		ours := policygrpc.UnaryServer(resilience.Compose(seen))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := ours(ctx, nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(ctx context.Context, _ any) (any, error) {
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		})
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))
	})
}

func TestAConfigErrorNamesItsInterceptor(t *testing.T) {
	fit, unfit := resilience.Compose(bulkhead.New(1)), resilience.Compose(retry.New())
	source := &changing{}
	var told error
	tell := policygrpc.OnConfigError(func(err error) { told = err })
	for name, newCall := range map[string]func() func(){
		"policygrpc.UnaryServer": func() func() {
			ours := policygrpc.UnaryServer(source, tell)
			return func() {
				_, _ = ours(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return nil, nil })
			}
		},
		"policygrpc.StreamServer": func() func() {
			ours := policygrpc.StreamServer(source, tell)
			return func() {
				_ = ours(nil, contextStream{ctx: t.Context()}, &grpc.StreamServerInfo{}, func(any, grpc.ServerStream) error { return nil })
			}
		},
	} {
		source.Store(fit)
		call := newCall()
		source.Store(unfit)
		call()
		config, ok := errors.AsType[*policy.ConfigError](told)
		require.True(t, ok)
		require.Equal(t, name, config.Policy)
	}
}

// contextStream is a stream that has nothing but a context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }
