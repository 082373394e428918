package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// runWatched runs op through first, the outermost node, counts how the call ended, and tells the observers.
func runWatched[T any](ctx context.Context, plan *Plan, first *node, op policy.Func[T], o *openResult) (T, error) {
	t := newTrace(plan, o)
	w := watch{ctx: ctx, plan: plan, trace: t, outcome: policy.Outcome{Kind: policy.Exited}}
	defer w.done()
	value, end := run(ctx, first, op, t)
	w.callReturned(&end)
	return value, end.err
}

// watch counts how a call ends, and tells the observers, also when a panic or runtime.Goexit ends it.
type watch struct {
	ctx     context.Context
	plan    *Plan
	trace   *trace
	outcome policy.Outcome // Exited unless something else is known
	goesOn  bool           // the call is not over yet: done does nothing
}

// callReturned counts a call that returned, and notes its outcome for the observers.
func (w *watch) callReturned(end *ending) {
	w.outcome = end.outcome(w.ctx)
	if w.plan.calls != nil {
		w.plan.calls.count(end, w.outcome.Canceled)
	}
}

// done is deferred around the call.
func (w *watch) done() {
	if w.goesOn {
		return
	}
	recovered := recover()
	if recovered != nil {
		w.outcome = policy.Outcome{Kind: policy.Panicked}
	}
	if calls := w.plan.calls; calls != nil && (w.outcome.Kind == policy.Panicked || w.outcome.Kind == policy.Exited) {
		calls.Panicked.Add(1)
	}
	if t := w.trace; t.timed() {
		t.emit(w.ctx, policy.Event{
			Kind: policy.EventCall, Outcome: w.outcome, Elapsed: t.now(),
			Queued: time.Duration(t.call.queued.Load()), Wait: time.Duration(t.call.waits.Load()),
		}, nil)
	}
	if recovered != nil {
		panic(recovered)
	}
}

// Calls counts the calls of a pipeline by how they ended.
type Calls struct{ Succeeded, Expected, Failed, Rejected, Canceled, Panicked atomic.Uint64 }

// count counts a call that returned.
func (c *Calls) count(end *ending, canceled bool) {
	switch {
	case end.succeeded():
		c.Succeeded.Add(1)
	case canceled:
		c.Canceled.Add(1)
	case !end.entered() && (end.err == nil || match.Is(end.err, policy.ErrRejected)): // nil: what an acquisition was for never began
		c.Rejected.Add(1)
	case end.class == policy.Expected:
		c.Expected.Add(1)
	default:
		c.Failed.Add(1)
	}
}
