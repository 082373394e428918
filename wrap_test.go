package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

func TestWrapper(t *testing.T) {
	t.Run("the first success wins, concurrently", func(t *testing.T) {
		guard := &probe{name: "guard"}
		var calls sync.WaitGroup
		p := resilience.Compose(guard, wrapper(func(ctx context.Context, call func(context.Context) error) error {
			errs := make(chan error, 8)
			for range 8 {
				calls.Go(func() { errs <- call(ctx) })
			}
			var last error
			for range 8 {
				if err := <-errs; err == nil {
					return nil
				} else {
					last = err
				}
			}
			return last
		}))
		for range 200 {
			var mu sync.Mutex
			number := 0
			value, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				number++
				if number%2 == 1 {
					return -number, errBackend
				}
				return number, nil
			})
			require.NoError(t, err)
			require.Positive(t, value)
		}
		calls.Wait()
		require.Equal(t, guard.admitted.Load(), guard.settled.Load())
	})
	t.Run("nil without a success is an error", func(t *testing.T) {
		swallow := wrapper(func(ctx context.Context, call func(context.Context) error) error {
			_ = call(ctx)
			return nil
		})
		_, err := resilience.Do(t.Context(), swallow, answer(0, errBackend))
		require.ErrorContains(t, err, "returned nil although no call succeeded")
		require.ErrorIs(t, err, errBackend)
		never := wrapper(func(context.Context, func(context.Context) error) error { return nil })
		_, err = resilience.Do(t.Context(), never, answer(1, nil))
		require.ErrorContains(t, err, "returned nil although no call succeeded")
	})
	t.Run("not called when it calls nothing", func(t *testing.T) {
		outer := &probe{stage: policy.StageShed}
		refuse := wrapper(func(context.Context, func(context.Context) error) error { return errRefused })
		_, err := resilience.Do(t.Context(), resilience.Compose(outer, refuse), answer(1, nil))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	})
	t.Run("a panic and an exit of a call pass through", func(t *testing.T) {
		outer, inner := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBreaker}
		p := resilience.Compose(outer, wrapper(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) }), inner)
		recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
		require.Equal(t, "boom", recovered)
		_, exited := caught(func() {
			_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		})
		require.True(t, exited)
		require.EqualValues(t, 2, outer.settled.Load())
		require.EqualValues(t, 2, inner.settled.Load())
	})
	t.Run("a result after Run has returned is dropped", func(t *testing.T) {
		release, finished := make(chan struct{}), make(chan struct{})
		leave := wrapper(func(ctx context.Context, call func(context.Context) error) error {
			go func() { defer close(finished); <-release; _ = call(ctx) }()
			return errRefused
		})
		value, err := resilience.Do(t.Context(), leave, answer(9, nil))
		close(release)
		<-finished
		require.Zero(t, value)
		require.ErrorIs(t, err, errRefused)
	})
}

// scavenger is a wrapper that calls three times, one after the other, and hears of what is discarded.
type scavenger struct{ discarded []any }

func (*scavenger) Stage() policy.Stage { return policy.StageHedge }

func (s *scavenger) Run(ctx context.Context, call func(context.Context) error) error {
	return errors.Join(call(ctx), call(ctx), call(ctx))
}

func (s *scavenger) Discard(value any) { s.discarded = append(s.discarded, value) }

func TestADiscarderHearsOfEverySuccessThatLost(t *testing.T) {
	s := &scavenger{}
	number := 0
	value, err := resilience.Do(t.Context(), s, func(context.Context) (int, error) { number++; return number, nil })
	require.NoError(t, err)
	require.Equal(t, 1, value)
	require.Equal(t, []any{2, 3}, s.discarded)
	s.discarded = nil
	_, err = resilience.Do(t.Context(), s, answer(8, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Empty(t, s.discarded, "a failed operation releases what it holds")
}

// bursting is a wrapper that makes one call and then ends the goroutine by a panic or by runtime.Goexit.
type bursting struct {
	burst     func()
	discarded []any
}

func (*bursting) Stage() policy.Stage { return policy.StageHedge }

func (b *bursting) Run(ctx context.Context, call func(context.Context) error) error {
	_ = call(ctx)
	b.burst()
	return nil
}

func (b *bursting) Discard(value any) { b.discarded = append(b.discarded, value) }

// What a wrapper has won and does not live to hand on has an owner all the same.
func TestTheResultOfAWrapperThatPanicsIsDiscarded(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want []any
	}{"success": {nil, []any{7}}, "failure": {errBackend, nil}} {
		for ending, burst := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
			t.Run(name+", "+ending, func(t *testing.T) {
				w := &bursting{burst: burst}
				done := make(chan any)
				go func() {
					defer func() { done <- recover() }()
					_, _ = resilience.Do(context.Background(), resilience.Compose(w), answer(7, c.err))
				}()
				if recovered := <-done; ending == "panic" {
					require.Equal(t, "boom", recovered)
				}
				require.Equal(t, c.want, w.discarded)
			})
		}
	}
}

func TestAWrapperThatHasLeftLetsNobodyIn(t *testing.T) {
	outer, inner := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBreaker}
	release, finished := make(chan struct{}), make(chan error, 1)
	leave := wrapper(func(ctx context.Context, call func(context.Context) error) error {
		go func() { <-release; finished <- call(ctx) }()
		return errRefused
	})
	_, err := resilience.Do(t.Context(), resilience.Compose(outer, leave, inner), func(context.Context) (int, error) {
		t.Error("entered, although it was reported as never called")
		return 0, nil
	})
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	close(release)
	require.ErrorIs(t, <-finished, policy.ErrRejected)
	require.EqualValues(t, 1, inner.settled.Load())
}

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

// A failure that decides the call keeps its value, although a call that is cancelled because of it ends later.
func TestFault269_TheValueBelongsToTheErrorThatDecides(t *testing.T) {
	decided, cancel := context.WithCancel(t.Context())
	w := wrapper(func(ctx context.Context, call func(context.Context) error) error {
		err := call(ctx)
		_ = call(decided)
		return err
	})
	calls := 0
	value, err := resilience.Do(t.Context(), w, func(ctx context.Context) (int, error) {
		if calls++; calls == 1 {
			return 505, errBackend
		}
		cancel() // as a hedge does
		return 0, ctx.Err()
	})
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, 505, value)
}

// brittle is a budget that panics when it is paid into.
type brittle struct{ policy.Budget }

func (brittle) Deposit() { panic("deposit") }

// spender is a wrapper with a budget that makes one attempt.
type spender struct{ budget policy.Budget }

func (*spender) Stage() policy.Stage     { return policy.StageHedge }
func (s *spender) Budget() policy.Budget { return s.budget }
func (*spender) Run(ctx context.Context, attempt func(context.Context) error) error {
	return attempt(ctx)
}

func TestABudgetThatPanicsLeavesNothingOpen(t *testing.T) {
	slots := bulkhead.New(1)
	p := resilience.Compose(&spender{brittle{}}, slots)
	require.PanicsWithValue(t, "deposit", func() { _, _, _ = resilience.Open(t.Context(), p, answer(1, nil)) })
	require.Zero(t, slots.Snapshot().InFlight)
}
