package engine

import (
	"context"

	"github.com/go-resilience/resilience/policy"
)

// Do runs op through plan.
func Do[T any](ctx context.Context, plan *Plan, op policy.Func[T]) (T, error) {
	check("Do", ctx, op == nil)
	if plan.watched {
		return runWatched(ctx, plan, plan.first, op, nil)
	}
	value, end := run(ctx, plan.first, op, plan.shared)
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

// run runs op through n and everything inside, unless ctx has ended.
func run[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	switch {
	case ctx.Err() != nil:
		t.arrived()
		return value, refusal(ctx, policy.ContextError(ctx))
	case n.count > 0:
		return guarded(ctx, n, op, t, new(bool))
	case n.repeater != nil:
		return repeated(ctx, n, op, t)
	case n.wrapper != nil:
		return wrapped(ctx, n, op, t)
	case t.tracesOperation():
		return traced(ctx, op, t)
	}
	value, err := op(ctx)
	if err != nil {
		return value, n.plan.endingOf(ctx, err)
	}
	return value, success
}

// check panics when a caller passed nil.
func check(caller string, ctx context.Context, noOperation bool) {
	if ctx == nil {
		panic("resilience: " + caller + " with a nil context")
	}
	if noOperation {
		panic("resilience: " + caller + " with a nil operation")
	}
}
