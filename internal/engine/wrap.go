package engine

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// wrapped lets the wrapper of n run what is inside, and returns what its calls have come to.
func wrapped[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	r := &race[T]{next: n.next, trace: t}
	r.discarder, _ = n.wrapper.(policy.Discarder)
	r.op = func(ctx context.Context) (T, error) {
		if !r.enter() {
			return *new(T), errLeft
		}
		value, err := op(ctx)
		if err == errLeft { // a wrapper outside has returned
			r.exit()
		}
		return value, err
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit passes through: the result has no owner
			final := r.finish()
			r.drop(&final.best)
		}
	}()
	r.judging = judging{ctx, r}
	err := r.run(&r.judging, n.wrapper)
	returned = true
	final := r.finish()
	if final.entered > 0 {
		n.deposit()
	}
	best := &final.best
	if t.opens() && best.end.entered { // otherwise the answer of an attempt before may still have to be read: leave it
		lost := best.open.outer.Err() != nil && ctx.Err() == nil // the wrapper has ended the context
		switch {
		case !lost || !best.end.succeeded():
			t.open.adopt(best.open)
			t.open.live = t.open.live && !lost
			if best.end.succeeded() {
				t.open.lift()
			}
		case err == nil:
			r.drop(best)
			err = fmt.Errorf("resilience: the result of %T cannot stay open: its context has ended although the call's has not", n.wrapper)
			return *new(T), ending{entered: true, class: policy.Permanent, err: err}
		default: // an error decided the call in the very moment in which an attempt succeeded
			r.drop(best)
			best = new(result[T])
		}
	}
	if best.end.succeeded() {
		// Also when the wrapper has left before it knew of the success, which would have no owner.
		return best.value, best.end
	}
	if err == nil {
		// A wrapper that swallows a failure would hand out a value that no call has made.
		err = fmt.Errorf("resilience: %T returned nil although no call succeeded", n.wrapper)
		if best.end.err != nil {
			err = &causedError{cause: err, err: best.end.err}
		}
	}
	return best.value, r.failed(ctx, err, &final)
}

// failed is the ending of the whole, with the error of the wrapper, when no call has succeeded.
func (r *race[T]) failed(ctx context.Context, err error, final *standing[T]) ending {
	end := ending{entered: final.entered > 0, class: r.classOfAll(err, final.class), err: err, ended: endOf(ctx)}
	switch {
	case !end.entered:
		end.class = policy.Ignored
	case end.ended.timedOut():
		end.class = policy.Transient
	case end.class == policy.Unclassified: // no call has ended: the error is the wrapper's own, and no classifier is asked
		end.class = ownClass(err)
	}
	return end
}
