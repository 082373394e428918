package policygrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// streamEnd is the end of a streamAttempt. Several can notice it, at the same time. The first says how the stream has
// ended, and each thing is done once:
//
//	noticed by                           method        settles     publishes              calls the caller's OnFinish
//	gRPC                                 finish        yes         yes                    yes
//	RecvMsg, SendMsg, Header: an error   finish        yes         yes                    yes
//	the context                          contextEnded  yes         by finish, when gRPC   by finish, when gRPC
//	                                                               writes no more         writes no more
//	RecvMsg, SendMsg, Header: a panic    callInner     as a panic  by finish, too         never: the caller gets the panic
//
// gRPC may notice the end before the attempt was delivered. Then deliver does all this; but if the attempt has failed,
// the operation has, too, and there is nothing to settle.
type streamEnd struct {
	mu      sync.Mutex
	permit  *policy.Permit // nil until the attempt was delivered
	unwatch func() bool    // ends watching the context
	noted   bool           // the stream has ended
	err     error          // how: nil is well
	cause   error          // of the end of the context, if that had ended then

	settling       sync.Once
	publishing     sync.Once
	onFinishCalled atomic.Bool // the caller's function was called, or must not be
}

// deliver makes the attempt the stream of the caller. gRPC watches the context for its end, but an interceptor between
// may have answered itself, without gRPC.
func (a *streamAttempt) deliver(permit *policy.Permit) {
	a.end.mu.Lock()
	a.end.permit = permit
	ended, err := a.end.noted, a.end.err
	if !ended {
		a.end.unwatch = context.AfterFunc(a.ctx, a.contextEnded)
	}
	a.end.mu.Unlock()
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
	a.end.mu.Lock()
	defer a.end.mu.Unlock()
	if !a.end.noted {
		a.end.noted, a.end.err, a.end.cause = true, err, context.Cause(a.ctx)
		if a.end.unwatch != nil {
			a.end.unwatch()
		}
	}
	return a.end.err, a.end.permit != nil
}

// settle tells the pipeline and the caller's Infos how the stream has ended. A second call waits for the first, so that
// everything is told when RecvMsg returns.
func (a *streamAttempt) settle(err error) {
	a.end.settling.Do(func() {
		defer a.cancel()
		if err == errPanicked { //nolint:errorlint // the very value
			a.end.permit.Settle(policy.Outcome{Kind: policy.Panicked})
			return
		}
		c := a.stream
		c.fillInfos(err)
		if err == nil {
			a.end.permit.Done(nil)
			return
		}
		f := newFailure(err, nil)
		if a.ctx.Err() != nil && policy.Canceled(c.Context) {
			f.class = policy.Ignored
		}
		a.end.permit.Done(f)
	})
}

// finish notes that the stream has ended with err, and that gRPC writes nothing more to the attempt.
func (a *streamAttempt) finish(err error) {
	err, delivered := a.noteEnd(err)
	if !delivered {
		return
	}
	a.end.publishing.Do(a.publish)
	a.settle(err)
	if !a.end.onFinishCalled.Swap(true) { // no Once: the function may call us
		a.stream.callOnFinish(err)
	}
}

// contextEnded settles the stream when its context has ended.
func (a *streamAttempt) contextEnded() {
	err, _ := a.noteEnd(status.FromContextError(a.ctx.Err()).Err())
	a.settle(err)
}

// nameTimeout returns an error that has ended the stream as the caller gets it: a timeout of the pipeline, which reaches
// gRPC as a cancellation, is named.
func (a *streamAttempt) nameTimeout(err error) error {
	a.end.mu.Lock()
	cause := a.end.cause
	a.end.mu.Unlock()
	if errors.Is(cause, timeout.ErrTimeout) && a.stream.Context.Err() == nil {
		if code := status.Code(err); code == codes.Canceled || code == codes.DeadlineExceeded {
			return forCaller(fmt.Errorf("%w: %w", cause, err))
		}
	}
	return err
}

// errPanicked is the end of a stream of which a method does not return, because of a panic or [runtime.Goexit].
var errPanicked = errors.New("policygrpc: an interceptor has panicked")
