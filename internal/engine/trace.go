package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// trace is what goes along with an attempt when events are wanted, or when its result is to stay open. It is nil
// otherwise: then nothing is done and no clock is read. Its methods, except emit and observerExited, can be called on nil.
type trace struct {
	plan    *Plan
	attempt int
	call    *call       // nil for a call that is not timed
	exit    *ending     // what guards are told of runtime.Goexit, see exit.go; nil for a call that is not timed
	open    *openResult // nil unless the result is to stay open
}

// call is what belongs to a whole call that is timed. The attempts of a wrapper share it.
type call struct {
	number uint64 // of all timed calls of the process
	start  time.Time
	due    atomic.Int64 // the time since start at which the latest attempt was due
	queued atomic.Int64 // from then to the operation or a refusal; the sum over all attempts
	waits  atomic.Int64 // between attempts; the sum
	first  trace        // of the first attempt, as is exit: in here they save allocations
	exit   ending
}

// lastCall numbers the calls that are timed.
var lastCall atomic.Uint64

// newTrace returns the trace of the first attempt of a call. Its result stays open in o unless that is nil.
//
//	the observers want                  o is nil              o is not nil
//	nothing, or there are none          nil                   in o
//	neither EventAttempt nor EventCall  p.shared              in o
//	one of these two                    a new one, timed      a new one, timed
//
// The calls of a pipeline with a name are counted without a trace, see [watch].
func newTrace(p *Plan, o *openResult) *trace {
	switch {
	case p.kinds&timedKinds != 0:
		c := &call{number: lastCall.Add(1), start: time.Now(), exit: exited}
		c.first = trace{plan: p, attempt: 1, open: o, call: c, exit: &c.exit}
		return &c.first
	case o != nil:
		o.traceRoom = trace{plan: p, attempt: 1, open: o}
		return &o.traceRoom
	}
	return p.shared
}

// fork returns the trace of one of several attempts at the same time; its result stays open in o if that is not nil.
func (t *trace) fork(o *openResult) *trace {
	if t == nil {
		return nil
	}
	other := *t
	other.open = o
	if t.exit != nil {
		exit := exited
		other.exit = &exit
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

// timed reports whether the times of the call are measured.
func (t *trace) timed() bool { return t != nil && t.call != nil }

// staysOpen reports whether the result is to stay open.
func (t *trace) staysOpen() bool { return t != nil && t.open != nil }

// tracesOperation reports whether the operation is to be called by traced: the call is timed, or its result is to stay open.
func (t *trace) tracesOperation() bool { return t != nil && (t.call != nil || t.open != nil) }

// traced calls the operation, with an event at its end and with what a result that stays open needs.
func traced[T any](ctx context.Context, op policy.Func[T], t *trace) (value T, end ending) {
	queued := t.arrived()
	if !t.plan.kinds.has(policy.EventAttempt) { // nobody pays for two readings of the clock and a deferred call
		value, err := op(ctx)
		end = t.plan.endingOf(ctx, err)
		t.operationReturned(ctx, &end)
		return value, end
	}
	before := t.now()
	end = exited // unless the operation returns or panics
	defer func() {
		recovered := recover()
		if recovered != nil {
			end = panicked
		}
		if end.entered() { // else there was no attempt
			t.emit(ctx, policy.Event{
				Kind: policy.EventAttempt, Attempt: t.attempt, Queued: queued, Elapsed: t.now() - before, Outcome: end.outcome(ctx),
			}, &end)
		}
		if recovered != nil {
			panic(recovered)
		}
	}()
	value, err := op(ctx)
	end = t.plan.endingOf(ctx, err)
	t.operationReturned(ctx, &end)
	return value, end
}

// operationReturned prepares a result that is to stay open.
func (t *trace) operationReturned(ctx context.Context, end *ending) {
	if t.staysOpen() && end.entered() {
		t.open.operationReturned(ctx, end)
	}
}

// attemptDue notes that the next attempt is due: its time in queues begins.
func (t *trace) attemptDue() {
	if t.timed() {
		t.call.due.Store(int64(t.now()))
	}
}

// arrived notes that the attempt has reached the operation or a refusal, or that its context has ended on the way. It
// returns how long the way took.
func (t *trace) arrived() (queued time.Duration) {
	if !t.timed() {
		return 0
	}
	queued = t.now() - time.Duration(t.call.due.Load())
	t.call.queued.Add(int64(queued))
	return queued
}

// waited notes that the call has waited since before.
func (t *trace) waited(before time.Duration) {
	if t.timed() {
		t.call.waits.Add(int64(t.now() - before))
	}
}

// now returns the time since the call began; 0 for a call that is not timed.
func (t *trace) now() time.Duration {
	if !t.timed() {
		return 0
	}
	return time.Since(t.call.start)
}
