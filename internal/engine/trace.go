package engine

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// trace is who hears what happens, and in which attempt. It is nil when nobody listens: then nothing is done and no
// clock is read.
type trace struct {
	observer policy.Observer
	attempt  int
}

// at returns the trace of another attempt.
func (t *trace) at(number int) *trace {
	if t == nil {
		return nil
	}
	return &trace{observer: t.observer, attempt: number}
}

// emit tells the observer. A panic in it is dropped: observing never fails a call.
func (t *trace) emit(ctx context.Context, event policy.Event) {
	defer func() { _ = recover() }()
	t.observer.Observe(ctx, event)
}

func (t *trace) rejected(ctx context.Context, layer policy.Layer, err error) {
	if t != nil {
		outcome := policy.Outcome{Kind: policy.NotCalled, Err: err}
		t.emit(ctx, policy.Event{Kind: policy.EventRejected, Layer: layer, Attempt: t.attempt, Outcome: outcome})
	}
}

func (t *trace) again(ctx context.Context, kind policy.EventKind, layer policy.Layer, ended *policy.Attempt, decision policy.Decision) {
	if t != nil {
		t.emit(ctx, policy.Event{Kind: kind, Layer: layer, Attempt: ended.Number, Outcome: ended.Outcome, Wait: max(0, decision.Wait)})
	}
}

func (t *trace) stopped(ctx context.Context, layer policy.Layer, ended *policy.Attempt, decision policy.Decision) {
	refused := ended.Number == 1 && ended.Outcome.Kind == policy.NotCalled && ended.Asked == 0
	if t != nil && !refused { // a call that was refused at once is no retry that was not made
		outcome := ended.Outcome
		if decision.Err != nil {
			outcome.Err = decision.Err
		}
		t.emit(ctx, policy.Event{Kind: policy.EventStopped, Layer: layer, Attempt: ended.Number, Outcome: outcome})
	}
}

// observedCall is run with an EventCall at its end.
func observedCall[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, err error) {
	end := t.begin(ctx, policy.EventCall, 0)
	defer func() { end.done(recover()) }()
	var entered bool
	value, entered, err = run(ctx, n, op, t)
	end.returned(entered, err)
	return value, err
}

// observedAttempt calls op with an EventAttempt at its end.
func observedAttempt[T any](ctx context.Context, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	end := t.begin(ctx, policy.EventAttempt, t.attempt)
	defer func() { end.done(recover()) }()
	value, err = op(ctx)
	if err == errLeft {
		end.trace = nil // there was no attempt
		return value, false, err
	}
	end.returned(true, err)
	return value, true, err
}

// span is something whose end will be an event.
type span struct {
	trace *trace
	ctx   context.Context
	start time.Time
	event policy.Event
}

func (t *trace) begin(ctx context.Context, kind policy.EventKind, number int) *span {
	// Exited stands unless returned or done know better: only runtime.Goexit leaves no other sign.
	event := policy.Event{Kind: kind, Attempt: number, Outcome: policy.Outcome{Kind: policy.Exited}}
	return &span{trace: t, ctx: ctx, start: time.Now(), event: event}
}

func (s *span) returned(entered bool, err error) {
	s.event.Outcome = policy.Outcome{Kind: policy.NotCalled, Err: err}
	if entered {
		s.event.Outcome.Kind = policy.Returned
	}
}

// done emits the event and lets a panic go on.
func (s *span) done(recovered any) {
	if recovered != nil {
		s.event.Outcome = policy.Outcome{Kind: policy.Panicked}
	}
	if s.trace != nil {
		s.event.Elapsed = time.Since(s.start)
		s.trace.emit(s.ctx, s.event)
	}
	if recovered != nil {
		panic(recovered)
	}
}

// combine makes one observer of several: nil for none.
func combine(observers []policy.Observer) policy.Observer {
	switch len(observers) {
	case 0:
		return nil
	case 1:
		return observers[0]
	}
	return everyone(observers)
}

// everyone is several observers, each of whom hears everything, whether or not another one panics.
type everyone []policy.Observer

func (e everyone) Observe(ctx context.Context, event policy.Event) {
	for _, observer := range e {
		(&trace{observer: observer}).emit(ctx, event)
	}
}
