package engine

import (
	"cmp"
	"context"

	"github.com/go-resilience/resilience/policy"
)

// These tell of events:
//
//	EventAttempt                          traced
//	EventRejected                         held.refused, acquisition.admitAll
//	EventRetry, EventWait, EventStopped   retrying.untilDue
//	EventCall                             watch.done
//	EventSettled                          permitGuard.Settle

// kinds is a set of kinds of event.
type kinds uint16

func (k kinds) has(kind policy.EventKind) bool { return k&(1<<kind) != 0 }

const (
	allKinds   = ^kinds(0)
	timedKinds = kinds(1<<policy.EventAttempt | 1<<policy.EventCall) // a permit times EventSettled itself
)

// observe asks the observers which kinds of event they need.
func (p *Plan) observe() {
	p.wanted = make([]kinds, len(p.Observers))
	for i, observer := range p.Observers {
		p.wanted[i] = kindsOf(observer)
		p.kinds |= p.wanted[i]
	}
	if p.kinds != 0 {
		p.shared = &trace{plan: p, attempt: 1}
	}
}

func kindsOf(observer policy.Observer) (k kinds) {
	choosy, ok := observer.(policy.KindObserver)
	if !ok {
		return allKinds
	}
	for _, kind := range choosy.ObservedKinds() {
		k |= 1 << kind
	}
	return k
}

// rejected tells that layer has refused the attempt, which has so ended.
func (t *trace) rejected(ctx context.Context, layer policy.Layer, end *ending) {
	if t == nil {
		return
	}
	queued := t.arrived()
	t.emit(ctx, policy.Event{
		Kind: policy.EventRejected, Layer: layer, Attempt: t.attempt, Queued: queued, Outcome: end.outcome(ctx),
	}, end)
}

// again tells that a repeater will make another attempt (EventRetry), or, when it was asked once more, that it waits for
// longer than it said then (EventWait). end is how the call would end now.
func (t *trace) again(
	ctx context.Context, layer policy.Layer, last *policy.Attempt, decision *policy.Decision, end *ending,
) {
	if t != nil {
		kind := policy.EventRetry
		if last.Asked > 1 {
			kind = policy.EventWait
		}
		t.emit(ctx, policy.Event{
			Kind: kind, Layer: layer, Attempt: last.Number, Outcome: last.Outcome, Wait: max(0, decision.Wait),
		}, end)
	}
}

// stopped tells that a repeater has given up. It is silent where a retry was never in question, as the decision without a
// reason says, and where the call was refused at once. end is how the call would end without the decision.
func (t *trace) stopped(
	ctx context.Context, layer policy.Layer, last *policy.Attempt, decision *policy.Decision, end *ending,
) {
	refusedAtOnce := last.Number == 1 && last.Outcome.Kind == policy.NotCalled && last.Asked == 0
	if t == nil || refusedAtOnce || decision.Reason == nil && decision.Err == nil {
		return
	}
	outcome := last.Outcome
	outcome.Err = cmp.Or(decision.Err, outcome.Err)
	t.emit(ctx, policy.Event{
		Kind: policy.EventStopped, Layer: layer, Attempt: last.Number, Outcome: outcome,
		Reason: cmp.Or(decision.Reason, decision.Err),
	}, end)
}

// emit tells the observers. A panic in one is dropped: observing never fails a call. end is the ending that the event is
// about, nil if no guard is left to be told.
func (t *trace) emit(ctx context.Context, event policy.Event, end *ending) {
	if !t.plan.kinds.has(event.Kind) {
		return
	}
	event.Pipeline = t.plan.Name
	if t.call != nil {
		event.Call = t.call.number
	}
	returned := false
	defer func() {
		if !returned && end != nil {
			t.observerExited(end)
		}
	}()
	for i, observer := range t.plan.Observers {
		if t.plan.wanted[i].has(event.Kind) {
			tell(ctx, observer, event)
		}
	}
	returned = true
}

func tell(ctx context.Context, observer policy.Observer, event policy.Event) {
	defer func() { _ = recover() }()
	observer.Observe(ctx, event)
}
