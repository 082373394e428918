package policygrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// StreamClient returns an interceptor that sends streams through the pipeline of source, as [UnaryClient] does with unary
// calls.
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
	chosen := cl.choose(method, opts)
	if chosen.line == nil {
		return streamer(ctx, desc, connection, method, opts...)
	}
	c := &streamCall{desc: desc, streamer: streamer}
	opts = slices.Clone(opts) // the slice is the caller's again when a stream has been opened
	cl.newCall(&c.call, ctx, chosen.line, method, connection, opts, chosen.infos)
	if desc.ServerStreams && !desc.ClientStreams {
		return &answerStream{call: c, sent: make(chan struct{}), ready: make(chan struct{})}, nil
	}
	a, err := c.open(func(ctx context.Context) (*streamAttempt, error) {
		a := c.newAttempt(ctx)
		defer a.cancelUnlessOpen()
		if err := a.begin(); err != nil {
			return a, a.failed(a.ctx, err)
		}
		return a.opened(), nil
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

// open opens the stream through the pipeline. The attempt is that which was made last, nil if there was none; it is open
// if there is no error.
func (c *streamCall) open(op policy.Func[*streamAttempt]) (*streamAttempt, error) {
	a, permit, err := resilience.Open(c, c.line.pipeline, op)
	if err != nil {
		if a != nil {
			a.publish()
		}
		c.tell(err)
		err = result(err)
		c.finished(err)
		return a, err
	}
	a.deliver(permit)
	return a, nil
}

// streamAttempt is one attempt of a stream, and the stream that it has opened, which settles the permit that it is given
// when it ends: gRPC says so, or RecvMsg returns an error, or the context ends, whichever comes first. What the caller asked
// gRPC for waits until gRPC is done with the stream, which may be a little after the context.
type streamAttempt struct {
	grpc.ClientStream
	attempt
	stream *streamCall
	ctx    context.Context
	cancel context.CancelFunc
	isOpen bool
	ended  error // without headers: io.EOF, for an answer that has no messages; otherwise nil

	mu         sync.Mutex
	over       bool // it has ended with err
	err        error
	cause      error // of the context, when it ended
	permit     *policy.Permit
	stop       func() bool // listening to the context
	called     bool        // what the caller gave to grpc.OnFinish, or about to be
	publishing sync.Once
	settling   sync.Once
}

func (c *streamCall) newAttempt(ctx context.Context) *streamAttempt {
	a := &streamAttempt{stream: c}
	a.attempt.call = &c.call
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.isolate(c.opts, grpc.OnFinish(a.finish))
	return a
}

// begin opens the stream.
func (a *streamAttempt) begin() (err error) {
	c := a.stream
	a.ClientStream, err = c.streamer(a.outgoing(a.ctx), c.desc, c.connection, c.method, a.opts...)
	if err == nil && a.ClientStream == nil {
		err = status.Error(codes.Internal, "policygrpc: an interceptor has returned neither a stream nor an error")
	}
	return err
}

// opened says that the operation has succeeded.
func (a *streamAttempt) opened() *streamAttempt {
	a.succeeded()
	a.isOpen = true
	return a
}

// cancelUnlessOpen releases what an attempt holds that has failed, or has panicked.
func (a *streamAttempt) cancelUnlessOpen() {
	if !a.isOpen {
		a.cancel()
	}
}

// deliver gives the attempt the permit that it settles.
func (a *streamAttempt) deliver(permit *policy.Permit) {
	a.mu.Lock()
	a.permit = permit
	over, err := a.over, a.err
	a.mu.Unlock()
	if over {
		a.finish(err)
		return
	}
	// gRPC watches the context too. But an interceptor between may have answered itself, without gRPC.
	stop := context.AfterFunc(a.ctx, func() {
		err, _ := a.end(status.FromContextError(a.ctx.Err()).Err())
		a.settle(err)
	})
	a.mu.Lock()
	a.stop = stop
	over = a.over
	a.mu.Unlock()
	if over {
		stop()
	}
}

// finish notes that the stream has ended with err, and that nobody writes what the caller asked gRPC for any more.
func (a *streamAttempt) finish(err error) {
	err, ok := a.end(err)
	if !ok {
		return
	}
	a.publishing.Do(a.publish)
	a.settle(err)
	a.mu.Lock()
	first := !a.called
	a.called = true
	a.mu.Unlock()
	if first {
		a.stream.finished(err)
	}
}

// end notes that the stream has ended with err, nil or io.EOF for success. The first end counts, and is returned. ok is false
// if there is no permit to settle yet: then the operation is not over, and its error says the same, or deliver goes on.
func (a *streamAttempt) end(err error) (first error, ok bool) {
	if err == io.EOF { //nolint:errorlint // as gRPC itself: the very value
		err = nil
	}
	if err != nil {
		awaitDeadline(a.ctx, err)
	}
	a.mu.Lock()
	if !a.over {
		a.over, a.err, a.cause = true, err, context.Cause(a.ctx)
	}
	err = a.err
	permit, stop := a.permit, a.stop
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
	return err, permit != nil
}

// settle tells the pipeline how the stream has ended. Who comes second waits for the first, so that the caller of RecvMsg
// finds everything told.
func (a *streamAttempt) settle(err error) {
	a.settling.Do(func() {
		c := &a.stream.call
		c.tell(err)
		defer a.cancel()
		if err == nil {
			a.permit.Done(nil)
			return
		}
		f := newFailure(err, nil)
		if a.ctx.Err() != nil && policy.Canceled(c.Context) {
			f.class = policy.Ignored
		}
		a.permit.Done(f)
	})
}

// panicked settles the stream unless the call of an interceptor has returned: it has panicked, or exited.
func (a *streamAttempt) panicked(returned *bool) {
	if *returned {
		return
	}
	a.mu.Lock()
	first := !a.over
	a.over, a.called = true, true
	permit := a.permit
	a.mu.Unlock()
	if first && permit != nil {
		a.settling.Do(func() {
			defer a.cancel()
			permit.Settle(policy.Outcome{Kind: policy.Panicked})
		})
	}
}

// alter returns an error of the stream as the caller gets it: a timeout of the pipeline, which reaches gRPC as a
// cancellation, is named.
func (a *streamAttempt) alter(err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // the very value
		return err
	}
	a.mu.Lock()
	cause := a.cause
	a.mu.Unlock()
	if errors.Is(cause, timeout.ErrTimeout) && a.stream.Context.Err() == nil {
		if code := status.Code(err); code == codes.Canceled || code == codes.DeadlineExceeded {
			return result(fmt.Errorf("%w: %w", cause, err))
		}
	}
	return err
}

// RecvMsg receives a message. Its error, or in a stream of the client its only message, is the end.
func (a *streamAttempt) RecvMsg(m any) error {
	returned := false
	defer a.panicked(&returned)
	err := a.ClientStream.RecvMsg(m)
	returned = true
	if err != nil || !a.stream.desc.ServerStreams {
		a.finish(err)
		return a.alter(err)
	}
	return nil
}

// SendMsg sends a message. io.EOF means that the stream has ended, and that RecvMsg knows how.
func (a *streamAttempt) SendMsg(m any) error {
	returned := false
	defer a.panicked(&returned)
	err := a.ClientStream.SendMsg(m)
	returned = true
	if err != nil && err != io.EOF { //nolint:errorlint // the very value
		a.finish(err)
		return a.alter(err)
	}
	return err
}

// Header waits for the headers of the answer. An error is the end.
func (a *streamAttempt) Header() (metadata.MD, error) {
	returned := false
	defer a.panicked(&returned)
	header, err := a.ClientStream.Header()
	returned = true
	if err != nil {
		a.finish(err)
		return header, a.alter(err)
	}
	return header, nil
}
