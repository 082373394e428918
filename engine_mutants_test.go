package resilience_test

// What only a changed engine showed to be untested; see proof/mutate.

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/timeout"
)

func TestAttemptsAreNumberedFrom1WithoutARepeater(t *testing.T) {
	var recorder policytest.Recorder
	_, err := resilience.Do(t.Context(), resilience.Compose(&probe{}, resilience.Observe(&recorder)), answer(1, nil))
	require.NoError(t, err)
	attempt := recorder.Events()[0]
	require.Equal(t, policy.EventAttempt, attempt.Kind)
	require.Equal(t, 1, attempt.Attempt)
	require.Equal(t, policy.Outcome{Kind: policy.Returned}, attempt.Outcome)
}

func TestAContextThatAGuardHasEndedIsNotEntered(t *testing.T) {
	outer := &probe{}
	ending := &probe{stage: policy.StageBulkhead, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errCause)
		return ctx, func() {}
	}}
	_, err := resilience.Do(t.Context(), resilience.Compose(outer, ending), func(context.Context) (int, error) {
		t.Error("entered")
		return 0, nil
	})
	require.ErrorIs(t, err, errCause)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	require.Equal(t, policy.NotCalled, ending.last.Load().Kind)
}

func TestASleepEndsOnlyWhenTheGateStaysClosedForLongerThanItsRest(t *testing.T) {
	for name, c := range map[string]struct {
		closedFor time.Duration
		slept     time.Duration
		calls     int
	}{
		"a little longer than the rest": {8*time.Second + time.Millisecond, 2 * time.Second, 1},
		"exactly the rest":              {8 * time.Second, 10 * time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, retry := opensAt(100, c.closedFor), &again{max: 2, wait: 10 * time.Second}
				time.AfterFunc(2*time.Second, db.Trip)
				start := time.Now()
				call, calls := policytest.Script(0, errBackend, errBackend)
				_, err := resilience.Do(t.Context(), resilience.Compose(retry, db), call)
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, c.slept, time.Since(start))
				require.Equal(t, c.calls, calls())
				require.Len(t, retry.heard, 2)
				if c.calls == 1 {
					require.Equal(t, 1, retry.heard[1].Asked)
				}
			})
		})
	}
}

func TestEachGuardHearsTheErrorAsItIsInsideOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, middle, inner := &probe{stage: 1}, &probe{stage: policy.StageBreaker}, &probe{stage: policy.StageBulkhead}
		p := resilience.Compose(outer, timeout.Total(time.Second), middle, inner)
		_, err := resilience.Do(t.Context(), p, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errBackend
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, errBackend, inner.last.Load().Err, "the timeout is further out")
		require.Equal(t, errBackend, middle.last.Load().Err, "the timeout is further out")
		require.ErrorIs(t, outer.last.Load().Err, timeout.ErrTimeout)
		require.ErrorIs(t, outer.last.Load().Err, errBackend)

		second := &probe{}
		_, err = resilience.Do(t.Context(), resilience.Compose(timeout.Total(time.Second), second), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errBackend
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, errBackend, second.last.Load().Err, "directly inside of the timeout too")
	})
}

// Also when the guard's context has no deadline, so that only its channel tells it from the one around it.
func TestAnErrorNamesTheCauseOfAnyGuardThatEndedTheContext(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{"alone": nil, "inside of another guard": {&probe{stage: 1}}} {
		t.Run(name, func(t *testing.T) {
			var end context.CancelCauseFunc
			ending := &probe{stage: policy.StageBulkhead, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, end = context.WithCancelCause(ctx)
				return ctx, func() { end(nil) }
			}}
			value, err := resilience.Do(t.Context(), resilience.Compose(append(layers, ending)...), func(context.Context) (int, error) {
				end(errCause)
				return 3, errBackend
			})
			require.Equal(t, 3, value)
			require.ErrorIs(t, err, errCause)
			require.ErrorIs(t, err, errBackend)
		})
	}
}

func TestAnErrorThatNamesItsCauseIsLeftAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := resilience.Do(t.Context(), resilience.Compose(timeout.Total(time.Second)), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		_, isTimeout := err.(*timeout.Error)
		require.True(t, isTimeout, "%T: %v", err, err)

		ctx, cancel := context.WithCancel(t.Context())
		_, err = resilience.Do(ctx, resilience.Compose(timeout.Total(time.Second)), func(context.Context) (int, error) {
			cancel()
			return 0, errBackend
		})
		require.Equal(t, errBackend, err, "the caller's cancellation is not the guard's")
	})
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

// loose is an error that cannot be compared.
type loose struct{ details any }

func (loose) Error() string { return "loose" }

func TestTheEndOfTheCallersContextIsLeftAsItIsWhateverItsCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := resilience.Do(ctx, resilience.Compose(&probe{}, &probe{stage: policy.StageBulkhead}), func(context.Context) (int, error) {
		cancel(loose{map[string]int{}})
		return 0, errBackend
	})
	require.Equal(t, errBackend, err)
}

// insistent is a repeater that always wants another attempt, after wait.
type insistent struct {
	again
	act func(ended policy.Attempt)
}

func (s *insistent) Next(_ context.Context, ended policy.Attempt) policy.Decision {
	s.heard = append(s.heard, ended)
	if s.act != nil {
		s.act(ended)
	}
	return policy.Decision{Again: len(s.heard) < 10 && !ended.Outcome.Succeeded(), Wait: s.wait}
}

func TestARepeaterCannotGoOnAfterTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &insistent{}
	_, err := resilience.Do(ctx, s, func(context.Context) (int, error) {
		cancel()
		return 0, errBackend
	})
	require.Equal(t, errBackend, err)
	require.Len(t, s.heard, 1)
}

func TestAGateThatWasClosedIsForgottenWhenThereIsNoWait(t *testing.T) {
	g := &gate{}
	g.closed.Store(&policy.Rejection{Reason: errRefused})
	s := &insistent{act: func(policy.Attempt) { g.closed.Store(nil) }}
	call, calls := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), resilience.Compose(s, g), call)
	require.NoError(t, err)
	require.Equal(t, 2, calls())
	require.Len(t, s.heard, 2)
	require.Equal(t, 2, s.heard[1].Number, "the second attempt is made at once")
}

func TestGatesAreAskedAgainOnlyAfterAWait(t *testing.T) {
	for wait, asked := range map[time.Duration]int64{-1: 1, 0: 1, 1: 3, time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			n, s, start := &notifying{}, &insistent{again: again{wait: wait}}, time.Now()
			call, _ := policytest.Script(1, errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(s, n), call)
			require.NoError(t, err)
			require.Equal(t, asked, n.asked.Load(), "before it, when the sleep begins and after it; wait %v", wait)
			require.Equal(t, max(0, wait), time.Since(start))
		})
	}
}

func TestEventsOfARepeaterThatWaitsForAGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder policytest.Recorder
		n := &notifying{}
		n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		p := resilience.Compose(&patient{}, n, resilience.Observe(&recorder))
		_, err := resilience.Do(t.Context(), p, answer(0, errBackend))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, []policy.EventKind{
			policy.EventAttempt, policy.EventRetry, policy.EventWait, policy.EventWait, policy.EventWait, policy.EventWait, policy.EventStopped, policy.EventCall,
		}, recorder.Kinds())
		stopped := recorder.Events()[6]
		require.Equal(t, err, stopped.Outcome.Err, "the error that the call gets")
		require.Equal(t, policy.Returned, stopped.Outcome.Kind)
	})
	var recorder policytest.Recorder
	s := &insistent{again: again{wait: -time.Second}}
	call, _ := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), resilience.Compose(s, resilience.Observe(&recorder)), call)
	require.NoError(t, err)
	require.Equal(t, policy.EventRetry, recorder.Events()[1].Kind)
	require.Zero(t, recorder.Events()[1].Wait)

	recorder.Reset()
	_, err = resilience.Do(t.Context(), resilience.Compose(&again{max: 1}, resilience.Observe(&recorder)), answer(0, errBackend))
	require.Equal(t, errBackend, err)
	require.Equal(t, errBackend, recorder.Events()[1].Outcome.Err, "without an error of its own, the attempt's")
}

func TestObserversOfNestedPipelinesAreKept(t *testing.T) {
	var recorder policytest.Recorder
	nested := resilience.Compose(&probe{}, resilience.Observe(&recorder))
	_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 1}, nested), answer(1, nil))
	require.NoError(t, err)
	require.Equal(t, 1, recorder.Count(policy.EventCall))
}

// checking is a guard that has something to say about its neighbours.
type checking struct {
	probe
	asked bool
}

func (c *checking) Check(_, _ []policy.Layer) error {
	c.asked = true
	return errors.New("something else")
}

// atStage is a layer at any stage, the impossible ones too.
type atStage struct{ stage int8 }

func (a *atStage) Stage() policy.Stage { return policy.Stage(a.stage) }
func (a *atStage) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (a *atStage) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestWhatComposeReportsExactly(t *testing.T) {
	checker, zero, small := &checking{}, &atStage{0}, &atStage{1}
	for name, c := range map[string]struct {
		layers []policy.Layer
		want   string
	}{
		"a checker can rely on the layers around it": {[]policy.Layer{checker, nil}, "a layer is nil (<nil>)"},
		"a pipeline that was moved":                  {[]policy.Layer{policy.At(50, resilience.Compose(small))}, `a pipeline was moved to stage "stage 50": move its layers instead`},
		"an observer that was moved": {
			[]policy.Layer{policy.At(50, resilience.Observe(&policytest.Recorder{}))}, `observe was moved to stage "stage 50": it has no place in the order`},
		"stage 0":                   {[]policy.Layer{zero}, "*resilience_test.atStage: stage 0: must be positive"},
		"a layer of one byte twice": {[]policy.Layer{small, small}, "*resilience_test.atStage: the same instance occurs twice"},
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualError(t, resilience.Validate(c.layers...), "resilience.Compose: "+c.want)
		})
	}
	require.False(t, checker.asked)
	require.NoError(t, resilience.Validate(small))
	require.Error(t, resilience.Validate(checker))
	require.True(t, checker.asked)
}

func TestACallThatIsRefusedAtOnceWasNotStopped(t *testing.T) {
	var recorder policytest.Recorder
	refuser := &probe{refuse: errRefused}
	for max, want := range map[int][]policy.EventKind{
		1: {policy.EventRejected, policy.EventCall},
		2: {policy.EventRejected, policy.EventRetry, policy.EventRejected, policy.EventStopped, policy.EventCall},
	} {
		recorder.Reset()
		_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: max}, refuser, resilience.Observe(&recorder)), answer(0, nil))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, want, recorder.Kinds())
	}
	synctest.Test(t, func(t *testing.T) {
		recorder.Reset()
		n := &notifying{}
		n.refuse = errRefused
		n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		_, err := resilience.Do(t.Context(), resilience.Compose(&patient{}, n, resilience.Observe(&recorder)), answer(0, nil))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 1, recorder.Count(policy.EventStopped), "it has waited before it gave up")
	})
}

// sour is a repeater that gives up with an error of its own.
type sour struct {
	again
	err error
}

func (s *sour) Next(context.Context, policy.Attempt) policy.Decision {
	return policy.Decision{Err: s.err}
}

func TestTheValueOfAnAttemptStaysWhenNoGateHasRefused(t *testing.T) {
	s := &sour{err: &policy.Rejection{Reason: errRefused}}
	value, err := resilience.Do(t.Context(), resilience.Compose(s, &gate{}), answer(7, errBackend))
	require.Equal(t, s.err, err)
	require.Equal(t, 7, value)
}

func TestObserveRefusesANilFunction(t *testing.T) {
	require.Panics(t, func() { resilience.Observe(policy.ObserverFunc(nil)) })
	require.NotPanics(t, func() { resilience.Observe(policy.ObserverFunc(func(context.Context, policy.Event) {})) })
}

func TestARepeaterHearsOfTheFirstSuccess(t *testing.T) {
	for _, wrap := range []func(policy.Layer) policy.Layer{
		func(l policy.Layer) policy.Layer { return l },
		func(l policy.Layer) policy.Layer { return resilience.Compose(l) },
		func(l policy.Layer) policy.Layer { return resilience.Compose(l, &probe{name: "guard"}) },
	} {
		r := &again{max: 2}
		_, err := resilience.Do(t.Context(), wrap(r), answer(1, nil))
		require.NoError(t, err)
		require.Equal(t, []policy.Attempt{{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}}}, r.heard)
	}
}

// hesitant is a guard that refuses the first attempt.
type hesitant struct {
	probe
	asked int
}

func (h *hesitant) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if h.asked++; h.asked == 1 {
		return ctx, policy.Ticket{}, errRefused
	}
	return h.probe.Admit(ctx)
}

func TestACallHasEnteredWhenOneOfItsAttemptsHas(t *testing.T) {
	outer := &probe{name: "outer", stage: policy.StageShed}
	_, err := resilience.Do(t.Context(), resilience.Compose(outer, &again{max: 2}, &hesitant{}), answer(0, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}, *outer.last.Load())
}
