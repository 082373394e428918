package engine

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// ending is how the operation, or the part of a pipeline around it, has ended.
type ending struct {
	entered    bool         // the operation was entered
	class      policy.Class // of an error
	err        error
	contextEnd *contextEnd // of the operation's context, or of that of the layer that refused; nil if it had not ended by then
}

// refusal is the ending of an attempt that did not reach the operation.
func refusal(ctx context.Context, err error) ending {
	return ending{class: policy.Ignored, err: err, contextEnd: endOf(ctx)}
}

// ending is the ending of an operation that returned err. It is the one place that asks whether the operation was entered.
func (p *Plan) ending(ctx context.Context, err error) ending {
	switch err {
	case nil:
		return ending{entered: true}
	case errNotEntered:
		return refusal(ctx, err)
	}
	contextEnd := endOf(ctx)
	return ending{entered: true, class: p.classify(err, contextEnd), err: err, contextEnd: contextEnd}
}

// classify says what an error means with which the operation returned, whose context had ended if contextEnd is not nil.
func (p *Plan) classify(err error, contextEnd *contextEnd) policy.Class {
	if contextEnd.timedOut() {
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

// succeeded reports whether the operation returned without an error.
func (e *ending) succeeded() bool { return e.entered && e.err == nil }

// outcome is the ending as a layer is told it whose context is ctx.
func (e *ending) outcome(ctx context.Context) policy.Outcome {
	canceled := e.contextEnd != nil && policy.Canceled(ctx)
	return policy.Outcome{Kind: e.kind(), Class: e.class, Canceled: canceled, Err: e.err}
}

// kind is what the ending of an operation is that was not left by a panic or runtime.Goexit.
func (e *ending) kind() policy.Kind {
	if e.entered {
		return policy.Returned
	}
	return policy.NotCalled
}

// gaveUp is the ending of a call that makes no further attempt, for the reason err. e is how its last attempt that entered
// the operation ended.
func (e ending) gaveUp(ctx context.Context, err error) ending {
	e.err, e.contextEnd = err, endOf(ctx)
	if e.entered && e.contextEnd.timedOut() {
		e.class = policy.Transient
	}
	return e
}

// contextEnd says that a context had ended when something returned. It is kept because the context may also end after that
// moment, while an observer takes its time, which does not change what an error was.
type contextEnd struct {
	cause error
	at    time.Time // when something returned
}

// endOf returns the end of ctx, nil if it has not ended.
func endOf(ctx context.Context) *contextEnd {
	if ctx.Err() == nil {
		return nil
	}
	return &contextEnd{cause: context.Cause(ctx), at: time.Now()}
}

// included reports whether ctx, another context, had ended by then too.
func (c *contextEnd) included(ctx context.Context) bool {
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
