package bulkhead

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever an algorithm is told, its limit is a number, and it moves no further than it promises.
func TestAlgorithmsStayNumbers(t *testing.T) {
	for _, algorithm := range []Algorithm{AIMD(time.Millisecond), Gradient2(), Vegas()} {
		t.Run(algorithm.String(), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				const floor, ceiling = 2.0, 1000.0
				c, limit := algorithm.start(), floor
				for range 200 {
					s := sample{
						latency:  rapid.OneOf(rapid.SampledFrom([]float64{0, 1e-9, 1e9}), rapid.Float64Range(0, 10)).Draw(r, "latency"),
						inFlight: rapid.IntRange(0, 1000).Draw(r, "in flight"),
						overload: rapid.IntRange(0, 9).Draw(r, "overload") == 0,
					}
					next := c.next(limit, s)
					step := 6 * max(1, math.Log10(limit))
					switch {
					case math.IsNaN(next) || math.IsInf(next, 0):
						r.Fatalf("limit %v", next)
					case s.overload && next >= limit:
						r.Fatalf("grows from %v to %v at an overload", limit, next)
					case next > limit && !s.halfUsed(limit):
						r.Fatalf("grows from %v to %v with %d in flight", limit, next, s.inFlight)
					case next > limit+step || next < 0.9*limit-step:
						r.Fatalf("jumps from %v to %v", limit, next)
					}
					limit = min(max(next, floor), ceiling)
				}
			})
		})
	}
}

// A latency that stays higher is the new normal after two periods, not a reason to stay at the floor for ever.
func TestVegasForgets(t *testing.T) {
	c, limit := Vegas().start(), 10.0
	feed := func(windows int, latency float64) {
		for range windows {
			limit = max(2, c.next(limit, sample{latency: latency, inFlight: int(limit)}))
		}
	}
	feed(10, 0.01)
	high := limit
	feed(500, 0.1)
	if limit > 10 {
		t.Fatalf("limit %v with ten times the latency", limit)
	}
	feed(650, 0.1)
	if limit > 10 {
		t.Fatalf("limit %v: the latency before the last period is forgotten already", limit)
	}
	feed(550, 0.1)
	if limit < high {
		t.Fatalf("limit %v after two periods at the new latency", limit)
	}
}

// After an overload its latencies are forgotten within some ten seconds, so that the next one is noticed.
func TestGradient2ForgetsAnOverload(t *testing.T) {
	c, limit := Gradient2().start(), 100.0
	feed := func(windows int, latency float64) {
		for range windows {
			limit = max(2, c.next(limit, sample{latency: latency, inFlight: int(limit)}))
		}
	}
	feed(2000, 1)
	feed(100, 0.01)
	high := limit
	feed(20, 0.1)
	if limit > 0.5*high {
		t.Fatalf("limit %v, before %v: ten times the latency is not noticed", limit, high)
	}
}
