package engine

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// ending is how the operation, or the part of a pipeline around it, has ended. It has four fields at most: the compiler keeps no
// larger struct in registers, which the row "engine" of docs/performance.md would show.
type ending struct {
	kind       policy.Kind
	class      policy.Class // of an error
	err        error
	contextEnd *contextEnd // of the operation's context, or of that of the layer that refused; nil if it had not ended by then
}

var (
	success  = ending{kind: policy.Returned} // without an error
	panicked = ending{kind: policy.Panicked}
	exited   = ending{kind: policy.Exited}
)

// refusal is the ending of an attempt that did not reach the operation.
func refusal(ctx context.Context, err error) ending {
	return ending{kind: policy.NotCalled, class: policy.Ignored, err: err, contextEnd: endOf(ctx)}
}

// endingOf is the ending of an operation that returned err. It is the one place that asks whether the operation was entered.
func (p *Plan) endingOf(ctx context.Context, err error) ending {
	switch err {
	case nil:
		return success
	case errNotEntered:
		return refusal(ctx, err)
	}
	ended := endOf(ctx)
	return ending{kind: policy.Returned, class: p.classify(err, ended), err: err, contextEnd: ended}
}

// classify says what err, an error of the operation, means. ended is the end of its context, nil if that had not ended.
func (p *Plan) classify(err error, ended *contextEnd) policy.Class {
	if ended.timedOut() {
		return policy.Transient // whatever the operation made of it
	}
	if p.Classify != nil {
		if class := p.Classify(err); class != policy.Unclassified {
			return class
		}
	}
	return ownClass(err)
}

// ownClass is what an error says of itself, Transient if it says nothing.
func ownClass(err error) policy.Class {
	if class := policy.ClassOf(err); class != policy.Unclassified {
		return class
	}
	return policy.Transient
}

// entered reports whether the operation was entered.
func (e *ending) entered() bool { return e.kind != policy.NotCalled }

// succeeded reports whether the operation returned without an error.
func (e *ending) succeeded() bool { return e.kind == policy.Returned && e.err == nil }

// outcome is what a layer with the context ctx is told.
func (e *ending) outcome(ctx context.Context) policy.Outcome {
	canceled := e.contextEnd != nil && (e.contextEnd.canceled || policy.Canceled(ctx))
	return policy.Outcome{Kind: e.kind, Class: e.class, Canceled: canceled, Err: e.err}
}

// gaveUp is the ending of a call that makes no further attempt, for the reason err. e is how its last attempt that entered
// the operation ended.
func (e ending) gaveUp(ctx context.Context, err error) ending {
	e.err, e.contextEnd = err, endOf(ctx)
	if e.entered() && e.contextEnd.timedOut() {
		e.class = policy.Transient
	}
	return e
}

// contextEnd says that a context had ended when something returned. It is kept because the context may also end after that
// moment, while an observer takes its time, which does not change what an error was.
type contextEnd struct {
	cause error
	at    time.Time // when something returned

	canceled bool // the owner of an open result says that the work was cancelled, whatever the contexts say
}

// endOf returns the end of ctx, nil if it has not ended.
func endOf(ctx context.Context) *contextEnd {
	if ctx.Err() == nil {
		return nil
	}
	return &contextEnd{cause: context.Cause(ctx), at: time.Now()}
}

// alsoEnded reports whether ctx, another context, had ended by then too.
func (c *contextEnd) alsoEnded(ctx context.Context) bool {
	if c == nil || ctx.Err() == nil {
		return false
	}
	// A deadline may have come after c.at. A cancellation cannot be dated, and counts.
	deadline, ok := ctx.Deadline()
	return !ok || !deadline.After(c.at) || ctx.Err() == context.Canceled //nolint:errorlint // the very value
}

// timedOut reports whether the timeout of a layer was the cause, as opposed to the caller's own deadline.
func (c *contextEnd) timedOut() bool {
	return c != nil && c.cause != context.DeadlineExceeded && match.Is(c.cause, context.DeadlineExceeded) //nolint:errorlint // the very value
}
