package theory_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/theory"
)

// near requires that got is want, to as many significant digits as the table shows.
func near(t *testing.T, want, got, relative float64) {
	t.Helper()
	require.InEpsilon(t, want, got, relative)
}

func TestErlang(t *testing.T) {
	for _, c := range []struct {
		c          int
		a, p, wait float64
	}{{1, .8, .8, 4}, {2, 1.6, .7111, 1.778}, {10, 8, .4092, .2046}} {
		near(t, c.p, theory.ErlangC(c.c, c.a), 2e-4)
		near(t, c.wait, theory.MeanWait(c.c, c.a), 3e-4)
	}
	for _, c := range []struct {
		c    int
		a, b float64
	}{{10, 8, .1217}, {20, 16, .0644}, {100, 95, .0488}, {1000, 5095, .8038}} {
		near(t, c.b, theory.ErlangB(c.c, c.a), 1e-3)
	}
	near(t, .2, theory.DeterministicWait(8, 10), 1e-9)
	near(t, .05, theory.DeterministicWait(5, 10), 1e-9)
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		n, d int
		p    float64
		want float64
	}{
		{4, 3, 1, 64}, {4, 3, .99, 47.44}, {4, 3, .9, 9.99}, {4, 3, .5, 2}, {4, 3, .1, 1.111},
		{4, 1, 1, 4}, {4, 1, .99, 3.94}, {4, 1, .9, 3.44}, {4, 1, .5, 1.875}, {4, 1, .1, 1.111},
		{3, 5, 1, 243}, {3, 5, .99, 91.3}, {3, 5, .9, 10}, {3, 5, .5, 2}, {3, 5, .1, 1.111},
	} {
		near(t, c.want, theory.Attempts(c.p, theory.Layers(c.n, c.d)), 2e-3)
	}
	near(t, .9375, theory.Success(.5, 4), 1e-9)
}

func TestTrips(t *testing.T) {
	for _, c := range []struct {
		k       int
		p, want float64
	}{
		{3, .01, 1_010_100}, {3, .05, 8_420}, {3, .1, 1_110}, {3, .2, 155}, {3, .3, 51.5}, {3, .5, 14},
		{5, .05, 3_368_420}, {5, .1, 111_110}, {5, .2, 3_905}, {5, .3, 586.5}, {5, .5, 62},
	} {
		near(t, c.want, theory.CallsToRun(c.p, c.k), 1e-3)
	}
	near(t, .002963, theory.RunWithin(.05, 5, 10_000), 1e-3)
	near(t, .0860, theory.RunWithin(.1, 5, 10_000), 1e-3)
	near(t, .923, theory.RunWithin(.2, 5, 10_000), 1e-3)
	for _, c := range []struct {
		n, least int
		p, want  float64
	}{
		{10, 5, .1, 1.6e-3}, {10, 5, .2, .0328}, {10, 5, .3, .150}, {10, 5, .4, .367},
		{20, 10, .1, 7.2e-6}, {20, 10, .2, .00259}, {20, 10, .3, .0480}, {20, 10, .4, .245},
		{100, 50, .1, 5.8e-24}, {100, 50, .2, 2.1e-11}, {100, 50, .3, 2.2e-5}, {100, 50, .4, .0271},
	} {
		near(t, c.want, theory.Tail(c.n, c.least, c.p), .03)
	}
	near(t, 20, theory.CallsToRate(1, .5, 20, 100), 1e-9)
	near(t, 1/.3, theory.CallsToRate(.3, 1e-9, 1, 500), 1e-9) // the first failure
	near(t, 19+1/.3, theory.CallsToRate(.3, 1e-9, 20, 500), 1e-9)
	for m, want := range map[int]float64{1: .05, 3: .143, 5: .226, 10: .401} {
		near(t, want, theory.FalseReopen(.05, m), 5e-3)
	}
}

func TestHedging(t *testing.T) {
	exponential := theory.ExponentialSurvival(10)
	near(t, 29.96, exponential.Quantile(.95), 1e-3)
	near(t, 46.05, exponential.Quantile(.99), 1e-3)
	near(t, 69.08, exponential.Quantile(.999), 1e-3)
	hedged := exponential.Hedged(exponential.Quantile(.95))
	near(t, 38.0, hedged.Quantile(.99), 1e-3)
	near(t, 49.5, hedged.Quantile(.999), 1e-3)

	lognormal := theory.LognormalSurvival(10, 1)
	near(t, 102.4, lognormal.Quantile(.99), 1e-3)
	near(t, 219.8, lognormal.Quantile(.999), 1e-3)
	near(t, 51.8, lognormal.Quantile(.95), 1e-3)
	near(t, 66.7, lognormal.Hedged(lognormal.Quantile(.95)).Quantile(.99), 1e-3)
	for q, want := range map[float64]float64{.5: 69.2, .75: 74.3, .9: 83.6, .95: 93.1, .99: 127.2} {
		near(t, want, lognormal.Hedged(lognormal.Quantile(q)).Quantile(.999), 1e-3)
	}

	leaf := theory.MeasuredSurvival(1, theory.Point{10, .02}, theory.Point{70, .00316}, theory.Point{1800, 1e-5})
	near(t, 1799.5, leaf.Longest(100).Quantile(.999), 1e-3)
	near(t, 73.6, leaf.Hedged(10).Longest(100).Quantile(.999), 5e-3)

	slow := func(share float64) theory.Survival { return func(float64) float64 { return share } }
	near(t, .634, slow(.01).Longest(100)(1), 1e-3)
	near(t, .181, slow(1e-4).Longest(2000)(1), 2e-3)
}

func ExampleErlangB() {
	fmt.Printf("10 slots at 8 Erlang refuse %.1f %%\n", 100*theory.ErlangB(10, 8))
	// Output: 10 slots at 8 Erlang refuse 12.2 %
}
