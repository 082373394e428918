package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// Chance is asked only when it decides something, so that a run with the same source can be repeated.
func TestChanceIsAskedOnlyWhenItDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		source := breaker.Rand(luck(func() float64 { asked++; return 0 }))
		for name, b := range map[string]*breaker.Breaker{
			"without a ramp": breaker.New(breaker.ConsecutiveFailures(2), breaker.OpenFor(D), source),
			"with a ramp":    breaker.New(breaker.ConsecutiveFailures(2), breaker.OpenFor(D), breaker.Ramp(time.Hour), source),
		} {
			b.Trip()
			before := asked
			for range 5 {
				refused(t, b)
				require.Error(t, b.Ready(t.Context()))
			}
			b.ForceOpen()
			for range 5 {
				refused(t, b)
			}
			require.Equal(t, before, asked, "%s: what is open is open", name)
		}
		b := breaker.New(breaker.OpenFor(D), source)
		b.Trip()
		time.Sleep(D)
		asked = 0
		require.NoError(t, do(b, ok))
		require.NoError(t, do(b, ok))
		require.Zero(t, asked, "neither the probe nor what follows depends on chance")

		b = breaker.New(breaker.OpenFor(D), breaker.Jitter(0), source)
		b.Trip()
		require.Zero(t, asked, "nor does an open time without jitter")

		b = breaker.New(breaker.OpenFor(D), breaker.Ramp(time.Second), source)
		b.Trip()
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		asked = 0
		require.NoError(t, do(b, ok))
		require.Equal(t, 1, asked, "recovering")
		time.Sleep(time.Second)
		require.NoError(t, do(b, ok))
		asked = 0
		require.NoError(t, do(b, ok))
		require.Equal(t, errDown, do(b, fail))
		require.LessOrEqual(t, asked, 1, "it has recovered: chance is for the open time that the failure may bring about")
	})
}

// The rules of a disabled breaker do not see how those attempts end that it would have refused.
func TestDisabledDoesNotCountWhatItWouldHaveRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Ramp(time.Hour), breaker.Rand(luck(func() float64 { return 0.999 })))
		b.Disable()
		failTimes(b, 1)
		time.Sleep(D)
		probe := admit(t, b)
		before := b.Snapshot()
		require.NoError(t, do(b, ok), "half-open, and the probe is taken")
		require.Equal(t, errDown, do(b, fail))
		s := b.Snapshot()
		require.Equal(t, before.Successes, s.Successes)
		require.Equal(t, before.Failures, s.Failures)
		require.Equal(t, before.Neutral+2, s.Neutral)
		require.Equal(t, before.ShadowRejections+2, s.ShadowRejections)

		probe.Done(nil)
		require.Equal(t, breaker.Closed, b.Snapshot().Shadow)
		slot := admit(t, b) // the one that needs no luck while it is recovering
		require.Equal(t, errDown, do(b, fail))
		s = b.Snapshot()
		require.Equal(t, breaker.Closed, s.Shadow, "it would not have been made, so it opens nothing")
		require.Zero(t, s.ConsecutiveFailures)
		slot.Settle(policy.Outcome{Kind: policy.Returned, Err: errDown})
		require.Equal(t, breaker.Open, b.Snapshot().Shadow)
	})
}
