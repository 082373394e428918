package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestFault036_ManualControlIgnoresCallsInFlight(t *testing.T) {
	for name, control := range map[string]struct {
		act  func(*breaker.Breaker)
		want breaker.State
	}{
		"trip":         {(*breaker.Breaker).Trip, breaker.Open},
		"force open":   {(*breaker.Breaker).ForceOpen, breaker.ForcedOpen},
		"force closed": {(*breaker.Breaker).ForceClosed, breaker.ForcedClosed},
		"reset":        {(*breaker.Breaker).Reset, breaker.Closed},
	} {
		for from, prepare := range map[string]func(*breaker.Breaker){
			"closed": func(*breaker.Breaker) {}, "half-open": half, "open": func(b *breaker.Breaker) { failTimes(b, 1) },
			"forced open": (*breaker.Breaker).ForceOpen, "forced closed": (*breaker.Breaker).ForceClosed, "shadow": (*breaker.Breaker).Shadow,
		} {
			t.Run(name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var changes []breaker.Change
					b := tripAt(1, breaker.Successes(2), breaker.OnChange(func(c breaker.Change) { changes = append(changes, c) }))
					prepare(b)
					var inFlight []*policy.Permit
					for range 3 {
						if permit, err := policy.Acquire(t.Context(), b); err == nil {
							inFlight = append(inFlight, permit)
						}
					}
					before := b.Snapshot().Generation
					control.act(b)
					s := b.Snapshot()
					require.Equal(t, control.want, s.State)
					require.Greater(t, s.Generation, before)
					require.Zero(t, s.Probes)
					for i, permit := range inFlight {
						permit.Done([]error{errDown, nil, errDown}[i])
					}
					after := b.Snapshot()
					require.Equal(t, s.State, after.State, "an attempt in flight changed the state")
					require.Equal(t, s.Shadow, after.Shadow)
					require.Equal(t, s.Failures, after.Failures)
					require.Equal(t, s.Successes, after.Successes)
					require.Equal(t, s.ConsecutiveFailures, after.ConsecutiveFailures)
					identity(t, after)
					chain(t, changes)
				})
			})
		}
	}
}

func TestFault036_ForcedOpenStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		b.ForceOpen()
		time.Sleep(1000 * D)
		require.Equal(t, breaker.ForcedOpen, b.State())
		rejection := refused(t, b)
		require.Equal(t, `breaker: circuit open: forced`, rejection.Error())
		require.ErrorIs(t, rejection, breaker.ErrForced)
		_, known := rejection.RetryAfter()
		require.False(t, known)
		require.ErrorIs(t, b.Ready(t.Context()), breaker.ErrOpen)
		b.Reset()
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault036_ForcedClosedStaysClosed(t *testing.T) {
	b := newBreaker(breaker.ConsecutiveFailures(1), breaker.FailureRate(0.1, 1), breaker.SlowCalls(time.Microsecond, 0.1, 1))
	failTimes(b, 1)
	b.ForceClosed()
	failTimes(b, 100)
	s := b.Snapshot()
	require.Equal(t, breaker.ForcedClosed, s.State)
	require.EqualValues(t, 101, s.Failures)
	b.Reset()
	require.Zero(t, b.Snapshot().ConsecutiveFailures)
	failTimes(b, 1)
	require.Equal(t, breaker.Open, b.State())
}

func TestTripOpensForOneOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(5)
		b.Trip()
		require.Equal(t, breaker.ReasonTripped, b.Snapshot().Reason)
		time.Sleep(D - 1)
		refused(t, b)
		b.Trip() // anew
		time.Sleep(D - 1)
		refused(t, b)
		time.Sleep(1)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestResetClearsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.ConsecutiveFailures(9), breaker.Growth(2, time.Hour))
		failTimes(b, 8)
		b.Reset()
		s := b.Snapshot()
		require.Zero(t, s.Calls)
		require.Zero(t, s.ConsecutiveFailures)
		require.Zero(t, s.Changes, "closed it was, closed it is")
		failTimes(b, 9)
		time.Sleep(D)
		failTimes(b, 1) // the second opening in a row lasts longer
		require.Equal(t, 2*D, b.Snapshot().Until.Sub(b.Snapshot().Since))
		b.Reset()
		require.NoError(t, do(b, ok))
		failTimes(b, 9)
		require.Equal(t, D, b.Snapshot().Until.Sub(b.Snapshot().Since), "the growth was not reset")
	})
}

func TestAManualChangeEndsARowOfOpenings(t *testing.T) {
	for name, change := range map[string]func(*breaker.Breaker){
		"forced open": (*breaker.Breaker).ForceOpen, "forced closed": (*breaker.Breaker).ForceClosed,
		"reset": (*breaker.Breaker).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tripAt(1, breaker.Growth(2, time.Hour), breaker.Ramp(time.Hour))
				change(b)
				require.True(t, b.Snapshot().Until.IsZero(), "no end is known")
				b.Reset()
				require.Equal(t, []time.Duration{D, 2 * D, 4 * D}, openTimes(b, 3))
				change(b)
				require.True(t, b.Snapshot().Until.IsZero(), "no end is known")
				b.Trip()
				s := b.Snapshot()
				require.Equal(t, D, s.Until.Sub(s.Since))
				time.Sleep(D)
				require.Equal(t, []time.Duration{2 * D, 4 * D}, openTimes(b, 2))
			})
		})
	}
}
