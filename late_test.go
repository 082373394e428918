package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// hasty is a wrapper that does not wait for its call.
type hasty struct{ ended chan struct{} }

func (*hasty) Stage() policy.Stage { return policy.StageHedge }
func (l *hasty) Run(ctx context.Context, call func(context.Context) error) error {
	go func() {
		defer close(l.ended)
		_ = call(ctx)
	}()
	return errors.New("left")
}

// queueing is a guard that admits when it is told to, and remembers the outcome.
type queueing struct {
	admit   chan struct{}
	outcome policy.Outcome
}

func (*queueing) Stage() policy.Stage { return policy.StageBulkhead }
func (q *queueing) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	<-q.admit
	return ctx, policy.Ticket{}, nil
}
func (q *queueing) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	q.outcome = outcome
}

// comeTooLate makes a call that passes a guard only when the wrapper around it has left, and returns what the guard hears.
func comeTooLate(t *testing.T, further ...policy.Layer) policy.Outcome {
	t.Helper()
	wrapper, guard := &hasty{make(chan struct{})}, &queueing{admit: make(chan struct{})}
	pipeline := resilience.Compose(append([]policy.Layer{wrapper, guard}, further...)...)
	_, err := resilience.Do(t.Context(), pipeline, func(context.Context) (int, error) {
		t.Error("entered")
		return 0, nil
	})
	require.EqualError(t, err, "left")
	close(guard.admit)
	<-wrapper.ended
	return guard.outcome
}

// A call that comes to the operation when its wrapper has left does not enter it: for the guards inside it was not
// called, so that a limiter takes its token back, and observers hear of no attempt.
func TestFault123_ACallThatComesTooLateWasNotCalled(t *testing.T) {
	require.Equal(t, policy.NotCalled, comeTooLate(t).Kind)
	var recorder policytest.Recorder
	require.Equal(t, policy.NotCalled, comeTooLate(t, resilience.Observe(&recorder)).Kind)
	require.Zero(t, recorder.Count(policy.EventAttempt))
}

// passing is a wrapper around the attempt itself.
type passing struct{}

func (passing) Stage() policy.Stage { return policy.StageAttemptTimeout }
func (passing) Run(ctx context.Context, call func(context.Context) error) error {
	if err := call(ctx); err != nil {
		return fmt.Errorf("passed on: %w", err)
	}
	return nil
}

// So it is for the guards between two wrappers, when the outer one has left.
func TestFault123_ACallThatComesTooLateThroughAnotherWrapperWasNotCalled(t *testing.T) {
	outcome := comeTooLate(t, passing{})
	require.Equal(t, policy.NotCalled, outcome.Kind)
	require.ErrorContains(t, outcome.Err, "passed on")
}

// noting is a repeater that notes what it hears.
type noting struct{ ended []policy.Kind }

func (*noting) Stage() policy.Stage { return policy.StageAttemptTimeout }
func (n *noting) Next(_ context.Context, ended policy.Attempt) policy.Decision {
	n.ended = append(n.ended, ended.Outcome.Kind)
	return policy.Decision{}
}

func TestFault123_AFirstAttemptThatComesTooLateWasNotCalled(t *testing.T) {
	var repeater noting
	require.Equal(t, policy.NotCalled, comeTooLate(t, &repeater).Kind)
	require.Equal(t, []policy.Kind{policy.NotCalled}, repeater.ended)
}

// leaving is a wrapper that returns when it is told to.
type leaving struct{ leave, ended chan struct{} }

func (*leaving) Stage() policy.Stage { return policy.StageHedge }
func (l *leaving) Run(ctx context.Context, call func(context.Context) error) error {
	go func() {
		defer close(l.ended)
		_ = call(ctx)
	}()
	<-l.leave
	return errors.New("left")
}

// twice is a repeater inside a wrapper, which has left when the second attempt comes.
type twice struct {
	wrapper *leaving
	left    chan struct{} // the call has returned
	ended   []policy.Kind
}

func (*twice) Stage() policy.Stage { return policy.StageAttemptTimeout }
func (r *twice) Next(_ context.Context, ended policy.Attempt) policy.Decision {
	r.ended = append(r.ended, ended.Outcome.Kind)
	if ended.Number == 2 {
		return policy.Decision{}
	}
	close(r.wrapper.leave)
	<-r.left
	return policy.Decision{Again: true}
}

// A repeater hears of such an attempt that it was not called.
func TestFault123_ASecondAttemptThatComesTooLateWasNotCalled(t *testing.T) {
	for _, observed := range []bool{false, true} {
		wrapper := &leaving{leave: make(chan struct{}), ended: make(chan struct{})}
		repeater := &twice{wrapper: wrapper, left: make(chan struct{})}
		layers := []policy.Layer{wrapper, repeater}
		if observed {
			layers = append(layers, resilience.Observe(&policytest.Recorder{}))
		}
		_, err := resilience.Do(t.Context(), resilience.Compose(layers...), func(context.Context) (int, error) {
			return 0, errors.New("sick")
		})
		require.EqualError(t, err, "left")
		close(repeater.left)
		<-wrapper.ended
		require.Equal(t, []policy.Kind{policy.Returned, policy.NotCalled}, repeater.ended)
	}
}

// insisting is a wrapper that makes two calls, the second one when the wrapper around it has left.
type insisting struct{ left chan struct{} }

func (insisting) Stage() policy.Stage { return policy.StageAttemptTimeout }
func (a insisting) Run(ctx context.Context, call func(context.Context) error) error {
	_ = call(ctx)
	<-a.left
	return call(ctx)
}

// Where one call has entered the operation, it does not matter that a later one came too late.
func TestFault123_ACallThatComesTooLateTakesNothingBack(t *testing.T) {
	wrapper := &leaving{leave: make(chan struct{}), ended: make(chan struct{})}
	guard, inner := &queueing{admit: make(chan struct{}, 1)}, insisting{make(chan struct{})}
	guard.admit <- struct{}{}
	_, err := resilience.Do(t.Context(), resilience.Compose(wrapper, guard, inner), func(context.Context) (int, error) {
		close(wrapper.leave)
		return 0, errors.New("sick")
	})
	require.EqualError(t, err, "left")
	close(inner.left)
	<-wrapper.ended
	require.Equal(t, policy.Returned, guard.outcome.Kind)
}
