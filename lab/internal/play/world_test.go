package play_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/play"
)

func run(t *testing.T, address string, side int) *play.Result {
	t.Helper()
	r := play.Decode(address).Run(side, play.Watcher{})
	require.NoError(t, r.Err, address)
	return r
}

// Equal addresses give equal runs, and every number of a result counts in its hash.
func TestEqualStatesAreEqualRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	tried := []string{"load=1&clients=30&think=500&a.retry=1&t=20a10m", "load=2&clients=30&slots=5&queue=5&a.retry=1&a.breaker=1", "a.hedge=1&a.throttle=1&t=10c"}
	for range testsize.Pick(2, 40) {
		tried = append(tried, random(r)+"&rate=40&clients=40&think=1000") // of a size to run twice
	}
	for _, address := range tried {
		first := run(t, address, 0)
		require.Equal(t, first.Hash, run(t, address, 0).Hash, address)
		require.LessOrEqual(t, first.Calls, play.MaxCalls)
		if first.Refused == "" {
			require.NotEmpty(t, first.Rows, address)
		}
	}
	require.NotEqual(t, run(t, "", 0).Hash, run(t, "seed=2", 0).Hash)
	require.Equal(t, run(t, "a.retry=1&b.retry=1", 0).Hash, run(t, "a.retry=1&b.retry=1", 1).Hash, "both sides see the same")
}

// What the rows say adds up to what the result says.
func TestTheRowsAddUp(t *testing.T) {
	for _, address := range []string{"", "t=20a20m&a.retry=1&a.breaker=1&a.attempt=1", "load=1&a.bulkhead=1&a.atonce=3", "load=2&clients=50&slots=5"} {
		var seen []play.Row
		r := play.Decode(address).Run(0, play.Watcher{Second: func(second int, row *play.Row) {
			require.Len(t, seen, second)
			seen = append(seen, *row)
		}})
		require.NoError(t, r.Err)
		require.Len(t, r.Rows, play.Seconds)
		require.Len(t, seen, play.Seconds)
		var sum play.Row
		for i := range r.Rows {
			row := &r.Rows[i]
			require.Equal(t, seen[i].Attempts, row.Attempts)
			sum.Calls += row.Calls
			sum.Succeeded += row.Succeeded
			sum.Failed += row.Failed
			sum.Rejected += row.Rejected
			require.Equal(t, sum.Calls, sum.Succeeded+sum.Failed+sum.Rejected+row.Active, "second %d of %q", i, address)
			require.True(t, row.Succeeded == 0 && math.IsNaN(row.P50) || row.P50 <= row.P99)
		}
		require.Equal(t, sum.Calls, r.Calls)
		require.Equal(t, r.Calls, r.Succeeded+r.Failed+r.Rejected)
		require.LessOrEqual(t, sum.Succeeded, r.Succeeded, "some end after the minute")
		require.LessOrEqual(t, r.P99, r.P999)
	}
}

// Whatever the sliders say, a run ends, and is no larger than a page can bear.
func TestRunsAreBounded(t *testing.T) {
	extreme := []string{
		"load=1&clients=500&think=10&service=1&slots=0&a.breaker=1&t=60u",
		"rate=500&service=2000&slots=0&trouble=1&t=60u",
	}
	if testsize.Whole() {
		extreme = append(extreme, "rate=500&a.retry=1&a.attempts=8&a.budget=0&a.delay=1&a.hedge=1&a.after=1&a.extra=3&a.hedge.budget=0&t=60u",
			"load=1&clients=500&think=10&slots=1&queue=1000&service=2000&a.retry=1&a.attempts=8&a.delay=5000", "load=2&clients=500&slots=1&service=1&queue=0&a.limit=1&a.persecond=1&a.wait=5000&a.burst=1")
	}
	for _, address := range extreme {
		r := run(t, address, 0)
		require.LessOrEqual(t, r.Calls+r.Attempts, play.MaxCalls+2*play.MaxActive, address)
		for i := range r.Rows {
			require.LessOrEqual(t, r.Rows[i].Active, play.MaxActive+1, address)
		}
	}
	require.Contains(t, run(t, extreme[0], 0).Cut, "calls and attempts")
	require.Contains(t, run(t, extreme[1], 0).Cut, "at a time")
}

// A run that nobody wants any more ends at once: with what is under way, and nothing else.
func TestARunCanBeGivenUp(t *testing.T) {
	for _, address := range []string{"", "rate=400&slots=5&queue=1000&a.retry=1&a.attempts=8&a.delay=5000&a.budget=0&t=60u", "load=1&clients=300&think=5000&a.bulkhead=1&a.atonce=1&a.waiting=500&a.queue.ms=5000"} {
		asked := 0
		r := play.Decode(address).Run(0, play.Watcher{Wanted: func() bool { asked++; return asked < 10 }})
		require.NoError(t, r.Err, address)
		require.Equal(t, 10, asked, "nobody asks any more")
		require.NotEmpty(t, r.Cut)
		require.Less(t, len(r.Rows), play.Seconds)
	}
}

func TestWhatComposeRefuses(t *testing.T) {
	r := run(t, "a.total=1&a.total.ms=100&a.attempt=1&a.attempt.ms=200", 0)
	require.Contains(t, r.Refused, "attempt")
	require.Zero(t, r.Calls)
	require.Empty(t, r.Rows)
}

// Where there is theory, what is measured is near it.
func TestTheory(t *testing.T) {
	for _, address := range []string{
		"slots=0&rate=200&a.retry=1&a.budget=0&t=60h", // retries
		"slots=0&rate=200&shape=2&a.hedge=1&a.after=100&a.hedge.budget=0",
		"slots=10&rate=200&queue=0", // Erlang B
		"slots=10&rate=150&queue=1000",
		"slots=0&rate=200&shape=0",
	} {
		s := play.Decode(address)
		theory, r := s.Theory(0), run(t, address, 0)
		require.NotEmpty(t, theory.Formulas, address)
		n := float64(r.Calls)
		require.InDelta(t, theory.Succeeded[30]/s.Rate, float64(r.Succeeded)/n, 4/math.Sqrt(n), address)
		require.InDelta(t, theory.Attempts[30]/s.Rate, float64(r.Attempts)/n, 6/math.Sqrt(n), address)
		if !math.IsNaN(theory.P50) {
			require.InEpsilon(t, theory.P50, r.P50, .1, address)
			require.InEpsilon(t, theory.P99, r.P99, .2, address)
		}
	}
	none := play.Decode("a.breaker=1&slots=0&load=1").Theory(0)
	require.True(t, math.IsNaN(none.Succeeded[0]) && math.IsNaN(none.P50) && math.IsNaN(none.Capacity))
}
