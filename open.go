package resilience

import (
	"context"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Open is [Do] for a result that outlives the operation: the body of a response, a stream, rows. Until the permit is
// settled, the attempt that succeeded keeps its slot in a bulkhead, and its context lives.
//
//	response, permit, err := resilience.Open(ctx, backend, get)
//	if err != nil {
//		return err
//	}
//	defer permit.Done(nil)
//	defer response.Body.Close()
//
// Everything up to the success is as with Do: retries, hedges, refusals. What counts or measures does so when op returns:
// it is then that a breaker counts a success and a probe has its answer. A later permit.Done(err) is one failure more,
// unless err is nil or the caller has cancelled.
//
// An attempt timeout bounds op and is lifted when it returns; a total timeout bounds everything until the permit is
// settled. [policy.Permit.Context] is the context that op was given.
//
// When there is an error, the permit is nil; a nil permit may be settled, and nothing happens. One exception serves
// answers that are failures and still to be read: if op's error has a method Live() bool that returns true, and its
// attempt is the last, Open returns value, error and a permit that holds only the context of that attempt.
//
// A caller who forgets the permit keeps the slot for ever.
func Open[T any](ctx context.Context, layer policy.Layer, op policy.Func[T]) (T, *policy.Permit, error) {
	if plan := planOf(layer, "Open"); plan != nil {
		return engine.Open(ctx, plan, op)
	}
	return engine.OpenLayer(ctx, layer, op)
}

// Acquire admits the guards of the pipeline for work that is no function: the message of a consumer, the stream of a
// server. The work must run under the permit's context, and the permit must be settled, also when the work panics or is
// given up:
//
//	permit, err := intake.Acquire(ctx)
//	if err != nil {
//		return err
//	}
//	defer permit.Settle(policy.Outcome{Kind: policy.Exited}) // does nothing after Done
//	err = handle(permit.Context(), message)
//	permit.Done(err)
//
// All of the time until then counts as the attempt: an attempt timeout bounds it, and a success counts when it is done. A
// pipeline with a repeater or a wrapper is refused with a [*policy.ConfigError] that names it, since there is nothing that
// could be repeated.
func (p *Pipeline) Acquire(ctx context.Context) (*policy.Permit, error) {
	return engine.Acquire(ctx, p.planOrPanic())
}
