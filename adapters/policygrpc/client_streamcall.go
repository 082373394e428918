package policygrpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// StreamClient returns an interceptor that sends streams through the pipeline of source, as [UnaryClient] does with
// unary calls.
//
// A stream holds its place in the pipeline until it ends: with an error or io.EOF from RecvMsg, or with its context.
// Then its outcome is settled, once. A stream that is neither read to its end nor cancelled keeps its slot, just as it
// keeps a goroutine of gRPC.
//
// A server stream, which has a single request, is an operation until the headers of the answer arrive, which servers
// send with the first message. Until then it is retried, under the same attempt timeout as a unary call; then the
// breaker counts its success or failure. Later failures are not retried. For the retries a copy of the request is kept,
// of at most 256 KiB or the size given to grpc.MaxRetryRPCBufferSize; a larger request is sent once. SendMsg, and so
// the function that protoc generates, returns when the request was sent, or with the error if it could not be sent.
//
// Any other stream is an operation until it is open. Its messages are not kept, so later failures are not retried.
//
// StreamClient panics with a [*policy.ConfigError] that lists every problem: a nil source, an option out of its range.
func StreamClient(source resilience.Source, options ...Option) grpc.StreamClientInterceptor {
	return newClient("policygrpc.StreamClient", source, options).stream
}

// stream is the interceptor.
func (cl *client) stream(
	ctx context.Context, desc *grpc.StreamDesc, connection *grpc.ClientConn, method string, streamer grpc.Streamer,
	opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	route := cl.routeOf(method, opts)
	if route == nil {
		return streamer(ctx, desc, connection, method, opts...)
	}
	c := &streamCall{
		call: call{
			Context: ctx, client: cl, route: route, method: method, connection: connection,
			opts: slices.Clone(opts), // the slice is the caller's again when a stream has been opened
		},
		desc: desc, streamer: streamer,
	}
	c.setIdempotency()
	if desc.ServerStreams && !desc.ClientStreams {
		return newSingleRequestStream(c), nil
	}
	a, err := c.runPipeline(func(ctx context.Context) (*streamAttempt, error) {
		return c.attemptOnce(ctx, (*streamAttempt).openStream)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// streamCall is the call of a stream.
type streamCall struct {
	call
	desc     *grpc.StreamDesc
	streamer grpc.Streamer
}

// runPipeline opens the stream through the pipeline, by an operation that makes one attempt. Without an error, the
// attempt that it returns is the stream; with one, it is the attempt that decided, nil if there was none.
func (c *streamCall) runPipeline(operation policy.Func[*streamAttempt]) (*streamAttempt, error) {
	a, permit, err := resilience.Open(c, c.route.pipeline, operation)
	if err == nil {
		a.deliver(permit)
		return a, nil
	}
	if a != nil {
		a.publish()
	}
	return a, c.end(err)
}

// attemptOnce makes one attempt to open the stream, which is over when open returns.
func (c *streamCall) attemptOnce(ctx context.Context, open func(*streamAttempt) error) (*streamAttempt, error) {
	a := newStreamAttempt(ctx, c)
	opened := false
	defer func() {
		if !opened { // it has failed, or an interceptor has panicked
			a.cancel()
		}
	}()
	if err := open(a); err != nil {
		return a, a.judge(a.ctx, err)
	}
	a.succeeded()
	opened = true
	return a, nil
}
