// Package engine runs a call through its layers. It is the one place where admitted guards are settled.
package engine

import (
	"context"
	"fmt"
	"reflect"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/policy"
)

// Do runs op through plan.
func Do[T any](ctx context.Context, plan *Plan, op policy.Func[T]) (T, error) {
	check(ctx, op == nil)
	if plan.observer != nil {
		return observedCall(ctx, plan.first, op, &trace{observer: plan.observer, attempt: 1})
	}
	if ctx.Err() != nil { // what run does; a call less for every call
		return *new(T), policy.ContextError(ctx)
	}
	value, _, err := through(ctx, plan.first, op, nil)
	return value, err
}

// DoLayer runs op through a single layer.
func DoLayer[T any](ctx context.Context, layer policy.Layer, op policy.Func[T]) (T, error) {
	check(ctx, op == nil)
	if placed, ok := layer.(policy.Placed); ok {
		layer = placed.Layer
	}
	if v := reflect.ValueOf(layer); v.Kind() == reflect.Pointer && v.IsNil() {
		panic(fmt.Sprintf("resilience: Do with a nil %T", layer))
	}
	var n node
	switch layer := layer.(type) {
	case policy.Repeater:
		n.setRepeater(layer)
	case policy.Wrapper:
		n.wrapper = layer
	case policy.Guard:
		n.guards[0], n.count, n.innermost = layer, 1, true
	default:
		panic(fmt.Sprintf("resilience: %T is no Guard, Repeater or Wrapper", layer))
	}
	value, _, err := run(ctx, &n, op, nil)
	return value, err
}

func check(ctx context.Context, noOperation bool) {
	if ctx == nil {
		panic("resilience: Do with a nil context")
	}
	if noOperation {
		panic("resilience: Do with a nil operation")
	}
}

// run runs op through n and everything further in, unless ctx has ended. entered says whether the operation was
// entered at all.
func run[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	if ctx.Err() != nil {
		return value, false, policy.ContextError(ctx)
	}
	return through(ctx, n, op, t)
}

// through is run for a context that has just been seen not to have ended.
func through[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	switch {
	case n == nil && t == nil:
		value, err = op(ctx)
		return value, err != errLeft, err
	case n == nil:
		return observedAttempt(ctx, op, t)
	case n.count > 0:
		return guard(ctx, n, op, t)
	case n.repeater != nil:
		return repeat(ctx, n, op, t)
	}
	return wrap(ctx, n, op, t)
}

// inside runs op through what stands inside the guards of n.
func inside[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	switch {
	case n.repeater != nil && ctx.Err() != nil: // a guard has waited, or derived a context that has ended
		return again(ctx, n, op, t, result[T]{err: policy.ContextError(ctx)}, nil)
	case n.repeater != nil:
		return repeat(ctx, n, op, t)
	case n.wrapper != nil:
		return wrap(ctx, n, op, t)
	}
	return run(ctx, n.next, op, t)
}

// guard admits the guards of n, runs op inside them, and settles them.
func guard[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	var h held
	h.outer = ctx
	defer func() {
		if h.count > 0 { // not settled below: a panic or runtime.Goexit passes through
			h.unwind(n, recover())
		}
	}()
	for i := 0; i < n.count && i < guardsPerNode; i++ { // the second condition spares the checks of bounds
		admitted, ticket, err := n.guards[i].Admit(ctx)
		if err != nil {
			t.rejected(ctx, n.guards[i], err)
			return value, false, h.settle(n, policy.NotCalled, err)
		}
		a := &h.admissions[i]
		a.ctx, a.ticket = admitted, ticket // field by field: as a whole it would go through memory twice
		h.count = i + 1
		if admitted == nil {
			panic(fmt.Sprintf("resilience: %T admitted with a nil context", n.guards[i]))
		}
		ctx = admitted
	}
	h.inside = true
	if n.innermost && t == nil && ctx.Err() == nil { // what inside does here, without three calls
		value, err = op(ctx)
		entered = err != errLeft
	} else {
		value, entered, err = inside(ctx, n, op, t)
	}
	if entered && err == nil {
		h.succeed(n)
		return value, true, nil
	}
	kind := policy.NotCalled
	if entered {
		kind = policy.Returned
	}
	return value, entered, h.settle(n, kind, err)
}

// repeat runs what is inside n until the repeater, or ctx, ends the call. ctx has just been seen not to have ended.
func repeat[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	inner := ctx
	if attempt.Number(ctx) != 0 {
		inner = attempt.With(ctx, 1) // ctx comes from a later attempt of a retry further out
	}
	var state any
	switch {
	case n.next == nil && t == nil: // what through does here
		value, err = op(inner)
		entered = err != errLeft
	default:
		value, entered, err = through(inner, n.next, op, t.at(1))
	}
	if entered && err == nil {
		if n.counter != nil {
			n.counter.Succeeded()
		} else {
			n.repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}, State: state})
		}
		return value, true, nil
	}
	return again(ctx, n, op, t, result[T]{value, entered, err}, state)
}

// result is what an attempt, or all of them so far, came to.
type result[T any] struct {
	value   T
	entered bool
	err     error
}

// again is the rest of repeat when the first attempt, with result r, has failed.
func again[T any](ctx context.Context, n *node, op policy.Func[T], t *trace, r result[T], state any) (value T, entered bool, err error) {
	value, entered, err = r.value, r.entered, r.err
	in := entered // of the last attempt
	var marks attempt.Marks
	for number := 1; ; {
		kind := policy.NotCalled
		if in {
			kind = policy.Returned
		}
		var due, refused bool
		due, state, refused, err = n.decide(ctx, number, policy.Outcome{Kind: kind, Err: err}, state, t.at(number))
		if !due {
			if refused {
				value = *new(T)
			}
			return value, entered, err
		}
		number++
		value, in, err = run(marks.With(ctx, number), n.next, op, t.at(number))
		if in && err == nil {
			n.repeater.Next(ctx, policy.Attempt{Number: number, Outcome: policy.Outcome{Kind: policy.Returned}, State: state})
			return value, true, nil
		}
		entered = entered || in
	}
}
