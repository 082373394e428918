package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
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
