package bulkhead

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
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

// knows is a Vegas that knows a least latency.
func knows(least float64) controller { return &vegas{least: least, earlier: math.Inf(1), windows: 1} }

// usual is a Gradient2 whose long-term average is 1 s.
func usual() controller { return &gradient2{average: 1, windows: 1000} }

// What one window does to the limit: the numbers are those that the algorithms are documented, and published, with.
func TestAlgorithmsWindowByWindow(t *testing.T) {
	for _, test := range []struct {
		name       string
		controller controller
		limit      float64
		sample     sample
		want       float64
	}{
		{"aimd at the target", AIMD(time.Second).start(), 10, sample{latency: 1, inFlight: 5}, 11},
		{"aimd above the target", AIMD(time.Second).start(), 10, sample{latency: math.Nextafter(1, 2), inFlight: 5}, 9},
		{"aimd above the target, hardly used", AIMD(time.Second).start(), 10, sample{latency: 2, inFlight: 1}, 9},
		{"aimd, less than half used", AIMD(time.Second).start(), 10, sample{latency: 0.5, inFlight: 4}, 10},
		{"aimd at an overload", AIMD(time.Second).start(), 10, sample{latency: 0.5, inFlight: 5, overload: true}, 9},
		{"aimd at an overload without latency", AIMD(time.Second).start(), 10, sample{inFlight: 1, overload: true}, 9},

		{"gradient2 at the average", usual(), 100, sample{latency: 1, inFlight: 50}, 100.8},
		{"gradient2, faster", usual(), 100, sample{latency: 0.6, inFlight: 50}, 100.8},
		{"gradient2 within the tolerance", usual(), 100, sample{latency: 1.5, inFlight: 50}, 100.8},
		{"gradient2 beyond the tolerance", usual(), 100, sample{latency: 2, inFlight: 50}, 100 + 0.2*(100*1.5*(1+2.0/601)/2+4-100)},
		{"gradient2, far beyond", usual(), 100, sample{latency: 100, inFlight: 50}, 100 + 0.2*(100*0.5+4-100)},
		{"gradient2, less than half used", usual(), 100, sample{latency: 1, inFlight: 49}, 100},
		{"gradient2, less than half used and slow", usual(), 100, sample{latency: 100, inFlight: 49}, 100},
		{"gradient2 without latency", usual(), 100, sample{inFlight: 50}, 100},
		{"gradient2 at an overload", usual(), 100, sample{latency: 1, inFlight: 50, overload: true}, 90},
		{"gradient2 at an overload without latency", usual(), 100, sample{inFlight: 50, overload: true}, 90},
		{"gradient2 is new", Gradient2().start(), 100, sample{latency: 7, inFlight: 50}, 100.8},

		{"vegas, nothing queues", knows(1), 8, sample{latency: 1, inFlight: 4}, 14},
		{"vegas, one queues", knows(0.875), 8, sample{latency: 1, inFlight: 4}, 14},
		{"vegas, two queue", knows(0.75), 8, sample{latency: 1, inFlight: 4}, 9},
		{"vegas, three queue", knows(0.625), 8, sample{latency: 1, inFlight: 4}, 8},
		{"vegas, six queue", knows(0.25), 8, sample{latency: 1, inFlight: 4}, 8},
		{"vegas, seven queue", knows(0.125), 8, sample{latency: 1, inFlight: 4}, 7},
		{"vegas, seven queue, hardly used", knows(0.125), 8, sample{latency: 1, inFlight: 1}, 7},
		{"vegas, less than half used", knows(1), 8, sample{latency: 1, inFlight: 3}, 8},
		{"vegas without latency", knows(1), 8, sample{inFlight: 4}, 8},
		{"vegas at an overload", knows(1), 8, sample{latency: 1, inFlight: 4, overload: true}, 7},
		{"vegas, steps are logarithms", knows(1), 1000, sample{latency: 1, inFlight: 500}, 1018},
		{"vegas, few of a thousand queue", knows(1), 1000, sample{latency: 1 / (1 - 0.0079), inFlight: 500}, 1003},
		{"vegas, more of a thousand queue", knows(1), 1000, sample{latency: 1 / (1 - 0.010), inFlight: 500}, 1000},
		{"vegas, many of a thousand queue", knows(1), 1000, sample{latency: 1 / (1 - 0.017), inFlight: 500}, 1000},
		{"vegas, too many of a thousand queue", knows(1), 1000, sample{latency: 1 / (1 - 0.019), inFlight: 500}, 997},
		{"vegas of a thousand at an overload", knows(1), 1000, sample{inFlight: 500, overload: true}, 997},
		{"vegas is new", Vegas().start(), 8, sample{latency: 7, inFlight: 4}, 14},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.InDelta(t, test.want, test.controller.next(test.limit, test.sample), 1e-9)
		})
	}
}

// The long-term average is the mean of the first ten windows, then moves by 2/601 of the difference, and faster when it
// is more than twice of what is measured: an overload is over.
func TestGradient2Average(t *testing.T) {
	g := &gradient2{}
	for i := range 10 {
		g.next(100, sample{latency: float64(i + 1), inFlight: 50})
		g.next(100, sample{inFlight: 50, overload: true}) // a window without latency says nothing about it
	}
	require.InDelta(t, 5.5, g.average, 1e-9)
	g.next(100, sample{latency: 11.5, inFlight: 50})
	require.InDelta(t, 5.5+6*2.0/601, g.average, 1e-9)

	g = &gradient2{}
	g.next(100, sample{latency: 3, inFlight: 50})
	g.next(100, sample{latency: 1, inFlight: 50})
	require.Equal(t, 2.0, g.average, "exactly twice")
	g = &gradient2{average: 2, windows: 1000}
	g.next(100, sample{latency: 1, inFlight: 50})
	require.InDelta(t, 2-2.0/601, g.average, 1e-9, "not more than twice")
	g = &gradient2{average: 2.1, windows: 1000}
	g.next(100, sample{latency: 1, inFlight: 50})
	require.InDelta(t, 0.95*(2.1-1.1*2.0/601), g.average, 1e-9)
}

// An overload ends a window early; what was measured until then still moves the average.
func TestAWindowThatEndsEarlyCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Adaptive(Gradient2(), 1, 10)
		for _, err := range []error{nil, context.DeadlineExceeded} {
			ctx, ticket, refused := b.Admit(t.Context())
			require.NoError(t, refused)
			time.Sleep(time.Second)
			b.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned, Err: err})
		}
		require.Equal(t, 1.0, b.adaptive.controller.(*gradient2).average, "seconds, of the one that succeeded")
	})
}

// The least latency is that of the last 600 to 1200 windows.
func TestVegasRemembersTwoPeriods(t *testing.T) {
	c := Vegas().start()
	next := func(latency float64) float64 { return c.next(8, sample{latency: latency, inFlight: 4}) }
	require.Equal(t, 14.0, next(1))
	for window := 2; window <= 1200; window++ {
		require.Equal(t, 7.0, next(10), "window %d: the first is remembered", window)
	}
	for window := 1201; window <= 3000; window++ {
		require.Equal(t, 14.0, next(10), "window %d: the first is forgotten", window)
	}
}

// A latency that no clock could measure is not the least that there can be.
func TestVegasDoesNotBelieveInNoLatency(t *testing.T) {
	c := knows(1)
	require.Equal(t, 8.0, c.next(8, sample{latency: 0, inFlight: 4}))
	require.Equal(t, 14.0, c.next(8, sample{latency: 1, inFlight: 4}), "nothing queues")
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

// The estimate is rounded up and the logarithm down, as Netflix does.
func TestFault277_VegasRoundsAsItsSource(t *testing.T) {
	for _, test := range []struct{ limit, least, latency, want float64 }{
		{10, 0.010, 0.014, 10}, // 2.86 queue: 3, which is not less than alpha
		{10, 0.010, 0.012, 11}, // 1.67: 2
		{10, 0.010, 0.011, 16}, // 0.91: 1, the threshold
		{10, 0.010, 0.0112, 11},
		{10, 0.010, 0.026, 9}, // 6.15: 7, which is more than beta
		{10, 0.010, 0.024, 10},
		{500, 1, 1, 512}, // the logarithm of 500 is 2
		{99, 1, 1, 105},
		{100, 1, 1, 112},
		{999, 1, 1, 1011},
	} {
		require.Equal(t, test.want, knows(test.least).next(test.limit, sample{latency: test.latency, inFlight: int(test.limit)}), "%+v", test)
	}
}
