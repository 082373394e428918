package breaker_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

// healthy is a dependency that fails by chance.
type healthy struct {
	b      *breaker.Breaker
	p      float64
	random *rand.Rand
}

func newHealthy(b *breaker.Breaker, p float64) *healthy {
	return &healthy{b, p, rand.New(rand.NewPCG(6, math.Float64bits(p)))}
}

// call makes one call.
func (h *healthy) call() {
	ctx, ticket, err := h.b.Admit(context.Background())
	if err != nil {
		panic(err)
	}
	outcome := policy.Outcome{Kind: policy.Returned}
	if h.random.Float64() < h.p {
		outcome.Err = errDown
	}
	h.b.Settle(ctx, ticket, outcome)
}

// untilTrips returns the mean number of calls until the breaker opens, over many times.
func (h *healthy) untilTrips(trips int) float64 {
	calls := 0
	for range trips {
		for h.b.State() == breaker.Closed {
			h.call()
			calls++
		}
		h.b.Reset()
	}
	return float64(calls) / float64(trips)
}

// tail returns the chance of at least k failures in n calls.
func tail(n, k int, p float64) (sum float64) {
	for i := k; i <= n; i++ {
		choose, _ := math.Lgamma(float64(n + 1))
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(choose - a - b + float64(i)*math.Log(p) + float64(n-i)*math.Log(1-p))
	}
	return sum
}

// scaled makes a simulation smaller in a short run, and forty times smaller under the race detector, which makes it forty
// times slower and has nothing to find in it. The tolerance follows, with the root.
func scaled(trips int, tolerance float64) (int, float64) {
	by := testsize.Pick(4, 1)
	if raceEnabled {
		by = 40
	}
	return trips / by, tolerance * math.Sqrt(float64(by))
}

// How often a rule opens the breaker of a dependency that is well: measured against the closed form.
func TestFalseTripsOfConsecutiveFailures(t *testing.T) {
	for _, test := range []struct {
		k    int
		p    float64
		want float64
	}{{3, 0.05, 8420}, {5, 0.2, 3905}, {3, 0.2, 155}, {5, 0.5, 62}} {
		closed := (1 - math.Pow(test.p, float64(test.k))) / ((1 - test.p) * math.Pow(test.p, float64(test.k)))
		require.InEpsilon(t, test.want, closed, 0.001)
		trips, tolerance := scaled(2000, 0.05)
		got := newHealthy(tripAt(test.k), test.p).untilTrips(trips)
		t.Logf("%d in a row at %v: %.0f calls, closed form %.0f", test.k, test.p, got, closed)
		require.InEpsilon(t, closed, got, tolerance)
	}
}

// naive returns what untilTrips does for a window of n calls, from a plain simulation with the same luck.
func naive(n int, threshold, p float64, trips int) float64 {
	random := newHealthy(nil, p).random
	calls := 0
	for range trips {
		var failed []bool
		for failures := 0; len(failed) < n || float64(failures) < threshold*float64(n); {
			failed = append(failed, random.Float64() < p)
			failures = 0
			for _, f := range failed[max(0, len(failed)-n):] {
				if f {
					failures++
				}
			}
			if !failed[len(failed)-1] {
				failures = 0 // the rule is evaluated after failures
			}
		}
		calls += len(failed)
	}
	return float64(calls) / float64(trips)
}

// A window that slides trips sooner than one that begins anew after every n calls: it looks n times as often. There is no
// closed form; the expected values are means of 60 simulated runs, good to 15 %.
func TestFalseTripsOfASlidingWindow(t *testing.T) {
	for _, test := range []struct {
		n         int
		threshold float64
		p         float64
		want      float64
	}{{20, 0.5, 0.2, 1490}, {20, 0.5, 0.3, 134}, {100, 0.5, 0.4, 1015}, {100, 0.2, 0.1, 9000}} {
		b := newBreaker(breaker.FailureRate(test.threshold, test.n), breaker.CountWindow(test.n))
		trips, tolerance := scaled(1000, 0.15)
		got := newHealthy(b, test.p).untilTrips(trips)
		t.Logf("%v of %d at %v: %.0f calls, expected %.0f", test.threshold, test.n, test.p, got, test.want)
		require.InEpsilon(t, test.want, got, tolerance)
		few := trips / 20
		h := newHealthy(b, test.p)
		b.Reset()
		require.Equal(t, naive(test.n, test.threshold, test.p, few), h.untilTrips(few))
	}
}

// A window that begins anew after every n calls: a reset after each n makes one of a sliding window of n.
func TestFalseTripsOfATumblingWindow(t *testing.T) {
	for _, test := range []struct {
		n    int
		p    float64
		want float64 // calls to a false trip, from the closed form
	}{{10, 0.2, 305}, {10, 0.3, 66.5}, {10, 0.4, 27.3}, {20, 0.3, 417}, {20, 0.4, 81.7}} {
		closed := float64(test.n) / tail(test.n, test.n/2, test.p)
		require.InEpsilon(t, test.want, closed, 0.01)
		h := newHealthy(newBreaker(breaker.FailureRate(1, test.n+1)), test.p) // a rule that never trips: the test looks
		trips, tolerance := scaled(2000, 0.05)
		calls, over := 0, 0
		for over < trips {
			for range test.n {
				h.call()
			}
			calls += test.n
			if s := h.b.Snapshot(); s.CallsFailed*2 >= s.Calls {
				over++
			}
			h.b.Reset()
		}
		got := float64(calls) / float64(trips)
		t.Logf("0.5 of %d at %v: %.1f calls, closed form %.1f", test.n, test.p, got, closed)
		require.InEpsilon(t, closed, got, tolerance)
	}
}

// The chance of a trip within 10,000 calls, for 5 failures in a row.
func TestFalseTripWithinManyCalls(t *testing.T) {
	runs, _ := scaled(1000, 0)
	for p, want := range map[float64]float64{0.1: 0.0860, 0.2: 0.923} {
		h, tripped := newHealthy(tripAt(5), p), 0
		for range runs {
			for i := 0; i < 10_000 && h.b.State() == breaker.Closed; i++ {
				h.call()
			}
			if h.b.State() != breaker.Closed {
				tripped++
			}
			h.b.Reset()
		}
		got := float64(tripped) / float64(runs)
		t.Logf("p %v: %.4f, expected %.4f", p, got, want)
		require.InDelta(t, want, got, 4*math.Sqrt(want*(1-want)/float64(runs)))
	}
}
