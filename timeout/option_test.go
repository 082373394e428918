package timeout_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func TestFault258_TheLaterOptionCounts(t *testing.T) {
	require.NoError(t, timeout.ValidateAbandon(time.Second, timeout.MaxRunning(0), timeout.MaxRunning(3)))
	require.NoError(t, timeout.ValidateAbandon(time.Second, timeout.OnDiscard(nil), timeout.OnDiscard(func(any) {})))
	require.NoError(t, timeout.ValidateAbandon(time.Second, timeout.OnPanic(nil), timeout.OnPanic(func(any, []byte) {})))
	require.Error(t, timeout.ValidateAbandon(time.Second, timeout.MaxRunning(3), timeout.MaxRunning(0)))
}

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []*timeout.Timeout{timeout.Total(time.Second), timeout.PerAttempt(time.Second)} {
			require.True(t, limit.Idle())
			_, err := resilience.Do(t.Context(), limit, coop(time.Hour, nil))
			require.ErrorIs(t, err, timeout.ErrTimeout)
			begun := make(chan error, 1)
			go func() {
				_, err := resilience.Do(t.Context(), limit, coop(999*ms, nil))
				begun <- err
			}()
			synctest.Wait()
			require.NoError(t, limit.Reconfigure(100*ms))
			require.Equal(t, 100*ms, limit.TimeLimit())
			require.Equal(t, 100*ms, limit.Snapshot().Limit)
			start := time.Now()
			_, err = resilience.Do(t.Context(), limit, coop(time.Hour, nil))
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.ErrorContains(t, err, "timeout 100ms expired")
			require.Equal(t, 100*ms, time.Since(start))
			require.NoError(t, <-begun, "an attempt keeps the limit that it began with")
			require.EqualValues(t, 2, limit.Snapshot().Expired)

			before := limit.Report()
			require.EqualError(t, limit.Reconfigure(0), "timeout.Reconfigure: limit 0s: must be positive")
			require.ErrorContains(t, limit.ReconfigureFromLatency(0.9, 1, 1, 1), "the limit is fixed: use Reconfigure")
			require.Equal(t, before, limit.Report(), "all or nothing")
			require.False(t, limit.Idle(), "what was set by hand is not to be forgotten")
		}
	})
}

func TestReconfigureFromLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.FromLatency(0.5, 2, ms, time.Minute)
		for range 100 {
			_, _ = resilience.Do(t.Context(), limit, coop(100*ms, nil))
		}
		require.InEpsilon(t, 0.2, limit.Snapshot().Limit.Seconds(), 0.032)
		require.NoError(t, limit.ReconfigureFromLatency(0.9, 3, ms, time.Minute))
		require.InEpsilon(t, 0.3, limit.Snapshot().Limit.Seconds(), 0.032, "what was learned stays")
		require.NoError(t, limit.ReconfigureFromLatency(0.9, 3, ms, 250*ms))
		require.Equal(t, 250*ms, limit.Snapshot().Limit)
		require.NoError(t, limit.ReconfigureFromLatency(0.99, 3, ms, 500*ms))
		require.Equal(t, 500*ms, limit.Snapshot().Limit, "100 are too few for p99")
		require.Equal(t, "attempt timeout 3×p99 from 1ms to 500ms", limit.String())

		before := limit.Report()
		require.ErrorContains(t, limit.Reconfigure(time.Second), "use ReconfigureFromLatency")
		require.ErrorContains(t, limit.ReconfigureFromLatency(2, 1, 1, 1), "timeout.ReconfigureFromLatency: quantile 2")
		require.Equal(t, before, limit.Report())
		require.False(t, limit.Idle())
	})
}

func TestReconfigureAbandoner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		discarded := 0
		limit := timeout.Abandon(50*ms, timeout.MaxRunning(1), timeout.OnDiscard(func(any) { discarded++ }))
		require.True(t, limit.Idle())
		_, err := resilience.Do(t.Context(), limit, deaf(time.Second, 7, nil))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.False(t, limit.Idle(), "an operation is running")
		_, err = resilience.Do(t.Context(), limit, deaf(0, 0, nil))
		require.ErrorIs(t, err, timeout.ErrMaxRunning)

		before := limit.Report()
		require.EqualError(t, limit.Reconfigure(time.Second, timeout.MaxRunning(-1)),
			"timeout.Abandoner.Reconfigure: MaxRunning(-1): must be positive")
		require.Equal(t, before, limit.Report())
		require.NoError(t, limit.Reconfigure(100*ms))
		require.Equal(t, "abandoning timeout 100ms", limit.String())
		_, err = resilience.Do(t.Context(), limit, deaf(99*ms, 0, nil))
		require.NoError(t, err, "the bound is the default again")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 1, discarded, "a function stays")
		require.Equal(t, []policy.Setting{
			{Name: "Abandon", Args: []policy.Argument{{Name: "limit", Value: 100 * ms}}}, {Name: "OnDiscard", Code: true},
		}, limit.Report().Settings)
		require.Equal(t, timeout.AbandonSnapshot{Limit: 100 * ms, Expired: 1, Rejected: 1, Discarded: 1}, limit.Snapshot())
		require.False(t, limit.Idle(), "set by hand")
	})
}

// Whatever happens to the limit meanwhile: no call fails because of it, and each attempt has one valid limit.
func TestReconfigureUnderLoad(t *testing.T) {
	limits := []*timeout.Timeout{timeout.Total(time.Hour), timeout.FromLatency(0.5, 2, time.Minute, time.Hour)}
	abandons := timeout.Abandon(time.Hour)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			d := time.Duration(i%7+1) * time.Hour
			if err := limits[0].Reconfigure(d); err != nil {
				t.Error(err)
			}
			if err := limits[1].ReconfigureFromLatency(0.5+float64(i%4)/10, 2, time.Minute, d); err != nil {
				t.Error(err)
			}
			if err := abandons.Reconfigure(d, timeout.MaxRunning(100+i%10)); err != nil {
				t.Error(err)
			}
			for _, limit := range limits {
				if s := limit.Snapshot(); s.Limit < time.Minute || s.Limit > 7*time.Hour {
					t.Error(s)
				}
				_ = limit.Report()
			}
		}
	}()
	for range 1000 {
		for _, layer := range []policy.Layer{limits[0], limits[1], abandons} {
			if _, err := resilience.Do(t.Context(), layer, ok); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	<-done
}
