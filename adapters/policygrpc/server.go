package policygrpc

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// UnaryServer returns an interceptor that lets a pipeline of guards decide whether a unary call is handled at all:
//
//	front := resilience.Compose(
//		resilience.Name("front"),
//		ratelimit.New(1000, 100),                                   // RESOURCE_EXHAUSTED
//		bulkhead.New(64, bulkhead.Queue(64, 100*time.Millisecond)), // 64 calls at a time: UNAVAILABLE
//	)
//	server := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(policygrpc.UnaryServer(front)),
//		grpc.ChainStreamInterceptor(policygrpc.StreamServer(front)),
//	)
//
// A refused call is answered without entering the handler: with RESOURCE_EXHAUSTED if a rate limit refused it, and with
// UNAVAILABLE for every other reason. If the handler did not return before a timeout of the pipeline, the call is
// answered with DEADLINE_EXCEEDED when it returns. The status carries a RetryInfo, and the trailer
// grpc-retry-pushback-ms says the same to clients that retry by a service config; see [PushbackBounds]. The error is an
// [*Error]: to outer interceptors it matches the policy's error, such as breaker.ErrOpen.
//
// The pipeline judges the handler by the code of its error, as a client would; see the package's documentation. An error
// after the end of the client's own deadline, and after its cancellation, is neutral, since a client must not be able to
// open a breaker with them. A panic is a failure and propagates.
//
// The health and reflection services of gRPC bypass the pipeline; see [AllMethods].
//
// source is a [*resilience.Pipeline], a [MethodSource], or another [resilience.Source] whose pipeline can be replaced
// while it is in use. A pipeline with a repeater or a wrapper (a retry, a hedge) is refused, since a handler must not
// run twice. If source changes to such a pipeline later, the last good one stays in force; see [OnConfigError].
//
// UnaryServer panics with a [*policy.ConfigError] that lists every problem; see [ValidateServer].
func UnaryServer(source resilience.Source, options ...ServerOption) grpc.UnaryServerInterceptor {
	return mustServer("policygrpc.UnaryServer", source, options).unary
}

// StreamServer is [UnaryServer] for streams. A stream is one call: it is admitted once, and holds its slot until the
// handler returns.
func StreamServer(source resilience.Source, options ...ServerOption) grpc.StreamServerInterceptor {
	return mustServer("policygrpc.StreamServer", source, options).stream
}

// ValidateServer returns the [*policy.ConfigError] that [UnaryServer] and [StreamServer] would panic with, or nil.
func ValidateServer(source resilience.Source, options ...ServerOption) error {
	_, err := newServer("policygrpc", source, options)
	return err
}

// server is what an interceptor of a server is.
type server struct {
	serverConfig
	source   resilience.Source
	byMethod MethodSource // source, if it is one

	known
	methods *keyed.Registry[string, *known] // by method, of byMethod

	mu   sync.Mutex
	told map[*resilience.Pipeline]bool // OnConfigError has heard of them
}

// known is what has become of the pipelines of a source.
type known struct {
	last  atomic.Pointer[resilience.Pipeline] // the last one that could be used
	unfit atomic.Pointer[resilience.Pipeline] // the last one that could not
}

// maxTold bounds how many pipelines that are unfit are remembered.
const maxTold = 100

func mustServer(name string, source resilience.Source, options []ServerOption) *server {
	s, err := newServer(name, source, options)
	if err != nil {
		panic(err)
	}
	return s
}

func newServer(name string, source resilience.Source, options []ServerOption) (*server, error) {
	problems := policy.ConfigError{Policy: name}
	s := &server{serverConfig: configureServer(options, &problems), source: source}
	if sources.IsNil(source) {
		problems.Add("the source is nil")
		return nil, problems.Err()
	}
	if s.byMethod, _ = source.(MethodSource); s.byMethod != nil {
		s.methods = keyed.New(func(string) *known { return new(known) }, keyed.IdleIf(func(*known) bool { return true }))
	}
	pipeline := source.Current()
	check(source, pipeline, &problems)
	s.last.Store(pipeline)
	return s, problems.Err()
}

// check notes what makes pipeline, which source has come to, unfit to stand in front of a handler.
func check(source resilience.Source, pipeline *resilience.Pipeline, problems *policy.ConfigError) {
	if !sources.Check(source, pipeline, problems) {
		return
	}
	for _, layer := range pipeline.Layers() {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		switch layer.(type) {
		case policy.Repeater:
			problems.Add("%v: repeats, and a handler must not run twice", layer)
		case policy.Wrapper:
			problems.Add("%v: wraps, and a handler must not run twice or on another goroutine", layer)
		}
	}
}

// unguarded are the services that go past the pipeline.
var unguarded = map[string]bool{
	"grpc.health.v1.Health":                    true,
	"grpc.reflection.v1.ServerReflection":      true,
	"grpc.reflection.v1alpha.ServerReflection": true,
}

// pipelineFor returns the pipeline that a call of method goes through, nil if there is none.
func (s *server) pipelineFor(method string) *resilience.Pipeline {
	if !s.all && strings.HasPrefix(method, "/grpc.") && unguarded[serviceOf(method)] {
		return nil
	}
	var pipeline *resilience.Pipeline
	of := &s.known
	if s.byMethod != nil {
		pipeline, of = s.byMethod.PipelineFor(method), s.methods.Get(method)
	} else {
		pipeline = s.source.Current()
	}
	switch {
	case pipeline == nil:
	case pipeline == of.last.Load():
		return pipeline
	case pipeline == of.unfit.Load():
		return s.last.Load()
	}
	problems := policy.ConfigError{Policy: "policygrpc.UnaryServer"}
	if check(s.source, pipeline, &problems); len(problems.Problems) == 0 {
		of.last.Store(pipeline)
		return pipeline
	}
	of.unfit.Store(pipeline)
	if s.onConfigError != nil && s.isNew(pipeline) {
		s.onConfigError(problems.Err())
	}
	return s.last.Load()
}

// isNew reports whether OnConfigError has not heard of pipeline, and notes that it has now.
func (s *server) isNew(pipeline *resilience.Pipeline) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[pipeline] || len(s.told) == maxTold {
		return false
	}
	if s.told == nil {
		s.told = map[*resilience.Pipeline]bool{}
	}
	s.told[pipeline] = true
	return true
}

// unary is the interceptor.
func (s *server) unary(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	pipeline := s.pipelineFor(info.FullMethod)
	if pipeline == nil {
		return handler(ctx, request)
	}
	entered := false
	answer, err := resilience.Do(ctx, pipeline, func(inner context.Context) (any, error) {
		entered = true
		answer, err := handler(inner, request)
		return answer, judge(ctx, inner, err)
	})
	if err == nil {
		return answer, nil
	}
	pushback, err := s.answer(err, entered)
	if pushback != nil {
		_ = grpc.SetTrailer(ctx, pushback) // fails only outside of a server
	}
	return answer, err
}

// stream is the interceptor.
func (s *server) stream(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	pipeline := s.pipelineFor(info.FullMethod)
	if pipeline == nil {
		return handler(srv, stream)
	}
	entered := false
	ctx := stream.Context()
	_, err := resilience.Do(ctx, pipeline, func(inner context.Context) (struct{}, error) {
		entered = true
		if inner != ctx {
			return struct{}{}, judge(ctx, inner, handler(srv, &serverStream{stream, inner}))
		}
		return struct{}{}, judge(ctx, inner, handler(srv, stream))
	})
	if err == nil {
		return nil
	}
	pushback, err := s.answer(err, entered)
	if pushback != nil {
		stream.SetTrailer(pushback)
	}
	return err
}

// serverStream is a stream whose handler runs under a context of the pipeline.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

// judge returns the error of a handler as the policies judge it. ctx is the context of the client, inner that of the handler.
func judge(ctx, inner context.Context, err error) error {
	if err == nil {
		return nil
	}
	awaitDeadline(inner, err)
	f := newFailure(err, nil)
	if ctx.Err() != nil {
		f.class = policy.Ignored // the client has left, or has set a deadline that was too short
	}
	return f
}

// answer returns what the client gets for the error of a pipeline, and the trailer that says when to come back, nil if there
// is nothing to say.
func (s *server) answer(err error, entered bool) (pushback metadata.MD, answer error) {
	if f, ok := err.(*failure); ok { //nolint:errorlint // the handler's own
		return nil, unaltered(f.cause)
	}
	code := codes.DeadlineExceeded
	switch {
	case errors.Is(err, policy.ErrRejected) && !entered:
		code = codeOfRefusal(err)
	case !errors.Is(err, timeout.ErrTimeout): // the client has left
		return nil, result(err)
	}
	as := status.New(code, onTheWire(err))
	wait, ok := s.pushback(err)
	if !ok {
		return metadata.Pairs(pushbackKey, "-1"), &Error{err, as}
	}
	ms := int64((wait + time.Millisecond - 1) / time.Millisecond)
	return metadata.Pairs(pushbackKey, strconv.FormatInt(ms, 10)), &Error{err, withRetryInfo(as, wait)}
}

// onTheWire returns the text of err for a client. What the policy that refused is called, which may be a tenant's name, is no
// business of a stranger.
func onTheWire(err error) string {
	rejection, ok := errors.AsType[*policy.Rejection](err)
	if !ok || rejection.Reason == nil {
		return err.Error()
	}
	return rejection.Kind + ": " + rejection.Reason.Error()
}

// pushback returns how long a client should wait, and false if it should not come back by itself.
func (s *server) pushback(err error) (time.Duration, bool) {
	switch code := policy.Code(err); {
	case code == "ratelimit.cost", code == "ratelimit.exhausted", errors.Is(err, breaker.ErrForced):
		return 0, false
	}
	wait, ok := policy.RetryAfter(err)
	if !ok {
		wait = s.usual
	}
	wait = min(max(wait, time.Millisecond), s.most)
	jitter := time.Duration(s.random.Int64N(int64(wait/4) + 1))
	return min(wait+jitter, s.most), true
}
