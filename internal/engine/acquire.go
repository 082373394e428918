package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-resilience/resilience/policy"
)

// Acquire admits all guards of plan, which must have nothing else, for work that is no function.
func Acquire(ctx context.Context, plan *Plan) (*policy.Permit, error) {
	if ctx == nil {
		panic("resilience: Acquire with a nil context")
	}
	for n := plan.first; n != nil; n = n.next {
		if n.repeater != nil {
			return nil, cannotAcquire(n.repeater, "repeats")
		}
		if n.wrapper != nil {
			return nil, cannotAcquire(n.wrapper, "wraps")
		}
	}
	o := &openResult{plan: plan, outer: ctx, ctx: ctx}
	a := &acquisition{permitGuard{o}, newTrace(plan, nil)}
	if err := a.begin(); err != nil {
		return nil, err
	}
	// The guards have admitted. This only makes the permit, with the acquisition as its one guard, which always admits. ctx,
	// which begin has asked about, is not to be asked again.
	return policy.Acquire(context.Background(), a)
}

// acquisition is an open result without an operation: the call is what its owner does, and ends when the permit is settled.
type acquisition struct {
	permitGuard
	trace *trace
}

// begin admits all guards. If one refuses or panics, the call is over.
func (a *acquisition) begin() error {
	w := a.watch()
	defer w.done()
	end, admitted := a.admitAll()
	if admitted {
		w.goesOn = true
		return nil
	}
	w.callReturned(&end)
	return end.err
}

// watch returns a new watch over the call, of which one sees a refusal, and another the end of an admitted call.
func (a *acquisition) watch() *watch {
	return &watch{ctx: a.outer, plan: a.plan, trace: a.trace, outcome: policy.Outcome{Kind: policy.Exited}}
}

// admitAll admits all guards, or none: then end says why, as the caller should see it.
func (a *acquisition) admitAll() (end ending, admitted bool) {
	defer func() {
		if !admitted { // also when a guard panics
			end = a.settleKept(end)
		}
	}()
	if err := policy.ContextError(a.ctx); err != nil {
		return refusal(a.ctx, err), false
	}
	a.kept = a.keptRoom[:0]
	for n := a.plan.first; n != nil; n = n.next {
		for _, guard := range n.guards[:n.count] {
			ctx, ticket, err := guard.Admit(a.ctx)
			if err != nil {
				end = refusal(a.ctx, err)
				a.trace.rejected(a.ctx, guard, &end)
				return end, false
			}
			a.kept = slices.Insert(a.kept, 0, kept{guard, a.ctx, cmp.Or(ctx, a.ctx), ticket})
			if ctx == nil {
				panic(fmt.Sprintf("resilience: %T admitted with a nil context", guard)) // settleKept gives back what it has taken
			}
			a.ctx = ctx
			// After each guard, since there is no operation that would look at the context. Here a guard may have waited.
			if err := policy.ContextError(ctx); err != nil {
				a.trace.arrived()
				return refusal(ctx, err), false
			}
		}
	}
	a.trace.arrived()
	return success, true
}

// Settle implements [policy.Guard].
func (a *acquisition) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	end := a.endingOf(outcome)
	w := a.watch()
	defer w.done()
	a.release(end)
	switch outcome.Kind {
	case policy.Panicked, policy.Exited:
		w.outcome = outcome
	default:
		w.callReturned(&end)
	}
}

// cannotAcquire is the error for a pipeline with a layer that does what needs an operation.
func cannotAcquire(layer policy.Layer, does string) error {
	name := fmt.Sprintf("%T", layer)
	if s, ok := layer.(fmt.Stringer); ok {
		name = s.String()
	}
	problems := policy.ConfigError{Policy: "resilience.Acquire"}
	problems.Add("%s %s: there is no operation", name, does)
	return problems.Err()
}
