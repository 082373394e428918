package engine

import (
	"cmp"
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/policy"
)

// repeated makes attempts until the repeater of n, or ctx, ends the call. Most calls succeed with the first one: they do
// not pay for what only retries need, which is in retryLoop.
func repeated[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	first := ctx
	if attempt.Number(ctx) != 0 {
		first = &attempt.Context{Context: ctx, Number: 1} // ctx comes from a later attempt of a retry outside
	}
	value, end = run(first, n.next, op, t)
	if end.entered() {
		n.deposit()
	}
	if !end.succeeded() {
		r := retrying{trace: t, ctx: ctx, end: end, lastCtx: first}
		r.last = policy.Attempt{Number: 1, Outcome: end.outcome(ctx)}
		return retryLoop(&r, n, op, value)
	}
	if n.retrier != nil {
		n.retrier.Succeeded(Caller{})
	} else {
		n.repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}})
	}
	return value, end
}

// retrying is a call whose first attempt did not succeed. The node is passed along: a pointer to it in here would force it
// onto the heap.
type retrying struct {
	trace    *trace
	ctx      context.Context // of the call
	end      ending          // of the call, were it over: that of the last attempt to enter the operation, or of the last if none has
	last     policy.Attempt  // the last attempt, as the repeater is told of it
	lastCtx  context.Context // of that attempt
	promised bool            // the repeater has answered Again, and no attempt was committed since
}

// retryLoop makes the retries of r. value is the result of the call, were it over, as r.end is its ending.
func retryLoop[T any](r *retrying, n *node, op policy.Func[T], value T) (T, ending) {
	var running *furtherAttempt[T] // nil between attempts
	defer func() {                 // does something only when a panic or runtime.Goexit passes through
		committed := false
		if running != nil {
			running.answer.cancelContexts() // it will not be read
			committed = running.committed.Load()
		}
		r.unwind(n, committed)
	}()
	for {
		next := &furtherAttempt[T]{
			ctx: attempt.Context{Context: r.ctx, Number: r.last.Number + 1}, op: op, repeater: n.repeater,
		}
		if r.end.entered() {
			next.superseded = value
		}
		if err := r.untilDue(n, &next.ctx); err != nil {
			return value, r.end.gaveUp(r.ctx, err)
		}
		next.answer = r.trace.setAside()
		running = next
		found, end := run(&next.ctx, n.next, next.enter, r.trace.at(next.ctx.Number))
		next.resumePanic()
		if end.entered() || next.committed.Load() {
			next.answer.cancelContexts()
			r.promised = false
		} else {
			r.trace.putBack(next.answer)
		}
		running = nil
		if r.note(n, &next.ctx, end) {
			value = found
		}
		if end.succeeded() {
			n.repeater.Next(r.ctx, r.last)
			return value, end
		}
	}
}

// note notes how the attempt with the context ctx has ended, and reports whether its result is that of the call now.
func (r *retrying) note(n *node, ctx *attempt.Context, end ending) (counts bool) {
	if end.entered() && !r.end.entered() {
		n.deposit() // the first attempt of the call that entered the operation
	}
	counts = end.entered() || !r.end.entered()
	if counts {
		r.end = end
	}
	r.lastCtx = ctx
	r.last = policy.Attempt{Number: ctx.Number, Outcome: end.outcome(r.ctx), State: r.last.State}
	return counts
}

// unwind is called when the call ends, however it does. committed is that of the attempt that was running,
// false if none was. When a panic or runtime.Goexit passes through:
//
//   - The repeater takes back what it has spent on an attempt that was not committed.
//   - Guards outside are told of an attempt that was made, not of a later one that was refused (exit.go).
func (r *retrying) unwind(n *node, committed bool) {
	r.trace.exitLeavesRetry(&r.end)
	if r.promised && !committed {
		n.repeater.Next(endedContext(r.ctx), r.last)
	}
}

// untilDue waits until the next attempt is due, and returns nil; or the error of the call, if the repeater wants no further
// attempt. It is how a retry consults the gates inside it:
//
//  1. The gates are asked what they would answer the next attempt. The repeater is told, and decides.
//  2. If it decides to wait, a gate that begins to refuse can end the sleep early. After the sleep all are asked again.
//  3. If a gate refuses then, or ctx has ended, the repeater is asked again about the same attempt: back to its decision.
//
// next is the context of the attempt that would come: gates are asked on its behalf, since they can be different things to
// different attempts.
func (r *retrying) untilDue(n *node, next context.Context) error {
	ctx, gates, last := r.ctx, &n.gates, &r.last
	last.Blocked = gates.ready(next)
	refused := last.Outcome.Kind == policy.NotCalled
	last.Elsewhere = refused && last.Blocked == nil && gates.ready(r.lastCtx) != nil
	for {
		over := ctx.Err() != nil // if it ends later, the repeater is asked once more, to take back what it has spent
		r.promised = false       // if Next panics, it has done that by itself, see policy.Repeater
		decision := n.repeater.Next(ctx, *last)
		r.promised = decision.Again && !over
		last.State = decision.State
		if !r.promised {
			r.trace.stopped(ctx, n.repeater, last, &decision, &r.end)
			return cmp.Or(decision.Err, last.Outcome.Err)
		}
		last.Asked++
		r.trace.again(ctx, n.repeater, last, &decision, &r.end)
		last.Blocked = r.wait(n, next, decision.Wait, last.Blocked == nil)
		if ctx.Err() == nil && last.Blocked == nil {
			r.trace.attemptDue()
			return nil
		}
		last.Elsewhere = false // the next attempt would be refused, too, or the call has no time for it
	}
}

// wait waits for d, and then asks the gates. It returns the rejection that the attempt with the context next would get, nil if
// there is none. With wakeable the wait ends early when a gate begins to refuse; a repeater that waits for a gate knows of it.
// Without a wait nothing has changed, and the attempt is made, also if a gate will refuse it.
func (r *retrying) wait(n *node, next context.Context, d time.Duration, wakeable bool) (blocked error) {
	if d <= 0 {
		return nil
	}
	before := r.trace.now()
	blocked = n.gates.sleep(r.ctx, next, d, wakeable)
	r.trace.waited(before)
	if r.ctx.Err() == nil && blocked == nil {
		blocked = n.gates.ready(next)
	}
	return blocked
}

// endedContext returns ctx as a context that has ended.
func endedContext(ctx context.Context) context.Context {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	return ended
}

// furtherAttempt is an attempt after the first: its context, and the operation. Only when that is entered is the result so far
// given up: until then the call would end with it. It lives as long as its context, which a result may keep.
type furtherAttempt[T any] struct {
	ctx          attempt.Context
	op           policy.Func[T]
	repeater     policy.Repeater
	superseded   T                               // the value of the last attempt that was made, until discarded; zero if none was
	answer       answer                          // of that attempt
	discarded    atomic.Bool                     // superseded is; a wrapper inside may enter several times, at once
	discardPanic atomic.Pointer[detached.Ending] // of discarding it, or runtime.Goexit; nil if that has returned

	// The earlier result is given up, and what the repeater has spent stays spent. So it is when the operation was entered, and
	// also where a wrapper outside has refused that in the last moment.
	committed atomic.Bool
}

// enter calls the operation.
func (f *furtherAttempt[T]) enter(ctx context.Context) (T, error) {
	f.answer.cancelContexts() // every entrant calls it, so that none goes on while those contexts live
	if !f.discarded.Swap(true) {
		ending := f.discard()
		f.superseded = *new(T)
		if !ending.Returned() {
			kept := ending // a pointer to ending itself would force it onto the heap always
			f.discardPanic.Store(&kept)
			return *new(T), errNotEntered // resumePanic follows
		}
	}
	f.committed.Store(true)
	return f.op(ctx)
}

// discard hands the superseded value to the repeater, if it wants it and it is not zero, on a goroutine of its own: a panic or
// runtime.Goexit there does not end the attempt that comes.
func (f *furtherAttempt[T]) discard() detached.Ending {
	discarder := discarderOf(f.repeater)
	if discarder == nil || reflect.ValueOf(&f.superseded).Elem().IsZero() {
		return detached.Ending{}
	}
	return detached.Wait(func() { discarder.Discard(f.superseded) })
}

// resumePanic lets a panic of discard, or runtime.Goexit, go on to the caller.
func (f *furtherAttempt[T]) resumePanic() {
	if ending := f.discardPanic.Load(); ending != nil {
		_ = ending.Resume() // which does not return
	}
}
