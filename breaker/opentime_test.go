package breaker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
)

// openTimes returns how long a breaker stays open, n times in a row.
func openTimes(b *breaker.Breaker, n int) []time.Duration {
	var times []time.Duration
	for range n {
		failTimes(b, 1)
		s := b.Snapshot()
		times = append(times, s.Until.Sub(s.Since))
		time.Sleep(time.Until(s.Until))
	}
	return times
}

func TestGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Growth(2, 30*time.Second))
		want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second}
		require.Equal(t, want, openTimes(b, 5))
		require.NoError(t, do(b, ok)) // closed: the row has ended
		require.Equal(t, want, openTimes(b, 5))
	})
}

func TestFault103_GrowthDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Growth(1e30, 1<<63-1), breaker.Jitter(1))
		for range 2000 {
			b.Trip()
			require.Equal(t, breaker.Open, b.State())
		}
		require.Equal(t, breaker.Open, b.State())
		require.True(t, b.Snapshot().Until.After(time.Now().AddDate(100, 0, 0)))
	})
}

func TestJitterIsUpwardAndBounded(t *testing.T) {
	for chance, want := range map[float64]time.Duration{0: D, 0.5: D + D/10, 0.999: D + 999*D/5000} {
		b := tripAt(1, breaker.Jitter(0.2), breaker.Rand(luck(func() float64 { return chance })))
		failTimes(b, 1)
		s := b.Snapshot()
		require.InDelta(t, want, s.Until.Sub(s.Since), 2, chance)
	}
}

func TestFault235_JitterSpreadsTheProbesOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const breakers, slices = 100, 10
		first := map[int64]int{} // by slice of the jitter
		for range breakers {
			b := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(D)) // the default jitter
			failTimes(b, 1)
			s := b.Snapshot()
			late := s.Until.Sub(s.Since) - D
			require.GreaterOrEqual(t, late, time.Duration(0))
			require.Less(t, late, D/10)
			first[int64(late*slices/(D/10))]++
		}
		for slice, n := range first {
			require.Less(t, n, 30, "of %d probes in slice %d", breakers, slice) // 10 expected; 30 is 6 standard deviations off
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		hint, want time.Duration
	}{
		{time.Second, D}, {20 * time.Second, 20 * time.Second}, {time.Hour, time.Minute}, {-time.Hour, D}, {0, D}, {1<<63 - 1, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			busy := func(context.Context) error {
				return fmt.Errorf("wrapped: %w", hint(func() time.Duration { return test.hint }))
			}
			b := tripAt(1, breaker.RetryAfter(time.Minute))
			for range 2 { // by a rule, and by a probe
				_ = do(b, busy)
				s := b.Snapshot()
				require.Equal(t, test.want, s.Until.Sub(s.Since), "hint %v", test.hint)
				time.Sleep(test.want)
			}
			deaf := tripAt(1)
			_ = do(deaf, func(context.Context) error {
				return hint(func() time.Duration { t.Error("asked"); return test.hint })
			})
			require.Equal(t, D, deaf.Snapshot().Until.Sub(deaf.Snapshot().Since))
		})
	}
}

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
