package resilience_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// TestFault176_EventLedger: one EventCall per call, one EventAttempt per operation entered.
func TestFault176_EventLedger(t *testing.T) {
	recorder := &policytest.Recorder{}
	refuser := &probe{name: "refuser"}
	p := resilience.Compose(resilience.Observe(recorder), &again{max: 3}, refuser)

	call, _ := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), p, call)
	require.NoError(t, err)
	require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventRetry, policy.EventAttempt, policy.EventCall}, recorder.Kinds())
	events := recorder.Events()
	require.Equal(t, []int{1, 1, 2, 0}, []int{events[0].Attempt, events[1].Attempt, events[2].Attempt, events[3].Attempt})
	require.True(t, events[3].Outcome.Succeeded())

	recorder.Reset()
	_, err = resilience.Do(t.Context(), p, answer(0, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, 3, recorder.Count(policy.EventAttempt))
	require.Equal(t, 2, recorder.Count(policy.EventRetry))
	require.Equal(t, 1, recorder.Count(policy.EventStopped))
	require.Equal(t, 1, recorder.Count(policy.EventCall))

	recorder.Reset()
	caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
	caught(func() {
		_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	})
	var kinds []policy.Kind
	for _, event := range recorder.Events() {
		kinds = append(kinds, event.Outcome.Kind)
	}
	require.Equal(t, []policy.Kind{policy.Panicked, policy.Panicked, policy.Exited, policy.Exited}, kinds)

	recorder.Reset()
	refuser.refuse = errRefused
	_, err = resilience.Do(t.Context(), p, answer(1, nil))
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, 0, recorder.Count(policy.EventAttempt))
	require.Equal(t, 3, recorder.Count(policy.EventRejected))
	require.Equal(t, policy.Layer(refuser), recorder.Events()[0].Layer)
	last := recorder.Events()[len(recorder.Events())-1]
	require.Equal(t, policy.Outcome{Kind: policy.NotCalled, Class: policy.Ignored, Err: errRefused}, last.Outcome)
}

func TestAttemptsAreNumberedFrom1WithoutARepeater(t *testing.T) {
	var recorder policytest.Recorder
	_, err := resilience.Do(t.Context(), resilience.Compose(&probe{}, resilience.Observe(&recorder)), answer(1, nil))
	require.NoError(t, err)
	attempt := recorder.Events()[0]
	require.Equal(t, policy.EventAttempt, attempt.Kind)
	require.Equal(t, 1, attempt.Attempt)
	require.Equal(t, policy.Outcome{Kind: policy.Returned}, attempt.Outcome)
}

func TestEventsCarryTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := &policytest.Recorder{}
		p := resilience.Compose(resilience.Observe(recorder), &again{max: 2, wait: time.Minute})
		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			time.Sleep(time.Second)
			return 0, errBackend
		})
		require.ErrorIs(t, err, errBackend)
		events := recorder.Events()
		require.Equal(t, time.Second, events[0].Elapsed)
		require.Equal(t, time.Minute, events[1].Wait)
		require.Equal(t, time.Minute+2*time.Second, events[len(events)-1].Elapsed)
	})
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

func TestFault230_RefusalsAreNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder policytest.Recorder
		db := opensAt(1, 5*time.Second)
		again := steady(3, time.Second)
		backend := resilience.Compose(again, db, resilience.Observe(&recorder))
		op := func(context.Context) error { time.Sleep(40 * time.Millisecond); return errBackend }
		require.ErrorIs(t, backend.Run(t.Context(), op), breaker.ErrOpen)
		require.ErrorIs(t, backend.Run(t.Context(), op), breaker.ErrOpen)

		attempts, refusals, calls := 0, 0, 0
		for _, event := range recorder.Events() {
			switch event.Kind {
			case policy.EventAttempt:
				attempts++
				require.Equal(t, 40*time.Millisecond, event.Elapsed)
				require.Equal(t, policy.Returned, event.Outcome.Kind)
			case policy.EventRejected:
				refusals++
				require.Zero(t, event.Elapsed)
				require.Equal(t, policy.NotCalled, event.Outcome.Kind)
			case policy.EventCall:
				calls++
			}
		}
		require.Equal(t, []int{1, 1, 2}, []int{attempts, refusals, calls})
	})
}

func TestFault231_ObserversNeverFailACall(t *testing.T) {
	recorder := &policytest.Recorder{}
	broken := policy.ObserverFunc(func(context.Context, policy.Event) { panic("observer") })
	p := resilience.Compose(resilience.Observe(broken, recorder), &again{max: 2})
	value, err := resilience.Do(t.Context(), p, answer(3, nil))
	require.NoError(t, err)
	require.Equal(t, 3, value)
	require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventCall}, recorder.Kinds())
	recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
	require.Equal(t, "boom", recovered)
}

func TestObserversOfNestedPipelinesAreKept(t *testing.T) {
	var recorder policytest.Recorder
	nested := resilience.Compose(&probe{}, resilience.Observe(&recorder))
	_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 1}, nested), answer(1, nil))
	require.NoError(t, err)
	require.Equal(t, 1, recorder.Count(policy.EventCall))
}
