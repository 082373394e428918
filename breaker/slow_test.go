package breaker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
)

// slowly takes d, then returns err.
func slowly(d time.Duration, err error) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return err }
}

func TestSlowCalls(t *testing.T) {
	const limit = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(limit, 0.5, 10), breaker.CountWindow(10))
		for range 9 {
			require.NoError(t, do(b, slowly(limit, nil)))
		}
		require.Equal(t, breaker.Closed, b.State(), "below the minimum of calls")
		require.NoError(t, do(b, slowly(limit-1, nil)))
		require.Equal(t, breaker.Closed, b.State(), "a fast call opened the breaker")
		s := b.Snapshot()
		require.EqualValues(t, 10, s.Calls)
		require.EqualValues(t, 9, s.CallsSlow)
		require.Equal(t, 0.9, s.SlowRate)
		require.NoError(t, do(b, slowly(limit, nil)))
		s = b.Snapshot()
		require.Equal(t, breaker.Open, s.State)
		require.Equal(t, breaker.ReasonSlowCalls, s.Reason)
		require.EqualValues(t, 11, s.Successes)
		require.EqualValues(t, 9, s.CallsSlow, "what the rule saw: the window had moved on by one")

		time.Sleep(D)
		require.NoError(t, do(b, slowly(limit, nil)))
		require.Equal(t, breaker.Open, b.State(), "a slow probe is no sign of health")
		require.Equal(t, breaker.ReasonProbeSlow, b.Snapshot().Reason)
		require.EqualValues(t, 12, b.Snapshot().Successes, "though it succeeded")
		identity(t, b.Snapshot())
		time.Sleep(D)
		require.NoError(t, do(b, slowly(limit-1, nil)))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestASlowFailureIsBoth(t *testing.T) {
	const limit = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(limit, 0.5, 4), breaker.FailureRate(0.9, 4), breaker.CountWindow(4))
		require.NoError(t, do(b, ok))
		require.NoError(t, do(b, ok))
		_ = do(b, slowly(limit, errDown))
		s := b.Snapshot()
		require.EqualValues(t, 1, s.CallsFailed)
		require.EqualValues(t, 1, s.CallsSlow)
		_ = do(b, slowly(limit, errDown))
		require.Equal(t, breaker.ReasonSlowCalls, b.Snapshot().Reason)
	})
}

func TestANeutralCallIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(time.Second, 0.5, 1), breaker.Classify(neutrally))
		for range 10 {
			_ = do(b, slowly(time.Minute, errNeutral))
		}
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Snapshot().Calls)
	})
}

func TestARuleAboutFailuresDoesNotTripOnASlowSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.SlowCalls(time.Second, 1, 10))
		failTimes(b, 9)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, 0.9, b.Snapshot().FailureRate)
	})
}

func TestASlowSuccessEndsARowOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.ConsecutiveFailures(2), breaker.SlowCalls(time.Second, 1, 100))
		failTimes(b, 1)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Zero(t, b.Snapshot().ConsecutiveFailures)
		failTimes(b, 1)
		require.Equal(t, breaker.Closed, b.State())
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
