package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Open is Do, but the guards of the attempt that succeeded stay admitted until the permit is settled.
func Open[T any](ctx context.Context, plan *Plan, op policy.Func[T]) (T, *policy.Permit, error) {
	return open(ctx, plan, plan.first, op)
}

// OpenLayer is Open for a single layer.
func OpenLayer[T any](ctx context.Context, layer policy.Layer, op policy.Func[T]) (T, *policy.Permit, error) {
	n := &node{plan: bare, next: bare.first}
	n.setLayer(layer)
	return open(ctx, bare, n, op)
}

// open is Open, beginning at first: the first node of plan, or the node of a single layer before it.
func open[T any](ctx context.Context, plan *Plan, first *node, op policy.Func[T]) (value T, permit *policy.Permit, err error) {
	check("Open", ctx, op == nil)
	o := newOpenResult(ctx)
	o.plan, o.outer, o.ctx = plan, ctx, ctx
	defer func() {
		if permit == nil { // an error; or a panic or runtime.Goexit, maybe after an attempt had succeeded
			o.abandon()
		}
	}()
	value, err = runWatched(ctx, plan, first, op, o)
	if err == nil || o.answer.live {
		permit, _ = policy.Acquire(context.Background(), permitGuard{o}) // which always admits
	}
	return value, permit, err
}

// openResult is what outlives an operation: the guards of the attempt that succeeded, or the contexts of an [answer]. In the
// end it is one guard, that of the permit ([permitGuard]). What it holds is let go of in these ways:
//
//	release         the permit is settled: the guards are told the outcome, then cancelContexts
//	abandon         what has succeeded has no owner: release with the success
//	cancelContexts  nothing is read any more: the contexts of the answer end, and the one that a wrapper made for this attempt
//
// What becomes of its parts during an attempt:
//
//	                                  bounds                kept            answer
//	admitGuard: a guard admits        its bound is pushed
//	the operation succeeds            all are lifted
//	keep: its guards are not settled  stay behind, lifted   they are added
//	the operation fails                                                     is live if the error says so
//	keepContext: a guard is settled   its bound is popped                   if live, the bound is lifted, and the context lives on
type openResult struct {
	plan  *Plan
	outer context.Context // that the call was given, or the attempt of a wrapper
	ctx   context.Context // that the operation was given
	since time.Time       // when the operation returned, if an observer wants to know

	kept        []kept             // guards, innermost first
	bounds      []func()           // what lifts the bound of each guard that is admitted, outermost first; nil if it has none
	answer      answer             // of the last attempt that has ended
	cancelOuter context.CancelFunc // ends the context that a wrapper has given this attempt; nil if it does that itself

	// Room for what belongs to the call, which saves allocations: one guard at each stage from StageShed to
	// StageAttemptTimeout that is for guards. guardsPerNode is another bound, of those in one node.
	traceRoom  trace
	keptRoom   [6]kept
	boundsRoom [6]func()
}

// kept is a guard that stays admitted.
type kept struct {
	guard      policy.Guard
	outer, ctx context.Context // that the guard was given, and that it returned
	ticket     policy.Ticket
}

// admitGuard asks guard for an attempt whose result is to stay open. It pushes onto bounds what keepContext pops when the guard is
// settled. Bounds are left behind by a success, whose guards are kept, and by a panic or runtime.Goexit: each ends the call.
func (o *openResult) admitGuard(ctx context.Context, guard policy.Guard) (_ context.Context, ticket policy.Ticket, err error) {
	var lift func()
	if lifter, ok := guard.(policy.Lifter); ok {
		ctx, ticket, lift, err = lifter.AdmitOpen(ctx)
	} else {
		ctx, ticket, err = guard.Admit(ctx)
	}
	if err == nil {
		if o.bounds == nil {
			o.bounds = o.boundsRoom[:0]
		}
		o.bounds = append(o.bounds, lift)
	}
	return ctx, ticket, err
}

// operationReturned notes that the operation has returned under ctx. If it has succeeded, the bounds that end with it are lifted.
// Those of an answer that is still to be read are lifted as their guards are settled (keepContext): bounds outside a repeater
// still hold for the next attempt.
func (o *openResult) operationReturned(ctx context.Context, end *ending) {
	o.answer.live = end.err != nil && isLive(end.err)
	if o.answer.live || end.err == nil {
		o.ctx = ctx
	}
	if end.err == nil {
		o.lift()
	}
}

// lift lifts the bounds of all guards that have admitted.
func (o *openResult) lift() {
	for i, lift := range o.bounds {
		if lift != nil {
			o.bounds[i] = nil
			lift()
		}
	}
}

// keep takes over the guards of n, which have admitted an attempt that succeeded.
func (o *openResult) keep(outer context.Context, n *node, h *held) {
	if o.kept == nil {
		o.kept = o.keptRoom[:0]
	}
	for h.count > 0 {
		last := h.count - 1
		guard, a := n.guards[last], h.admissions[last]
		if returner, ok := guard.(policy.Returner); ok {
			a.ticket = returner.Returned(a.ctx, a.ticket)
		}
		h.count = last
		o.kept = append(o.kept, kept{guard, h.around(outer, last), a.ctx, a.ticket})
	}
}

// keepContext is called before the innermost guard is settled, with its ticket. If there is an answer to be read in the guard's
// context, that lives on: keepContext lifts the bound, and takes the end of the context out of the ticket.
func (o *openResult) keepContext(ticket *policy.Ticket, end *ending) {
	last := len(o.bounds) - 1
	lift := o.bounds[last]
	o.bounds = o.bounds[:last]
	if !o.answer.live || !end.entered() { // else it is a later attempt that was refused
		return
	}
	if lift != nil {
		lift()
	}
	if ticket.Cancel != nil {
		o.answer.cancels = append(o.answer.cancels, ticket.Cancel)
		ticket.Cancel = nil
	}
}

// adopt takes over what an attempt of a wrapper has left: what succeeded, or an answer that is still to be read.
func (o *openResult) adopt(other *openResult) {
	o.ctx, o.answer.live = other.ctx, other.answer.live
	o.kept = append(o.kept, other.kept...)
	o.answer.cancels = append(o.answer.cancels, other.answer.cancels...)
	if other.cancelOuter != nil {
		o.answer.cancels = append(o.answer.cancels, other.cancelOuter)
	}
	other.kept, other.answer.cancels, other.cancelOuter = nil, nil, nil
}

// release settles all guards, innermost first, although a Settle may panic, and ends the contexts.
func (o *openResult) release(end ending) {
	defer o.cancelContexts()
	o.settleKept(end)
}

// settleKept settles the guards that are kept, although a Settle may panic. It returns the ending as the caller sees it: its
// error names the timeouts that have expired.
func (o *openResult) settleKept(end ending) ending {
	defer func() {
		if len(o.kept) > 0 { // a Settle has panicked, or called runtime.Goexit
			o.settleKept(end)
		}
	}()
	for len(o.kept) > 0 {
		k := o.kept[0]
		o.kept = o.kept[1:] // before Settle, which may panic: no guard is settled twice
		end.err = nameCause(k.outer, k.ctx, &end)
		k.guard.Settle(k.ctx, k.ticket, end.outcome(k.ctx))
	}
	return end
}

// abandon settles what has succeeded but will have no owner.
func (o *openResult) abandon() { o.release(success) }

// cancelContexts ends all contexts, also the one of a wrapper.
func (o *openResult) cancelContexts() {
	o.answer.cancelContexts()
	o.answer = answer{}
	if o.cancelOuter != nil {
		o.cancelOuter()
	}
}

// permitGuard is an open result as the guard of its permit.
type permitGuard struct{ *openResult }

// Stage implements [policy.Guard].
func (permitGuard) Stage() policy.Stage { return policy.StageFallback }

// Admit implements [policy.Guard]. It always admits.
func (g permitGuard) Admit(context.Context) (context.Context, policy.Ticket, error) {
	if g.plan.kinds.has(policy.EventSettled) {
		g.since = time.Now()
	}
	return g.ctx, policy.Ticket{}, nil
}

// Settle implements [policy.Guard].
func (g permitGuard) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	if outcome.Kind == policy.NotCalled {
		outcome.Kind = policy.Returned // the operation was called: what it has used does not come back
	}
	if g.plan.kinds.has(policy.EventSettled) {
		defer func() {
			t := trace{plan: g.plan}
			t.emit(g.outer, policy.Event{Kind: policy.EventSettled, Outcome: outcome, Elapsed: time.Since(g.since)}, nil)
		}()
	}
	g.release(g.endingOf(outcome))
}

// endingOf returns the ending that the owner of the result gives it.
func (o *openResult) endingOf(outcome policy.Outcome) ending {
	ended := endOf(o.ctx)
	if outcome.Canceled {
		if ended == nil {
			ended = &contextEnd{at: time.Now()}
		}
		ended.canceled = true
	}
	return ending{kind: outcome.Kind, class: outcome.Class, err: outcome.Err, contextEnd: ended}
}

// ClassOfWork is what a [policy.Permit] asks: what does the error mean that it is settled with?
func (o *openResult) ClassOfWork(err error) policy.Class { return o.plan.classify(err, endOf(o.ctx)) }

// String is for the permit.
func (o *openResult) String() string { return cmp.Or(o.plan.Name, "an open result") }
