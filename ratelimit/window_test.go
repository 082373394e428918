package ratelimit_test

import (
	"context"
	"math"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestFault117_WindowBound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.01, 1000), rapid.SampledFrom([]float64{1, 3, 10, 10.0 / 13, 100, 1.0 / 3600, 1e9})).Draw(r, "rate")
		burst := rapid.IntRange(1, 20).Draw(r, "burst")
		steps := slice(r, rapid.Int64Range(0, int64(3e9/perSecond)), 200)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			var admissions []time.Duration
			start := time.Now()
			for _, step := range steps {
				time.Sleep(time.Duration(step))
				if _, _, err := l.Admit(context.Background()); err == nil {
					admissions = append(admissions, time.Since(start))
				}
			}
			checkWindows(fail, admissions, perSecond, burst)
		})
	})
}

// checkWindows fails when in any window more than burst + rate·window were admitted, with nothing but rounding allowed
// for: a thousandth of a nanosecond of refill, and a bit of the level for each admission.
func checkWindows(fail func(string, ...any), admissions []time.Duration, perSecond float64, burst int) {
	for i := range admissions {
		for j := i; j < len(admissions); j++ {
			n, window := j-i+1, admissions[j]-admissions[i]
			if allowed := float64(burst) + perSecond*window.Seconds(); float64(n) <= allowed {
				continue
			}
			// So close to it, float64 is too coarse to judge by.
			allowed := new(big.Rat).SetFloat64(perSecond)
			allowed.Mul(allowed, big.NewRat(int64(window), int64(time.Second)))
			allowed.Add(allowed, new(big.Rat).SetFloat64(perSecond*1e-12+float64(n*burst)*0x1p-52))
			if big.NewRat(int64(n-burst), 1).Cmp(allowed) > 0 {
				fail("%d admitted within %v at rate %v burst %d", n, window, perSecond, burst)
			}
		}
	}
}

// The earliest moments are the hard ones: always come back exactly when the limiter says.
func TestFault117_WindowBoundForTheGreedy(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.01, 1e6), rapid.SampledFrom([]float64{1, 3, 7, 10, 10.0 / 13, 100, 1.0 / 3600, 1e9, 3e8})).Draw(r, "rate")
		burst := rapid.IntRange(1, 5).Draw(r, "burst")
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			var admissions []time.Duration
			start := time.Now()
			for range 200 {
				_, _, err := l.Admit(context.Background())
				if err == nil {
					admissions = append(admissions, time.Since(start))
					continue
				}
				wait, _ := policy.RetryAfter(err)
				time.Sleep(wait)
			}
			checkWindows(fail, admissions, perSecond, burst)
		})
	})
}

func TestFault119_WindowBoundUnderContention(t *testing.T) {
	const perSecond, burst = 1e5, 7
	for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(time.Millisecond)}} {
		l := ratelimit.New(perSecond, burst, options...)
		var workers sync.WaitGroup
		var mu sync.Mutex
		var admissions int
		start := time.Now()
		for range 64 {
			workers.Go(func() {
				mine := 0
				for n := 0; n < 100 || time.Since(start) < 100*time.Millisecond; n++ {
					if permit, err := policy.Acquire(context.Background(), l); err == nil {
						permit.Done(nil)
						mine++
					}
				}
				mu.Lock()
				defer mu.Unlock()
				admissions += mine
			})
		}
		workers.Wait()
		elapsed := time.Since(start)
		t.Logf("%d admitted in %v, %.0f allowed", admissions, elapsed, burst+perSecond*elapsed.Seconds())
		require.LessOrEqual(t, float64(admissions), burst+perSecond*elapsed.Seconds())
		require.Greater(t, admissions, burst)
		require.Zero(t, l.Snapshot().Waiting)
	}
}

func TestFault125_BurstAfterIdleIsExact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(7, 10)
		for _, idle := range []time.Duration{0, time.Hour, 1000 * time.Hour, 10 * time.Second} {
			time.Sleep(idle)
			require.Equal(t, 10, drain(t, l))
		}
		// Nor do tokens that come back to a full bucket make it fuller.
		time.Sleep(time.Hour)
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		permit.Settle(neverCalled)
		require.Equal(t, 10, drain(t, l))
	})
}

func TestFault126_Rounding(t *testing.T) {
	for _, perSecond := range []float64{10.0 / 13, 1.0 / 3600, 1, 10, 100, 1.0 / 86400, 1e-3} {
		bubble(t, func(t *testing.T) {
			l := ratelimit.New(perSecond, 1)
			interval := time.Duration(math.Round(1e9 / perSecond))
			for range 100 {
				require.Equal(t, 1, drain(t, l), perSecond)
				time.Sleep(interval)
			}
		})
	}
	bubble(t, func(t *testing.T) { // 1e12 tokens, or as many as there can be, to the last one
		const burst = min(1e12, ratelimit.MaxBurst)
		l := ratelimit.New(1000, burst, ratelimit.CostOf(costMark))
		acquire(t, l, burst-3)
		require.Equal(t, 3, drain(t, l))
		time.Sleep(time.Millisecond)
		require.Equal(t, 1, drain(t, l))
		time.Sleep(burst / 4 * time.Millisecond)
		acquire(t, l, burst/4)
		require.Equal(t, 0, drain(t, l))
	})
}
