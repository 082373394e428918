package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// trace is what goes along with an attempt when events are wanted, or when its result is to stay open. It is nil
// otherwise: then nothing is done and no clock is read. Its methods, except emit, can be called on nil.
type trace struct {
	plan    *Plan
	attempt int
	call    *call       // nil for a call that is not timed
	exit    *exit       // nil for a call that is not timed
	open    *openResult // nil unless the result is to stay open
}

// call is what belongs to a whole call. The attempts of a hedge share it.
type call struct {
	number uint64 // of all timed calls of the process
	start  time.Time
	began  atomic.Int64 // the time since start at which it was decided to make the latest attempt
	queued atomic.Int64 // from such a decision to the operation or a refusal; the sum over all attempts
	waits  atomic.Int64 // between attempts; the sum
	first  trace        // of the first attempt, as is exit: in here they save allocations
	exit   exit
}

// lastCall numbers the calls that are timed.
var lastCall atomic.Uint64

// exit is what is known when an observer has called runtime.Goexit: the ending that its event told of. Guards are told the same,
// since the operation has not exited. Each attempt of a hedge has its own. A call that is not timed has none, as its
// trace is shared: its guards are told of an exit.
type exit struct {
	ending ending
	known  bool
}

// newTrace returns the trace of the first attempt of a call; nil when there is nothing to trace.
func newTrace(p *Plan, o *openResult) *trace {
	switch {
	case p.kinds == 0 && o == nil:
		return nil
	case p.kinds&timedKinds != 0:
		c := &call{number: lastCall.Add(1), start: time.Now()}
		c.first = trace{plan: p, attempt: 1, open: o, call: c, exit: &c.exit}
		return &c.first
	case o != nil:
		o.traceRoom = trace{plan: p, attempt: 1, open: o}
		return &o.traceRoom
	}
	return p.quiet
}

// fork returns the trace of one of several calls at the same time; its result stays open in o if that is not nil.
func (t *trace) fork(o *openResult) *trace {
	if t == nil {
		return nil
	}
	other := *t
	other.open = o
	if t.exit != nil {
		other.exit = new(exit)
	}
	return &other
}

// at returns the trace of another attempt.
func (t *trace) at(number int) *trace {
	if t == nil || t.attempt == number {
		return t
	}
	other := *t
	other.attempt = number
	return &other
}

// attends reports whether there is anything to do at the operation: not for observers of refusals and retries.
func (t *trace) attends() bool { return t != nil && (t.call != nil || t.open != nil) }

// staysOpen reports whether the result is to stay open.
func (t *trace) staysOpen() bool { return t != nil && t.open != nil }

// traced calls the operation, with an event at its end and with what a result that stays open needs.
func traced[T any](ctx context.Context, plan *Plan, op policy.Func[T], t *trace) (value T, end ending) {
	if !t.plan.kinds.has(policy.EventAttempt) { // nobody pays for two readings of the clock and a deferred call
		t.arrived()
		value, err := op(ctx)
		end = plan.ending(ctx, err)
		t.operationReturned(ctx, &end)
		return value, end
	}
	queued := t.arrived()
	event := policy.Event{
		Kind: policy.EventAttempt, Attempt: t.attempt, Queued: queued,
		Outcome: policy.Outcome{Kind: policy.Exited}, // stands unless something else is known
	}
	before := t.now()
	var known *ending // nil as long as the operation has not returned
	defer func() {
		recovered := recover()
		if recovered != nil {
			event.Outcome = policy.Outcome{Kind: policy.Panicked}
		}
		if known == nil || known.entered() { // else there was no attempt
			event.Elapsed = t.now() - before
			t.emit(ctx, event, known)
		}
		if recovered != nil {
			panic(recovered)
		}
	}()
	value, err := op(ctx)
	end = plan.ending(ctx, err)
	known = &end
	event.Outcome = end.outcome(ctx)
	t.operationReturned(ctx, &end)
	return value, end
}

// operationReturned prepares a result that is to stay open.
func (t *trace) operationReturned(ctx context.Context, end *ending) {
	if t.staysOpen() && end.entered() {
		t.open.operationReturned(ctx, end)
	}
}

// observerExited reports whether an observer has called runtime.Goexit, after something that has ended as t.exit says.
func (t *trace) observerExited() bool { return t != nil && t.exit != nil && t.exit.known }

// begin notes that it was decided to make the next attempt.
func (t *trace) begin() {
	if t != nil && t.call != nil {
		t.call.began.Store(int64(t.now()))
	}
}

// arrived notes that the attempt has reached the operation or a refusal, or that its context has ended on the way. It
// returns how long the way took.
func (t *trace) arrived() (queued time.Duration) {
	if t == nil || t.call == nil {
		return 0
	}
	queued = t.now() - time.Duration(t.call.began.Load())
	t.call.queued.Add(int64(queued))
	return queued
}

// waited notes that the call has waited since before.
func (t *trace) waited(before time.Duration) {
	if t != nil && t.call != nil {
		t.call.waits.Add(int64(t.now() - before))
	}
}

// now returns the time since the call began; 0 for a call that is not timed.
func (t *trace) now() time.Duration {
	if t == nil || t.call == nil {
		return 0
	}
	return time.Since(t.call.start)
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

// again tells that a repeater will make another attempt (EventRetry), or, when it was asked once more, that it waits for longer
// than it said then (EventWait). end is how the call would end now.
func (t *trace) again(
	ctx context.Context, layer policy.Layer, ended *policy.Attempt, decision *policy.Decision, end *ending,
) {
	if t != nil {
		kind := policy.EventRetry
		if ended.Asked > 1 {
			kind = policy.EventWait
		}
		t.emit(ctx, policy.Event{
			Kind: kind, Layer: layer, Attempt: ended.Number, Outcome: ended.Outcome, Wait: max(0, decision.Wait),
		}, end)
	}
}

// stopped tells that a repeater has given up. It is silent where a retry was never in question, as the decision without a
// reason says, and where the call was refused at once. end is how the call would end without the decision.
func (t *trace) stopped(
	ctx context.Context, layer policy.Layer, ended *policy.Attempt, decision *policy.Decision, end *ending,
) {
	refusedAtOnce := ended.Number == 1 && ended.Outcome.Kind == policy.NotCalled && ended.Asked == 0
	if t == nil || refusedAtOnce || decision.Reason == nil && decision.Err == nil {
		return
	}
	outcome, reason := ended.Outcome, decision.Reason
	if decision.Err != nil {
		outcome.Err = decision.Err
	}
	if reason == nil {
		reason = decision.Err
	}
	t.emit(ctx, policy.Event{
		Kind: policy.EventStopped, Layer: layer, Attempt: ended.Number, Outcome: outcome, Reason: reason,
	}, end)
}

// emit tells the observers. A panic in one is dropped: observing never fails a call. The event tells of something that has ended
// as end says; nil if that is not known, or if no guard is left to be told.
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
		if !returned && end != nil && t.exit != nil {
			*t.exit = exit{ending: *end, known: true}
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
