package policygrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// streamAttempt is one attempt to open a stream. If it is the result of the pipeline, it is also the stream that the
// caller reads: it was delivered with a permit, which it settles when it ends. Several can notice the end, at the same
// time; the first says how the stream has ended, and each thing is done once:
//
//	noticed by                           method         settles      publishes   calls the caller's OnFinish
//	gRPC                                 finish         yes          yes         yes
//	RecvMsg, SendMsg, Header: an error   finish         yes          yes         yes
//	the context                          contextEnded   yes          not yet: gRPC may still write to the attempt
//	RecvMsg, SendMsg, Header: a panic    callInner      as a panic   not yet     no
//
// gRPC may notice the end before the attempt was delivered. Then deliver does all this; but if the attempt has failed,
// the operation has, too, and there is nothing to settle.
type streamAttempt struct {
	grpc.ClientStream
	attempt
	stream *streamCall
	ctx    context.Context
	cancel context.CancelFunc
	empty  bool // of a server stream: it has ended well, without headers and messages

	mu       sync.Mutex
	permit   *policy.Permit // nil until it was delivered
	unwatch  func() bool    // ends watching the context
	ended    bool
	endErr   error // how it has ended: nil is well
	endCause error // of the context, then

	settling       sync.Once
	publishing     sync.Once
	onFinishCalled atomic.Bool // the caller's, or must not be called
}

func newStreamAttempt(ctx context.Context, c *streamCall) *streamAttempt {
	a := &streamAttempt{stream: c}
	a.call = &c.call
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.setOptions(nil, grpc.OnFinish(a.finish))
	return a
}

// openStream begins the attempt and opens its stream.
func (a *streamAttempt) openStream() (err error) {
	c := a.stream
	a.ClientStream, err = c.streamer(a.begin(a.ctx), c.desc, c.connection, c.method, a.opts...)
	if err == nil && a.ClientStream == nil {
		err = status.Error(codes.Internal, "policygrpc: an interceptor has returned neither a stream nor an error")
	}
	return err
}

// deliver makes the attempt the stream of the caller. gRPC watches the context for its end, but an interceptor between
// may have answered itself, without gRPC.
func (a *streamAttempt) deliver(permit *policy.Permit) {
	a.mu.Lock()
	a.permit = permit
	ended, err := a.ended, a.endErr
	if !ended {
		a.unwatch = context.AfterFunc(a.ctx, a.contextEnded)
	}
	a.mu.Unlock()
	if ended {
		a.finish(err)
	}
}

// noteEnd notes that the stream has ended with err, nil or io.EOF for well, and returns how it has ended first.
func (a *streamAttempt) noteEnd(err error) (first error, delivered bool) {
	if err == io.EOF { //nolint:errorlint // as gRPC itself: the very value
		err = nil
	}
	if err != nil {
		awaitDeadline(a.ctx, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.ended, a.endErr, a.endCause = true, err, context.Cause(a.ctx)
		if a.unwatch != nil {
			a.unwatch()
		}
	}
	return a.endErr, a.permit != nil
}

// settle tells the pipeline and the caller's Infos how the stream has ended. Who comes second waits for the first, so
// that the caller of RecvMsg finds everything told.
func (a *streamAttempt) settle(err error) {
	a.settling.Do(func() {
		defer a.cancel()
		if err == errPanicked { //nolint:errorlint // the very value
			a.permit.Settle(policy.Outcome{Kind: policy.Panicked})
			return
		}
		c := a.stream
		c.fillInfos(err)
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

// finish notes that the stream has ended with err, and that gRPC writes nothing more to the attempt.
func (a *streamAttempt) finish(err error) {
	err, delivered := a.noteEnd(err)
	if !delivered {
		return
	}
	a.publishing.Do(a.publish)
	a.settle(err)
	if !a.onFinishCalled.Swap(true) { // no Once: the function may call us
		a.stream.callOnFinish(err)
	}
}

// contextEnded settles the stream when its context has ended.
func (a *streamAttempt) contextEnded() {
	err, _ := a.noteEnd(status.FromContextError(a.ctx.Err()).Err())
	a.settle(err)
}

// errPanicked is the end of a stream of which a method does not return, because of a panic or [runtime.Goexit].
var errPanicked = errors.New("policygrpc: an interceptor has panicked")

// callInner calls a method of the stream further in, and settles the stream if the method does not return.
func (a *streamAttempt) callInner(method func() error) error {
	returned := false
	defer func() {
		if !returned {
			a.onFinishCalled.Store(true)
			err, _ := a.noteEnd(errPanicked)
			a.settle(err)
		}
	}()
	err := method()
	returned = true
	return err
}

// nameTimeout returns an error that has ended the stream as the caller gets it: a timeout of the pipeline, which reaches
// gRPC as a cancellation, is named.
func (a *streamAttempt) nameTimeout(err error) error {
	a.mu.Lock()
	cause := a.endCause
	a.mu.Unlock()
	if errors.Is(cause, timeout.ErrTimeout) && a.stream.Context.Err() == nil {
		if code := status.Code(err); code == codes.Canceled || code == codes.DeadlineExceeded {
			return forCaller(fmt.Errorf("%w: %w", cause, err))
		}
	}
	return err
}

// RecvMsg receives a message. Its error, or in a stream of the client its only message, is the end.
func (a *streamAttempt) RecvMsg(m any) error {
	err := a.callInner(func() error { return a.ClientStream.RecvMsg(m) })
	if err == nil && a.stream.desc.ServerStreams {
		return nil
	}
	a.finish(err)
	return a.nameTimeout(err)
}

// SendMsg sends a message. io.EOF means that the stream has ended, and that RecvMsg knows how.
func (a *streamAttempt) SendMsg(m any) error {
	err := a.callInner(func() error { return a.ClientStream.SendMsg(m) })
	if err == nil || err == io.EOF { //nolint:errorlint // the very value
		return err
	}
	a.finish(err)
	return a.nameTimeout(err)
}

// Header waits for the headers of the answer. An error is the end.
func (a *streamAttempt) Header() (header metadata.MD, err error) {
	err = a.callInner(func() (err error) {
		header, err = a.ClientStream.Header()
		return err
	})
	if err == nil {
		return header, nil
	}
	a.finish(err)
	return header, a.nameTimeout(err)
}
