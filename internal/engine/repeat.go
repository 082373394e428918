package engine

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/policy"
)

// repeated makes attempts until the repeater of n, or ctx, ends the call. Most calls succeed with the first one: they do
// not pay for what only further attempts need, which is in repeatedAgain.
func repeated[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	first := ctx
	if attempt.Number(ctx) != 0 {
		first = attempt.With(ctx, 1) // ctx comes from a later attempt of a retry outside
	}
	value, end = run(first, n.next, op, t)
	if end.entered {
		n.deposit()
	}
	if !end.succeeded() {
		r := retrying{trace: t, ctx: ctx, latest: first}
		r.ended = policy.Attempt{Number: 1, Outcome: end.outcome(ctx)}
		return repeatedAgain(&r, n, op, value, end)
	}
	if n.counter != nil {
		n.counter.Succeeded(Caller{})
	} else {
		n.repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}})
	}
	return value, end
}

// retrying is a call whose first attempt did not succeed, while it is decided about further ones. The node is passed along:
// a pointer to it in here would force it onto the heap.
type retrying struct {
	trace    *trace
	ctx      context.Context // of the call
	latest   context.Context // of the attempt that has ended last
	ended    policy.Attempt  // the same attempt, as the repeater is told of it
	promised bool            // the repeater has answered Again, and no attempt has entered the operation since
}

// repeatedAgain makes the further attempts of r. The first one ended with value and end.
func repeatedAgain[T any](r *retrying, n *node, op policy.Func[T], value T, end ending) (T, ending) {
	ctx := r.ctx
	last := end // with value, the result of the call if no attempt follows: of the last that entered the operation, if one did

	var current *entry[T] // of the attempt that is running, nil between attempts
	defer func() {
		if current != nil { // a panic or runtime.Goexit passes through: the answer will not be read
			current.answer.endContexts()
		}
		if last.entered && r.trace.hasEnding() && !r.trace.last.ending.entered {
			// runtime.Goexit while this attempt was being refused: for guards outside, the last one that was made counts.
			r.trace.setEnding(last)
		}
		if r.promised && (current == nil || !current.entered.Load()) {
			// A panic or runtime.Goexit passes through before the attempt has entered the operation: the repeater takes
			// back what it has spent on it.
			n.repeater.Next(endedContext(ctx), r.ended)
		}
	}()
	for {
		number := r.ended.Number + 1
		next := attempt.With(ctx, number)
		due, err := r.decide(n, next)
		if !due {
			return value, last.gaveUp(ctx, err)
		}
		current = &entry[T]{
			op: op, repeater: n.repeater, previous: value, discardable: last.entered, answer: r.trace.setAside(),
		}
		found, end := run(next, n.next, current.enter, r.trace.at(number))
		if panicked := current.discardPanic.Load(); panicked != nil {
			r.trace.clearEnding()
			_ = panicked.Resume() // which does not return
		}
		r.promised = !end.entered && !current.entered.Load() // what was spent on an attempt that was refused was spent for nothing
		if r.promised {
			r.trace.putBack(current.answer)
		} else {
			current.answer.endContexts()
		}
		current, r.latest = nil, next
		if end.entered && !last.entered {
			n.deposit() // the first attempt of the call that entered the operation
		}
		if end.entered || !last.entered {
			value, last = found, end
		}
		r.trace.setEnding(last)
		r.ended.Number, r.ended.Outcome, r.ended.Asked = number, end.outcome(ctx), 0
		if end.succeeded() {
			n.repeater.Next(ctx, r.ended)
			return value, end
		}
	}
}

// decide is how a retry consults the gates inside it:
//
//  1. The gates are asked what they would answer the next attempt. The repeater is told, and decides.
//  2. If it decides to wait, a gate that closes can end the sleep early. After the sleep all are asked again.
//  3. If a gate refuses then, or ctx has ended, the repeater is asked again about the same attempt: back to its decision.
//
// next is the context of the attempt that would come: gates are asked on its behalf, since they can be different things to
// different attempts. If due, that attempt is to be made now. Otherwise the call ends with err.
func (r *retrying) decide(n *node, next context.Context) (due bool, err error) {
	ctx, gates, ended := r.ctx, &n.gates, &r.ended
	ended.Blocked = gates.ready(next)
	refused := ended.Outcome.Kind == policy.NotCalled
	ended.Elsewhere = refused && ended.Blocked == nil && gates.ready(r.latest) != nil
	for kind := policy.EventRetry; ; kind = policy.EventWait {
		over := ctx.Err() != nil
		r.promised = false // if Next panics, it has given back itself what it had spent, see policy.Repeater
		decision := n.repeater.Next(ctx, *ended)
		r.promised = decision.Again && !over
		ended.State = decision.State
		ended.Asked++
		if !r.promised {
			r.trace.stopped(ctx, n.repeater, ended, &decision)
			if decision.Err != nil {
				return false, decision.Err
			}
			return false, ended.Outcome.Err
		}
		r.trace.again(ctx, kind, n.repeater, ended, &decision)
		blocked := ended.Blocked // before the wait
		ended.Blocked = nil
		if decision.Wait > 0 { // otherwise nothing has changed: the attempt is made, also if a gate will refuse it
			ended.Blocked = r.wait(n, next, decision.Wait, blocked == nil)
		}
		if ctx.Err() == nil && ended.Blocked == nil {
			r.trace.begin()
			return true, nil
		}
		ended.Elsewhere = false // the next attempt is refused, too
	}
}

// wait waits for d, and then asks the gates. It returns the rejection that the attempt with the context next would get, nil if
// there is none. With wakeable the wait ends early when a gate closes; a repeater that waits for a closed gate knows of it.
func (r *retrying) wait(n *node, next context.Context, d time.Duration, wakeable bool) (blocked error) {
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

// entry is the operation of an attempt after the first. Only when it is entered is the previous result given up: until then
// the call would end with that.
type entry[T any] struct {
	op           policy.Func[T]
	repeater     policy.Repeater
	previous     T                               // the value of the previous attempt
	discardable  bool                            // that attempt entered the operation: previous is to be discarded
	answer       answer                          // of that attempt
	discarded    atomic.Bool                     // previous is; a wrapper inside may enter several times, at once
	discardPanic atomic.Pointer[detached.Ending] // of discarding it, or runtime.Goexit; nil if that has returned
	entered      atomic.Bool                     // the operation was entered
}

func (e *entry[T]) enter(ctx context.Context) (T, error) {
	e.answer.endContexts() // every entrant calls it, so that none goes on while those contexts live
	if e.discardable && !e.discarded.Swap(true) {
		if found := e.discard(); !found.Returned() {
			panicked := found // found itself would be on the heap always
			e.discardPanic.Store(&panicked)
			return *new(T), errNotEntered // the operation is not called: the caller panics instead
		}
	}
	e.entered.Store(true)
	return e.op(ctx)
}

// discard hands the previous value to the repeater, if it wants it, on a goroutine of its own: a panic or runtime.Goexit
// there does not end the attempt that comes.
func (e *entry[T]) discard() detached.Ending {
	discarder, ok := e.repeater.(policy.Discarder)
	if v := reflect.ValueOf(&e.previous).Elem(); !ok || v.IsZero() {
		return detached.Ending{}
	}
	return detached.Wait(func() { discarder.Discard(e.previous) })
}
