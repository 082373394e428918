// Package engine runs a call through its layers. It is the one place where admitted guards are settled.
//
// A call walks the nodes of a [Plan] from the outside to the inside. [run] is the step into a node, whatever it is. It
// looks whether the context has ended, and then:
//
//	guarded    admits a run of guards, runs the next node, settles the guards     guard.go
//	repeated   runs the next node for each attempt, and asks the repeater         repeat.go
//	wrapped    lets a wrapper run the next node as often as it wants              wrap.go
//
// or calls the operation, in the innermost node. What comes back is the value and an [ending]. A [trace] goes along when
// events are wanted or when the result stays open (open.go); then [traced] calls the operation.
package engine

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// Do runs op through plan.
func Do[T any](ctx context.Context, plan *Plan, op policy.Func[T]) (T, error) {
	check("Do", ctx, op == nil)
	if plan.watched {
		return watched(ctx, plan, plan.first, op, nil)
	}
	value, end := run(ctx, plan.first, op, plan.quiet)
	return value, end.err
}

// DoLayer runs op through a single layer.
func DoLayer[T any](ctx context.Context, layer policy.Layer, op policy.Func[T]) (T, error) {
	check("Do", ctx, op == nil)
	n := node{plan: bare, next: bare.first}
	n.setLayer(layer)
	value, end := run(ctx, &n, op, nil)
	return value, end.err
}

// bare is the plan around a single layer.
var bare = NewPlan(nil, Config{})

// setLayer makes n a node for one layer.
func (n *node) setLayer(layer policy.Layer) {
	if placed, ok := layer.(policy.Placed); ok {
		layer = placed.Layer
	}
	if _, ok := layer.(policy.Composite); ok {
		panic(fmt.Sprintf("resilience: a %T was moved: move its layers instead", layer))
	}
	if v := reflect.ValueOf(layer); v.Kind() == reflect.Pointer && v.IsNil() {
		panic(fmt.Sprintf("resilience: a call through a nil %T", layer))
	}
	switch layer := layer.(type) {
	case policy.Repeater:
		n.setRepeater(layer)
		n.setBudget(layer, nil)
	case policy.Wrapper:
		n.wrapper = layer
		n.setBudget(layer, nil)
	case policy.Guard:
		n.guards[0], n.count = layer, 1
	default:
		panic(fmt.Sprintf("resilience: %T is no Guard, Repeater or Wrapper", layer))
	}
}

func check(caller string, ctx context.Context, noOperation bool) {
	if ctx == nil {
		panic("resilience: " + caller + " with a nil context")
	}
	if noOperation {
		panic("resilience: " + caller + " with a nil operation")
	}
}

// ending is how the operation, or the part of a pipeline around it, has ended.
type ending struct {
	entered bool         // the operation was entered
	class   policy.Class // of an error
	err     error
	ended   *contextEnd // nil if the context of the operation, or of the layer that refused, had not ended by then
}

// contextEnd is a context that had ended when something returned. What comes after that moment, such as an observer that takes
// its time, does not change what an error was.
type contextEnd struct {
	cause error
	at    time.Time // when it was looked at
}

// endOf looks whether ctx has ended.
func endOf(ctx context.Context) *contextEnd {
	if ctx.Err() == nil {
		return nil
	}
	return &contextEnd{cause: context.Cause(ctx), at: time.Now()}
}

// included reports whether ctx had ended by then too.
func (o *contextEnd) included(ctx context.Context) bool {
	if o == nil || ctx.Err() == nil {
		return false
	}
	deadline, ok := ctx.Deadline()
	return !ok || !deadline.After(o.at) || ctx.Err() == context.Canceled //nolint:errorlint // the very value
}

// timedOut reports whether a timeout that a layer made was the cause, as opposed to the deadline of a caller.
func (o *contextEnd) timedOut() bool {
	return o != nil && o.cause != context.DeadlineExceeded && match.Is(o.cause, context.DeadlineExceeded) //nolint:errorlint // the very value
}

// succeeded reports whether the operation returned without an error.
func (e *ending) succeeded() bool { return e.entered && e.err == nil }

// outlasts reports whether the failure e stays the result of several calls although another one ended later: neither a
// refusal nor a call that was cancelled, because of e, has more to say.
func (e *ending) outlasts(later *ending) bool {
	return e.entered && later.err != nil && (!later.entered || later.ended != nil && e.ended == nil)
}

// outcome is the ending as the layer with the context ctx is told.
func (e *ending) outcome(ctx context.Context) policy.Outcome {
	o := policy.Outcome{Kind: policy.NotCalled, Class: e.class, Err: e.err}
	if e.entered {
		o.Kind = policy.Returned
	}
	o.Canceled = e.ended != nil && policy.Canceled(ctx)
	return o
}

// run runs op through n and everything inside, unless ctx has ended.
func run[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	switch {
	case ctx.Err() != nil:
		t.arrived()
		return value, refusal(ctx, policy.ContextError(ctx))
	case n.count > 0:
		return guarded(ctx, n, op, t)
	case n.repeater != nil:
		return repeated(ctx, n, op, t)
	case n.wrapper != nil:
		value, end = wrapped(ctx, n, op, t)
		t.learn(end)
		return value, end
	case t != nil:
		return traced(ctx, n.plan, op, t)
	}
	value, err := op(ctx)
	if err != nil {
		return value, n.plan.judge(ctx, err)
	}
	return value, ending{entered: true}
}

// refusal is the ending of an attempt that did not come to the operation.
func refusal(ctx context.Context, err error) ending {
	return ending{class: policy.Ignored, err: err, ended: endOf(ctx)}
}

// judge is the ending of an operation that returned err. It is the one place that asks whether the operation was entered.
func (p *Plan) judge(ctx context.Context, err error) ending {
	switch err {
	case nil:
		return ending{entered: true}
	case errLeft:
		return refusal(ctx, err)
	}
	ended := endOf(ctx)
	return ending{entered: true, class: p.classify(err, ended), err: err, ended: ended}
}
