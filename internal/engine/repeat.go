package engine

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/policy"
)

// repeated makes attempts until the repeater of n, or ctx, ends the call.
func repeated[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	inner := ctx
	if attempt.Number(ctx) != 0 {
		inner = attempt.With(ctx, 1) // ctx comes from a later attempt of a retry outside
	}
	value, end = run(inner, n.next, op, t)
	if end.entered {
		n.deposit()
	}
	if !end.succeeded() {
		return repeatedAgain(ctx, inner, n, op, t, value, end)
	}
	if n.counter != nil {
		n.counter.Succeeded(FirstAttempt{})
	} else {
		n.repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}})
	}
	return value, end
}

// repeatedAgain is the rest of repeated, when the first attempt, with the context first, has ended with value and end, without
// success.
func repeatedAgain[T any](
	ctx, first context.Context, n *node, op policy.Func[T], t *trace, value T, end ending,
) (T, ending) {
	last := end // of the last attempt that entered the operation, with value; of the first while there is none
	ended := policy.Attempt{Number: 1, Outcome: end.outcome(ctx)}
	promised := false // the repeater has said that there will be another attempt, and that has not ended
	var current *entry[T]
	defer func() {
		if current != nil { // a panic or runtime.Goexit passes through: nobody will read
			current.answer.end()
		}
		if promised && (current == nil || !current.begun.Load()) {
			// A panic or runtime.Goexit passes through before the attempt has entered the operation: the repeater takes
			// back what it has spent on it.
			n.repeater.Next(endedContext(ctx), ended)
		}
	}()
	for latest := first; ; {
		next := attempt.With(ctx, ended.Number+1)
		due, err := n.decide(ctx, latest, next, &ended, &promised, t)
		if !due {
			return value, last.stop(ctx, err)
		}
		number := ended.Number + 1
		current = &entry[T]{
			op: op, previous: value, held: last.entered, answer: t.setAside(), repeater: n.repeater,
		}
		found, end := run(next, n.next, current.enter, t.at(number))
		if spoiled := current.spoiled.Load(); spoiled != nil {
			_ = spoiled.Resume() // which does not return
		}
		if end.entered || current.begun.Load() {
			current.answer.end()
		} else {
			t.putBack(current.answer)
		}
		promised, current, latest = false, nil, next
		if end.entered && !last.entered {
			n.deposit() // the first attempt of the call that entered the operation
		}
		if end.entered || !last.entered {
			value, last = found, end
		}
		ended.Number, ended.Outcome, ended.Asked = number, end.outcome(ctx), 0
		if end.succeeded() {
			n.repeater.Next(ctx, ended)
			return value, end
		}
	}
}

// stop is the ending of a call whose last attempt that entered the operation ended as e says, and that gives up with err
// now.
func (e ending) stop(ctx context.Context, err error) ending {
	e.err, e.ended = err, endOf(ctx)
	if e.entered && e.ended.timedOut() {
		e.class = policy.Transient
	}
	return e
}

// entry is the operation of an attempt after the first. When it is entered, the result of the attempt before is given up:
// until then it is what the call would end with.
type entry[T any] struct {
	op       policy.Func[T]
	previous T
	held     bool   // previous is the value of an attempt that entered the operation
	answer   answer // of that attempt
	repeater policy.Repeater
	given    atomic.Bool                     // previous is given up; a wrapper inside may enter several times, at once
	spoiled  atomic.Pointer[detached.Ending] // giving it up has panicked, or called runtime.Goexit
	begun    atomic.Bool                     // the operation was entered
}

func (e *entry[T]) enter(ctx context.Context) (T, error) {
	e.answer.end() // whoever comes second does not go on before it has ended
	if e.held && !e.given.Swap(true) {
		if ending := e.giveUp(); !ending.Returned() {
			spoiled := ending // ending itself would be on the heap always
			e.spoiled.Store(&spoiled)
			return *new(T), errLeft // the operation is not called: the caller panics instead
		}
	}
	e.begun.Store(true)
	return e.op(ctx)
}

// giveUp hands the value before to the repeater, if it wants it, on a goroutine of its own: a panic or runtime.Goexit
// there is no end of the attempt that comes.
func (e *entry[T]) giveUp() detached.Ending {
	discarder, ok := e.repeater.(policy.Discarder)
	if v := reflect.ValueOf(&e.previous).Elem(); !ok || v.IsZero() {
		return detached.Ending{}
	}
	return detached.Wait(func() { discarder.Discard(e.previous) })
}

// decide asks the repeater of n what follows an attempt without success, and waits if it says so. latest is the context
// of that attempt, next that of the attempt that would come: gates are asked on its behalf. If due, that attempt is due
// now. Otherwise the call ends with err. promised tells, also when it panics, whether the repeater counts on another
// attempt.
func (n *node) decide(
	ctx, latest, next context.Context, ended *policy.Attempt, promised *bool, t *trace,
) (due bool, err error) {
	ended.Blocked = n.gates.ready(next)
	refused := ended.Outcome.Kind == policy.NotCalled
	ended.Elsewhere = refused && ended.Blocked == nil && n.gates.ready(latest) != nil
	for kind := policy.EventRetry; ; kind = policy.EventWait {
		over := ctx.Err() != nil
		*promised = false // if Next panics, it takes back itself what it has spent
		decision := n.repeater.Next(ctx, *ended)
		*promised = decision.Again && !over
		ended.State = decision.State
		ended.Asked++
		if !*promised {
			t.stopped(ctx, n.repeater, ended, &decision)
			if decision.Err != nil {
				return false, decision.Err
			}
			return false, ended.Outcome.Err
		}
		t.again(ctx, kind, n.repeater, ended, &decision)
		// A repeater that waits for a gate to recover knows that the gate is closed: do not wake it for that.
		watch := ended.Blocked == nil
		ended.Blocked = nil
		if decision.Wait > 0 {
			before := t.now()
			ended.Blocked = n.gates.sleep(ctx, next, decision.Wait, watch)
			t.waited(before)
			if ctx.Err() == nil && ended.Blocked == nil {
				ended.Blocked = n.gates.ready(next)
			}
		}
		if ctx.Err() == nil && ended.Blocked == nil {
			t.begin()
			return true, nil
		}
	}
}

// endedContext returns ctx as a context that has ended.
func endedContext(ctx context.Context) context.Context {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	return ended
}
