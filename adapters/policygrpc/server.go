package policygrpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/refusals"
	"github.com/go-resilience/resilience/internal/sources"
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

// server is an interceptor: UnaryServer returns its method unary, StreamServer its method stream.
type server struct {
	serverConfig
	name      string // of the function that has made it
	pipelines *pipelines[suitability]
	first     *resilience.Pipeline             // that the source had when the server was made
	told      oncePerKey[*resilience.Pipeline] // what OnConfigError was told of
}

func mustServer(name string, source resilience.Source, options []ServerOption) *server {
	s, err := newServer(name, source, options)
	if err != nil {
		panic(err)
	}
	return s
}

func newServer(name string, source resilience.Source, options []ServerOption) (*server, error) {
	problems := policy.ConfigError{Policy: name}
	s := &server{serverConfig: configureServer(options, &problems), name: name}
	if sources.IsNil(source) {
		problems.Add("the source is nil")
		return nil, problems.Err()
	}
	s.pipelines = newPipelines[suitability](source)
	s.first = source.Current()
	sources.CheckGuards(source, s.first, &problems)
	return s, problems.Err()
}

// unguarded are the services that go past the pipeline.
var unguarded = map[string]bool{
	"grpc.health.v1.Health":                    true,
	"grpc.reflection.v1.ServerReflection":      true,
	"grpc.reflection.v1alpha.ServerReflection": true,
}

// pipelineFor returns the pipeline that a call of method goes through, nil if there is none. Instead of an unsuitable
// one it is the last suitable one of the source, or, of a MethodSource, the first one of its Current.
func (s *server) pipelineFor(method string) *resilience.Pipeline {
	if !s.allMethods && strings.HasPrefix(method, "/grpc.") && unguarded[serviceOf(method)] {
		return nil
	}
	pipeline, known := s.pipelines.current(method)
	if s.isSuitable(pipeline, known) {
		return pipeline
	}
	if last := known.suitable.Load(); last != nil && s.pipelines.byMethod == nil {
		return last
	}
	return s.first
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
		return answer, judgeHandler(ctx, inner, err)
	})
	if err == nil {
		return answer, nil
	}
	trailer, err := s.answer(err, entered)
	if trailer != nil {
		_ = grpc.SetTrailer(ctx, trailer) // fails only outside of a server
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
			return struct{}{}, judgeHandler(ctx, inner, handler(srv, &guardedStream{stream, inner}))
		}
		return struct{}{}, judgeHandler(ctx, inner, handler(srv, stream))
	})
	if err == nil {
		return nil
	}
	trailer, err := s.answer(err, entered)
	if trailer != nil {
		stream.SetTrailer(trailer)
	}
	return err
}

// guardedStream is a stream whose handler runs under a context of the pipeline.
type guardedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *guardedStream) Context() context.Context { return s.ctx }

// judgeHandler returns the error of a handler as the policies see it. client is the context of the call, handler that
// under which the handler runs.
func judgeHandler(client, handler context.Context, err error) error {
	if err == nil {
		return nil
	}
	awaitDeadline(handler, err)
	f := newFailure(err, nil)
	if client.Err() != nil {
		f.class = policy.Ignored // the client has left, or has set a deadline that was too short
	}
	return f
}

// answer returns what the client gets for the error of a pipeline, and the trailer that says when to come back, nil if
// there is nothing to say.
func (s *server) answer(err error, entered bool) (trailer metadata.MD, answer error) {
	if f, ok := err.(*failure); ok { //nolint:errorlint // the handler's own
		return nil, asStatus(f.cause)
	}
	var code codes.Code
	switch {
	case errors.Is(err, policy.ErrRejected) && !entered:
		code = codeOfRefusal(err)
	case errors.Is(err, timeout.ErrTimeout):
		code = codes.DeadlineExceeded
	default: // the client has left
		return nil, forCaller(err)
	}
	as := status.New(code, wireText(err))
	if refusals.IsLasting(err) {
		return stopTrailer(), &Error{err, as}
	}
	wait := s.waitFor(err)
	return waitTrailer(wait), &Error{err, withRetryInfo(as, wait)}
}

// waitFor returns how long a client should wait, within the PushbackBounds. Up to a quarter of it is random, so that
// clients do not come back together.
func (s *server) waitFor(err error) time.Duration {
	wait, ok := policy.RetryAfter(err)
	if !ok {
		wait = s.usualWait
	}
	wait = min(max(wait, time.Millisecond), s.longestWait)
	jitter := time.Duration(s.random.Int64N(int64(wait/4) + 1))
	return min(wait+jitter, s.longestWait)
}
