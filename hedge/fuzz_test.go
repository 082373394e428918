package hedge_test

import (
	"context"
	"math"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
)

// FuzzConfiguration: whatever is accepted works, and whatever does not is refused.
func FuzzConfiguration(f *testing.F) {
	f.Add(int64(0), 0.95, 1, 0.1, 10.0, 1000)
	f.Add(int64(-1), 0.0, 0, -1.0, 1e300, -1)
	f.Add(int64(1<<63-1), 0.999, 10, 10.0, 1e9, math.MaxInt)
	f.Fuzz(func(t *testing.T, delay int64, q float64, extra int, ratio, perSecond float64, running int) {
		opts := []hedge.Option{
			hedge.Idempotent(), hedge.After(time.Duration(delay)), hedge.Quantile(q), hedge.Extra(extra),
			hedge.Limit(ratio, perSecond), hedge.MaxRunning(running),
		}
		err := hedge.Validate(opts...)
		defer func() {
			if problem := recover(); (problem != nil) != (err != nil) {
				t.Fatalf("Validate says %v, New %v", err, problem)
			}
		}()
		h := hedge.New(opts...)
		for range 2 {
			value, err := resilience.Do(t.Context(), h, func(context.Context) (int, error) { return 7, nil })
			if value != 7 || err != nil {
				t.Fatal(value, err)
			}
		}
		_ = h.String()
		if h.Snapshot().Delay <= 0 || h.Check(nil, nil) != nil {
			t.Fatal(h.Snapshot())
		}
	})
}

// The budget of extra attempts against exact fractions. The first two bytes are the budget; each two that follow are
// something that happens.
func FuzzLimit(f *testing.F) {
	f.Add([]byte{2, 0, 1, 0, 1, 0, 0, 10, 1, 0, 1, 0})
	f.Add([]byte{0, 3, 1, 0, 1, 0, 2, 30, 1, 0, 2, 255, 1, 0, 1, 0})
	f.Add([]byte{4, 4, 1, 1, 1, 1, 1, 1, 0, 3, 2, 5, 1, 0})
	f.Add([]byte{3, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0})
	f.Add([]byte{0, 4, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 2, 20, 1, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		numbers := []float64{0, 0.01, 0.1, 1.0 / 3, 1, 3}
		if len(data) < 2 || data[0]%6 == 0 && data[1]%6 == 0 {
			return
		}
		ratio, perSecond := numbers[data[0]%6], numbers[data[1]%6]
		synctest.Test(t, func(t *testing.T) {
			const delay, slow = time.Millisecond, 5 * time.Millisecond
			h := hedge.New(hedge.Idempotent(), hedge.After(delay), hedge.Limit(ratio, perSecond))
			exact := func(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }
			floor := exact(max(1, 10*perSecond))
			tokens := new(big.Rat).Set(floor)
			var now time.Duration
			var calls []time.Duration // the second of each
			most := func() *big.Rat { // with what the calls of the last ten seconds have earned
				recent := int64(0)
				for _, second := range calls {
					if now/time.Second-second <= 10 {
						recent++
					}
				}
				earned := new(big.Rat).Mul(exact(ratio), big.NewRat(recent, 1))
				return earned.Add(earned, floor)
			}
			pass := func(d time.Duration) {
				now += d
				tokens.Add(tokens, new(big.Rat).Mul(exact(perSecond), big.NewRat(int64(d), int64(time.Second))))
				if most := most(); tokens.Cmp(most) > 0 {
					tokens.Set(most)
				}
			}
			call := func(takes time.Duration) {
				calls = append(calls, now/time.Second)
				tokens.Add(tokens, exact(ratio))
				_, err := pay(t.Context(), h, func(ctx context.Context) (int, error) {
					select {
					case <-time.After(takes):
					case <-ctx.Done(): // the extra attempt
					}
					return 0, nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			extra := uint64(0)
			for steps := data[2:min(len(data), 300)]; len(steps) >= 2; steps = steps[2:] {
				value := time.Duration(steps[1])
				switch steps[0] % 3 {
				case 0:
					for range value % 32 {
						call(0)
					}
				case 1:
					call(slow)
					pass(delay) // when the extra attempt asks
					there, _ := tokens.Float64()
					started := h.Snapshot().Extra > extra
					if started != (there >= 1) && math.Abs(there-1) > 1e-6 {
						t.Fatalf("with %v tokens an extra attempt was started: %v", there, started)
					}
					if started {
						extra++
						tokens.Sub(tokens, big.NewRat(1, 1))
					}
					pass(slow - delay)
				case 2:
					time.Sleep(value * value * time.Millisecond)
					pass(value * value * time.Millisecond)
				}
				synctest.Wait()
				if s := h.Snapshot(); s.Extra != extra || s.Running != 0 {
					t.Fatalf("%+v, want %d extra attempts", s, extra)
				}
			}
		})
	})
}
