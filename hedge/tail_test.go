package hedge_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
)

// sampled is an operation whose times come from a distribution, one after the other.
type sampled struct {
	mu     sync.Mutex
	random *rand.Rand
	draw   func(*rand.Rand) time.Duration
}

func (s *sampled) call(ctx context.Context) (int, error) {
	s.mu.Lock()
	takes := s.draw(s.random)
	s.mu.Unlock()
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func exponential(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

// sequence makes calls one after the other and returns their times, sorted.
func sequence(t *testing.T, h *hedge.Hedge, s *sampled, calls int) []time.Duration {
	times := make([]time.Duration, calls)
	for i := range times {
		start := time.Now()
		_, err := pay(t.Context(), h, s.call)
		require.NoError(t, err)
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times
}

func at(times []time.Duration, q float64) float64 {
	return times[int(q*float64(len(times)))].Seconds() * 1000
}

// Hedging at the 95th percentile of an exponential latency of 10 ms, against the closed form: extra load 5 %, and for
// a tail of ε the quantile (p95 + 10 ln(1/ε)) / 2, which is 38.0 ms for p99 and 49.5 ms for p99.9.
func TestTheTailOfAnExponentialLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 60_000
		h := hedge.New(hedge.Idempotent())
		times := sequence(t, h, &sampled{random: rand.New(rand.NewPCG(1, 11)), draw: exponential(10 * ms)}, calls)
		load := 100 * float64(h.Snapshot().Extra) / calls
		t.Logf("extra load %.2f %%, p99 %.2f ms, p99.9 %.2f ms, delay %v", load, at(times, 0.99), at(times, 0.999), h.Snapshot().Delay)
		require.InDelta(t, 5, load, 0.3)
		require.InEpsilon(t, (29.957+10*math.Log(100))/2, at(times, 0.99), 0.03)
		require.InEpsilon(t, (29.957+10*math.Log(1000))/2, at(times, 0.999), 0.08)
		require.Zero(t, h.Snapshot().OverBudget)
	})
}

// If the first attempts that lost were left out, or counted with the time of the winner, the delay would shrink with
// every call, and the load would grow.
func TestTheQuantileIsNotBiasedByHedging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Idempotent(), hedge.Quantile(0.9), hedge.Limit(1, 1000))
		s := &sampled{random: rand.New(rand.NewPCG(2, 11)), draw: exponential(10 * ms)}
		for range 5 {
			sequence(t, h, s, 6000)
			require.InEpsilon(t, 10*math.Log(10), h.Snapshot().Delay.Seconds()*1000, 0.1)
		}
	})
}

// Failures that take as long as an attempt timeout are slow; failures before the delay say nothing about latency.
func TestWhatTheQuantileLearnsFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Idempotent(), hedge.Limit(1, 1000))
		run := func(times int, steps ...step) {
			for range times {
				op, _ := script(steps...)
				_, _ = resilience.Do(t.Context(), h, op)
			}
		}
		run(300, step{takes: ms, err: errBackend})
		require.Zero(t, h.Snapshot().Delay, "failures only")
		run(199, step{takes: 20 * ms})
		require.Zero(t, h.Snapshot().Delay, "too few")
		run(1, step{takes: 20 * ms})
		require.InEpsilon(t, 0.020, h.Snapshot().Delay.Seconds(), 0.032)
		run(1000, step{takes: ms, err: errBackend})
		require.InEpsilon(t, 0.020, h.Snapshot().Delay.Seconds(), 0.032)
		run(300, step{takes: 50 * ms, err: errBackend})
		require.Greater(t, h.Snapshot().Delay, 45*ms)
	})
}

// Extra attempts are cut short as soon as the first one answers, so what they took would be too little.
func TestTheQuantileLearnsFromFirstAttemptsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Idempotent(), hedge.Quantile(0.5), hedge.Limit(1, 1000), hedge.AfterFailure())
		for range 100 {
			op, _ := script(step{takes: 20 * ms})
			_, err := resilience.Do(t.Context(), h, op)
			require.NoError(t, err)
		}
		before := h.Snapshot().Delay
		for range 300 {
			op, _ := script(step{takes: ms, err: errBackend}, step{takes: ms})
			value, err := resilience.Do(t.Context(), h, op)
			require.NoError(t, err)
			require.Equal(t, 2, value)
		}
		require.Equal(t, before, h.Snapshot().Delay)
	})
}

func TestAMeasuredDelayIsNeverTooShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Idempotent(), hedge.After(time.Second))
		op, _ := script(step{takes: time.Microsecond})
		_, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.Equal(t, time.Second, h.Snapshot().Delay, "a fixed delay is fixed")
		h = hedge.New(hedge.Idempotent(), hedge.After(time.Second), hedge.Quantile(0.5))
		require.Equal(t, time.Second, h.Snapshot().Delay, "until enough is known")
		for range 100 {
			op, _ := script(step{takes: time.Microsecond})
			_, err := resilience.Do(t.Context(), h, op)
			require.NoError(t, err)
		}
		require.Equal(t, time.Millisecond, h.Snapshot().Delay)
	})
}
