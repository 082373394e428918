package engine

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// wrapped lets the wrapper of n run what is inside. When the wrapper returns:
//
//  1. finish: what its attempts have come to is read, and what ends later is dropped.
//  2. pick: the result that belongs to the wrapper's error is kept, and the other one dropped.
//  3. handOver: if results stay open, that one stays open for the call.
//  4. A success is the result of the call, whatever the error: the wrapper may have left before it knew of it.
//  5. Otherwise the error decides. A wrapper that returns none although no attempt succeeded gets one: it would hand out a
//     value that no attempt has made.
func wrapped[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	r := &race[T]{next: n.next, trace: t}
	r.discarder, _ = n.wrapper.(policy.Discarder)
	r.op = func(ctx context.Context) (T, error) {
		if !r.countEntry() {
			return *new(T), errNotEntered
		}
		value, err := op(ctx)
		if err == errNotEntered { // by a wrapper or a retry outside
			r.uncountEntry()
		}
		return value, err
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit passes through: the result has no owner
			final := r.finish()
			defer r.drop(&final.readable) // although dropping the other one may panic
			r.drop(&final.best)
		}
	}()
	r.ctx = judgeContext{ctx, r}
	err := r.run(&r.ctx, n.wrapper)
	final := r.finish() // 1
	if final.entries > 0 {
		n.deposit()
	}
	returned = true             // not before: a budget may panic
	best := r.pick(&final, err) // 2
	// Where no attempt has entered the operation there is nothing to hand over (best.open may be nil), and the call keeps what an
	// earlier attempt of a retry outside has left to be read.
	if t.staysOpen() && best.end.entered() { // 3
		kept := r.handOver(ctx, &best)
		if !kept && err == nil {
			return *new(T), cannotStayOpen(n.wrapper)
		}
		if !kept {
			best = result[T]{} // and err decides
		}
	}
	if best.end.succeeded() { // 4
		return best.value, best.end
	}
	if err == nil { // 5
		err = fmt.Errorf("resilience: %T returned nil although no call succeeded", n.wrapper)
		if best.end.err != nil {
			err = CausedBy(err, best.end.err)
		}
	}
	return best.value, r.failed(ctx, err, &final)
}

// handOver gives what best holds to the call, whose result is to stay open. It reports false, and drops best, if that is a
// success whose context has ended, although that of the call has not: nobody could read it. The race of hedge has the same
// rule in succeeded. What has happened then depends on what the wrapper has returned:
//
//	nil        it ends the contexts of its attempts, as one that is no policy.Opener may: the call fails, see cannotStayOpen
//	an error   that decided the call, and the wrapper cancelled the attempt in the very moment in which it succeeded: so
//	           the call ends as if there were no success
func (r *race[T]) handOver(ctx context.Context, best *result[T]) (kept bool) {
	o := r.trace.open
	ended := best.open.outer.Err() != nil && ctx.Err() == nil
	if ended && best.end.succeeded() {
		r.drop(best)
		return false
	}
	o.adopt(best.open)
	o.answer.live = o.answer.live && !ended
	if best.end.succeeded() {
		o.lift()
	}
	return true
}

// cannotStayOpen is the ending of a call whose wrapper has ended the context of the success it has returned.
func cannotStayOpen(wrapper policy.Wrapper) ending {
	err := fmt.Errorf("resilience: the result of %T cannot stay open: "+
		"its context has ended although the call's has not", wrapper)
	return ending{kind: policy.Returned, class: policy.Permanent, err: err}
}

// failed is the ending of the whole, with the error of the wrapper, when no attempt has succeeded.
func (r *race[T]) failed(ctx context.Context, err error, final *standing[T]) ending {
	if final.entries == 0 {
		return refusal(ctx, err)
	}
	end := ending{
		kind: policy.Returned, class: r.classOfAll(err, final.gravest), err: err, contextEnd: endOf(ctx),
	}
	switch {
	case end.contextEnd.timedOut():
		end.class = policy.Transient
	case end.class == policy.Unclassified: // no attempt has ended: the error is the wrapper's own, and no classifier is asked
		end.class = ownClass(err)
	}
	return end
}
