package reference_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/theory"
)

// near requires that a number is what theory, or somebody else's program, says.
func near(t *testing.T, want float64, got reference.Number) {
	t.Helper()
	require.InDelta(t, want, got.Mean, 5*got.Error+1e-9)
}

// Where there is a formula, the second simulation and the formula say the same.
func TestFormulas(t *testing.T) {
	for _, c := range []struct {
		c int
		a float64
	}{{1, .8}, {2, 1.6}, {10, 8}} {
		share, wait := reference.Queue(c.c, c.a, 20_000, 1000, false, 10)
		near(t, theory.ErlangC(c.c, c.a), share)
		near(t, theory.MeanWait(c.c, c.a), wait)
	}
	_, wait := reference.Queue(1, .8, 20_000, 1000, true, 10)
	near(t, theory.DeterministicWait(.8, 1), wait)
	near(t, theory.ErlangB(10, 8), reference.Lost(10, 8, 20, 1000, func(r *rand.Rand) float64 { return r.ExpFloat64() }, 10))
	success, load := reference.Budgeted(.5, 4, 10, 10, reference.Always)
	near(t, theory.Success(.5, 4), success)
	near(t, theory.Attempts(.5, 4), load)
	near(t, 4./3, reference.Exactly(reference.SharedBudget(3, 4, .1, 300)))
	lag, _ := reference.Lag(5, 50, .05, 5, 20, 20)
	near(t, (5+1./50+.05)/2+.05, lag)
}

// And it says what Brooker's programs said, where they are the same experiment.
func TestPublishedPrograms(t *testing.T) {
	within := func(want, share float64, got reference.Number) {
		t.Helper()
		require.InEpsilon(t, want, got.Mean, share)
	}
	full := func(r *rand.Rand, n int, _ float64) float64 {
		return r.Float64() * math.Min(2, .005*math.Pow(2, float64(n)))
	}
	writes, seconds := reference.Contend(100, 20, full)
	within(794, .02, writes)
	within(5.029, .1, seconds)
	success, load := reference.Budgeted(.5, 1000, 10, 10, reference.Bucket(5, .1, 1, 1, 0))
	within(.559, .02, success)
	within(1.121, .01, load)
	success, _ = reference.Budgeted(.1, 4, 10, 10, reference.Counter(.1))
	within(.932, .01, success)
	attempts, goodput := reference.Serial(.5, 10, .1, 4, false)
	within(8.10, .02, attempts)
	within(4.07, .03, goodput)
	attempts, _ = reference.Serial(1, 10, .1, 4, true)
	within(1.6, .02, attempts)
	never, _ := reference.Storm(reference.StormSetup{Rate: 280, Capacity: 300, Timeout: 1, From: 30, Until: 40, Seconds: 120, Retry: true}, 2)
	require.True(t, math.IsNaN(never.Mean), "one retry never recovers")
	back, _ := reference.Storm(reference.StormSetup{Rate: 280, Capacity: 300, Timeout: 1, From: 30, Until: 40, Seconds: 260}, 20)
	within(167, .07, back)
}

func TestTheSameEveryTime(t *testing.T) {
	one, _ := reference.Lag(1, 50, .05, 5, 5, 5)
	two, _ := reference.Lag(1, 50, .05, 5, 5, 5)
	require.Equal(t, one, two)
}
