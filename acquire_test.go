package resilience_test

import (
	"context"
	"fmt"
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policytest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func TestPermit(t *testing.T) {
	guard := &probe{}
	permit, err := policy.Acquire(t.Context(), guard)
	require.NoError(t, err)
	require.Equal(t, t.Context(), permit.Context())
	require.True(t, permit.Done(errBackend))
	require.False(t, permit.Done(nil), "FAULT 34: the second settlement is no settlement")
	require.False(t, permit.Settle(policy.Outcome{Kind: policy.Exited}))
	require.EqualValues(t, 1, guard.settled.Load())
	require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}, *guard.last.Load())

	guard.refuse = errRefused
	_, err = policy.Acquire(t.Context(), guard)
	require.ErrorIs(t, err, errRefused)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guard.refuse = nil
	_, err = policy.Acquire(ctx, guard)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, guard.admitted.Load(), "nothing is taken under an ended context")
}

func TestPermitOfATimeoutGivesTheDerivedContext(t *testing.T) {
	permit, err := policy.Acquire(t.Context(), timeout.PerAttempt(time.Hour))
	require.NoError(t, err)
	_, has := permit.Context().Deadline()
	require.True(t, has)
	require.True(t, permit.Done(nil))
	require.Error(t, permit.Context().Err(), "released")
}

func TestAcquireAdmitsEveryGuardInOrder(t *testing.T) {
	j := &journal{}
	var layers []policy.Layer
	for i, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		layers = append(layers, &meter{probe: probe{name: name, journal: j, stage: policy.Stage(i + 1), derive: derivedAt(1).derive}})
	}
	permit, err := resilience.Compose(layers...).Acquire(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"enter a", "enter b", "enter c", "enter d", "enter e", "enter f", "enter g"}, j.all())
	require.NoError(t, permit.Context().Err())
	require.True(t, permit.Done(nil))
	require.Equal(t, []string{
		"leave g: returned", "leave f: returned", "leave e: returned", "leave d: returned", "leave c: returned", "leave b: returned", "leave a: returned",
	}, j.all()[7:], "a success counts when it is done")
	require.Error(t, permit.Context().Err())
	require.False(t, permit.Done(nil))

	permit, err = resilience.Compose().Acquire(t.Context())
	require.NoError(t, err)
	require.Equal(t, t.Context(), permit.Context())
	require.True(t, permit.Done(errBackend))
}

func TestAcquireSettlesWhatItHasAdmittedUnlessAllAdmit(t *testing.T) {
	newLayers := func(last policy.Layer) (*journal, *resilience.Pipeline) {
		j := &journal{}
		return j, resilience.Compose(resilience.Name("intake"),
			&probe{name: "a", journal: j, stage: 1}, &probe{name: "b", journal: j, stage: 2}, last)
	}
	want := []string{"enter a", "enter b", "leave b: not called", "leave a: not called"}
	t.Run("refused", func(t *testing.T) {
		j, p := newLayers(&probe{refuse: errRefused})
		permit, err := p.Acquire(t.Context())
		require.Equal(t, errRefused, err)
		require.Nil(t, permit)
		require.Equal(t, want, j.all())
		require.Equal(t, resilience.Calls{Failed: 1}, *p.Report().Calls)

		_, p = newLayers(&probe{refuse: &policy.Rejection{Reason: errRefused}})
		_, err = p.Acquire(t.Context())
		require.ErrorIs(t, err, policy.ErrRejected)
		require.Equal(t, resilience.Calls{Rejected: 1}, *p.Report().Calls)
	})
	t.Run("panic", func(t *testing.T) {
		j, p := newLayers(&probe{panicOnAdmit: "admit"})
		recovered, _ := caught(func() { _, _ = p.Acquire(context.Background()) })
		require.Equal(t, "admit", recovered)
		require.Equal(t, want, j.all())
		require.Equal(t, resilience.Calls{Panicked: 1}, *p.Report().Calls)
	})
	t.Run("goexit", func(t *testing.T) {
		j, p := newLayers(&hooked{admit: runtime.Goexit})
		_, exited := caught(func() { _, _ = p.Acquire(context.Background()) })
		require.True(t, exited)
		require.Equal(t, want, j.all())
		require.Equal(t, resilience.Calls{Panicked: 1}, *p.Report().Calls)
	})
	t.Run("a nil context", func(t *testing.T) {
		j, p := newLayers(&contextless{})
		recovered, _ := caught(func() { _, _ = p.Acquire(context.Background()) })
		require.Contains(t, fmt.Sprint(recovered), "*resilience_test.contextless admitted with a nil context")
		require.Equal(t, want, j.all())
	})
	t.Run("ended before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errCause)
		j, p := newLayers(&probe{})
		permit, err := p.Acquire(ctx)
		require.ErrorIs(t, err, errCause)
		require.Nil(t, permit)
		require.Empty(t, j.all())
		require.Equal(t, resilience.Calls{Canceled: 1}, *p.Report().Calls)
	})
	t.Run("ended while it waited", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		last := &hooked{admit: func() { cancel(errCause) }}
		j, p := newLayers(last)
		_, err := p.Acquire(ctx)
		require.ErrorIs(t, err, errCause)
		require.Equal(t, want, j.all())
		require.Equal(t, policy.NotCalled, last.last.Load().Kind)
	})
	t.Run("a bound that is reached while it waited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			outer, bound := &probe{stage: 1}, &limit{probe: probe{stage: 2}, after: time.Second}
			slow := &hooked{admit: func() { time.Sleep(2 * time.Second) }, probe: probe{refuse: errRefused}}
			_, err := resilience.Compose(outer, bound, slow).Acquire(t.Context())
			require.ErrorAs(t, err, new(limitError))
			require.ErrorIs(t, err, errRefused)
			require.ErrorAs(t, outer.last.Load().Err, new(limitError))
			require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
		})
	})
	t.Run("a settlement that panics", func(t *testing.T) {
		j := &journal{}
		p := resilience.Compose(&probe{name: "a", journal: j, stage: 1}, &probe{name: "b", journal: j, stage: 2, panicOnSettle: "settle"}, &probe{refuse: errRefused})
		recovered, _ := caught(func() { _, _ = p.Acquire(context.Background()) })
		require.Equal(t, "settle", recovered)
		require.Equal(t, want, j.all())
	})
}

func TestAcquireBoundsTheWorkUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bound, between := &limit{after: time.Second}, &probe{stage: policy.StageChaos}
		outer := &probe{stage: 1}
		permit, err := resilience.Compose(outer, bound, between).Acquire(t.Context())
		require.NoError(t, err)
		_, has := permit.Context().Deadline()
		require.True(t, has, "there is no operation that could return")
		<-permit.Context().Done()
		require.True(t, permit.Done(errBackend))
		require.Zero(t, bound.lifted.Load())
		require.Equal(t, errBackend, between.last.Load().Err)
		require.ErrorAs(t, outer.last.Load().Err, new(limitError))
		require.Equal(t, policy.Transient, outer.last.Load().Class)

		ctx, cancel := context.WithCancel(t.Context())
		permit, err = resilience.Compose(between).Acquire(ctx)
		require.NoError(t, err)
		cancel()
		require.True(t, permit.Done(errBackend))
		require.True(t, between.last.Load().Canceled)
	})
}

func TestAcquireRefusesWhatRepeatsOrWraps(t *testing.T) {
	guard := &probe{}
	for want, layer := range map[string]policy.Layer{
		"resilience.Acquire: again repeats: there is no operation":                    &again{max: 2},
		"resilience.Acquire: relay wraps: there is no operation":                      &relay{},
		"resilience.Acquire: *resilience_test.around1 wraps: there is no operation":   &around1{stage: 3},
		"resilience.Acquire: *resilience_test.hoarder wraps: there is no operation":   &hoarder{},
		"resilience.Acquire: *resilience_test.decided repeats: there is no operation": &decided{},
	} {
		permit, err := resilience.Compose(guard, layer).Acquire(t.Context())
		require.EqualError(t, err, want)
		require.Nil(t, permit)
		var config *policy.ConfigError
		require.ErrorAs(t, err, &config)
	}
	require.Zero(t, guard.admitted.Load())
	recovered, _ := caught(func() { _, _ = resilience.Compose(guard).Acquire(nil) }) //nolint:staticcheck // it is refused
	require.Contains(t, fmt.Sprint(recovered), "Acquire with a nil context")
}

func TestEventsOfAnAcquisition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := &policytest.Recorder{}
		slow := &hooked{admit: func() { time.Sleep(time.Second) }}
		p := resilience.Compose(resilience.Name("intake"), resilience.Observe(recorder), slow)
		permit, err := p.Acquire(t.Context())
		require.NoError(t, err)
		require.Empty(t, recorder.Events())
		time.Sleep(time.Minute)
		require.True(t, permit.Done(errBackend))
		require.Len(t, recorder.Events(), 1)
		number := recorder.Events()[0].Call
		require.Positive(t, number)
		require.Equal(t, []policy.Event{{
			Kind: policy.EventCall, Pipeline: "intake", Call: number, Elapsed: time.Minute + time.Second, Queued: time.Second,
			Outcome: policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend},
		}}, recorder.Events(), "a call, which ends with the permit")
		require.Equal(t, resilience.Calls{Failed: 1}, *p.Report().Calls)

		recorder.Reset()
		slow.refuse = errRefused
		_, err = p.Acquire(t.Context())
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, []policy.EventKind{policy.EventRejected, policy.EventCall}, recorder.Kinds())
		require.Equal(t, time.Second, recorder.Events()[0].Queued)
		require.Equal(t, time.Second, recorder.Events()[1].Queued)
		require.Equal(t, policy.NotCalled, recorder.Events()[1].Outcome.Kind)

		recorder.Reset()
		slow.refuse = nil
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = p.Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []policy.EventKind{policy.EventCall}, recorder.Kinds())
		require.Equal(t, time.Second, recorder.Events()[0].Queued)

		recorder.Reset()
		slow.admit = func() { panic("boom") }
		caught(func() { _, _ = p.Acquire(context.Background()) })
		require.Equal(t, []policy.EventKind{policy.EventCall}, recorder.Kinds(), "exactly one for each call")
		require.Equal(t, policy.Panicked, recorder.Events()[0].Outcome.Kind)
	})
}

func TestAnAcquisitionThatIsGivenUpDidNotSucceed(t *testing.T) {
	for _, kind := range []policy.Kind{policy.Exited, policy.Panicked} {
		recorder := &policytest.Recorder{}
		p := resilience.Compose(resilience.Name("intake"), resilience.Observe(recorder), &probe{})
		permit, err := p.Acquire(t.Context())
		require.NoError(t, err)
		require.True(t, permit.Settle(policy.Outcome{Kind: kind}))
		require.Equal(t, resilience.Calls{Panicked: 1}, *p.Report().Calls)
		require.Equal(t, kind, recorder.Events()[0].Outcome.Kind)
	}
}

// TestTheOwnerOfAPermitKnowsThatItsWorkWasCancelled: the guards, the event and the count say the same, although the context that
// the permit was acquired with goes on.
func TestTheOwnerOfAPermitKnowsThatItsWorkWasCancelled(t *testing.T) {
	var event policy.Event
	guard := &probe{name: "guard"}
	p := resilience.Compose(guard, resilience.Name("stream"), resilience.Observe(
		policy.ObserverFunc(func(_ context.Context, e policy.Event) { event = e })))
	permit, err := p.Acquire(t.Context())
	require.NoError(t, err)
	permit.Settle(policy.Outcome{Kind: policy.Returned, Canceled: true, Err: errBackend})
	told := policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Canceled: true, Err: errBackend}
	require.Equal(t, told, *guard.last.Load())
	require.Equal(t, policy.EventCall, event.Kind)
	require.Equal(t, told, event.Outcome)
	require.Equal(t, resilience.Calls{Canceled: 1}, *p.Report().Calls)
}
