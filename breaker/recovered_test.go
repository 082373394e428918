package breaker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
)

// The ramp ends by time alone, also when nobody asks meanwhile.
func TestARowOfOpeningsEndsWithTheRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.ConsecutiveFailures(1), breaker.Jitter(0), breaker.Ramp(time.Second), breaker.OpenFor(time.Second), breaker.Growth(10, time.Hour))
		_, _ = resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errors.New("down") })
		time.Sleep(time.Second)
		_, err := resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, nil })
		require.NoError(t, err)
		time.Sleep(24 * time.Hour)
		b.Trip()
		s := b.Snapshot()
		require.Equal(t, time.Second, s.Until.Sub(s.Since))
		time.Sleep(time.Second)
		_, _ = resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errors.New("still down") })
		s = b.Snapshot()
		require.Equal(t, 10*time.Second, s.Until.Sub(s.Since), "the second of the new row")
	})
}

// A probe as slow as the rule looks for must not have lost its lease when it ends.
func TestASlowProbeReopensWhateverTheOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.SlowCalls(10*time.Second, 0.5, 1), breaker.Jitter(0))
		slow := func() {
			_, _ = resilience.Do(t.Context(), b, func(context.Context) (int, error) { time.Sleep(12 * time.Second); return 0, nil })
		}
		slow()
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(5 * time.Second)
		slow()
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, breaker.ReasonProbeSlow, b.Snapshot().Reason)
	})
	require.ErrorContains(t, breaker.Validate(breaker.SlowCalls(time.Minute, 0.5, 2), breaker.ProbeLease(time.Second)), "a slow probe would lose its lease unseen")
	require.NoError(t, breaker.Validate(breaker.SlowCalls(time.Minute, 0.5, 2)))
}
