package timeout_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/timeout"
)

// coop returns an operation that takes some time and heeds its context.
func coop(takes time.Duration, err error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		select {
		case <-time.After(takes):
			return 0, err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func TestFromLatencyFollowsTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.FromLatency(0.5, 3, 20*ms, time.Second)
		run := func(times int, takes time.Duration, err error) {
			for range times {
				_, _ = resilience.Do(t.Context(), limit, coop(takes, err))
			}
		}
		run(99, 100*ms, nil)
		run(500, 100*ms, errBackend)
		require.Equal(t, time.Second, limit.Snapshot().Limit, "too few successes")
		run(1, 100*ms, nil)
		require.InEpsilon(t, 0.3, limit.Snapshot().Limit.Seconds(), 0.032)

		_, err := resilience.Do(t.Context(), limit, coop(time.Hour, nil))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Contains(t, err.Error(), limit.String()[:len("attempt timeout ")]+limit.Snapshot().Limit.String()+" expired")
		require.EqualValues(t, 1, limit.Snapshot().Expired)

		run(2000, ms, nil)
		require.Equal(t, 20*ms, limit.Snapshot().Limit, "the floor")
		run(5000, time.Minute, nil)
		require.Equal(t, time.Second, limit.Snapshot().Limit, "a dependency that is slower for good is granted the most")
		require.Equal(t, time.Second, limit.TimeLimit())
	})
}

// Expiries are slow for certain: leaving them out would shorten the limit without end.
func TestFromLatencyIsNotBiasedByItsExpiries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 14))
		limit := timeout.FromLatency(0.9, 1, time.Microsecond, time.Minute)
		for range 20_000 {
			_, _ = resilience.Do(t.Context(), limit, coop(time.Duration(random.ExpFloat64()*float64(10*ms)), nil))
		}
		s := limit.Snapshot()
		require.InEpsilon(t, 10*math.Log(10), s.Limit.Seconds()*1000, 0.1)
		require.InDelta(t, 0.1, float64(s.Expired)/20_000, 0.01)
	})
}

// What the caller ended is no latency, but a success under the caller's sooner deadline is.
func TestFromLatencyAndTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.FromLatency(0.5, 1, ms, time.Second)
		for _, takes := range []time.Duration{time.Minute, 50 * ms} {
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
				_, _ = resilience.Do(ctx, limit, coop(takes, nil))
				cancel()
			}
		}
		require.InEpsilon(t, 0.05, limit.Snapshot().Limit.Seconds(), 0.032)
		require.Zero(t, limit.Snapshot().Expired)
	})
}

func TestFromLatencyConfiguration(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, test := range []struct {
		q, factor   float64
		floor, most time.Duration
		text        string
	}{
		{0, 1, 1, 1, "quantile 0: must lie between 0.5 and 0.999"},
		{1, 1, 1, 1, "quantile 1: must lie"},
		{nan, 1, 1, 1, "quantile NaN: must lie"},
		{0.9, 0.99, 1, 1, "factor 0.99: must lie between 1 and 100"},
		{0.9, inf, 1, 1, "factor +Inf: must lie"},
		{0.9, nan, 1, 1, "factor NaN: must lie"},
		{0.9, 1, 0, 1, "floor 0s: must be positive"},
		{0.9, 1, -1, -1, "floor -1ns: must be positive"},
		{0.9, 1, 2, 1, "floor 2ns: is above the most, 1ns"},
	} {
		err := timeout.ValidateFromLatency(test.q, test.factor, test.floor, test.most)
		require.ErrorContains(t, err, "timeout.FromLatency: "+test.text)
		require.PanicsWithError(t, err.Error(), func() { timeout.FromLatency(test.q, test.factor, test.floor, test.most) })
	}
	require.NoError(t, timeout.ValidateFromLatency(0.999, 100, 1, math.MaxInt64))
	require.Equal(t, "attempt timeout 3×p99 from 10ms to 1s", timeout.FromLatency(0.99, 3, 10*ms, time.Second).String())
	require.ErrorContains(t, resilience.Validate(timeout.Total(time.Second), timeout.FromLatency(0.99, 3, 10*ms, time.Second)), "must be below")
}
