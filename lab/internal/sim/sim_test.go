package sim_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	resilience "github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/timeout"
)

func run(t *testing.T, seed uint64, model func(*sim.World)) sim.Record {
	t.Helper()
	record, err := sim.Run(seed, model)
	require.NoError(t, err)
	return record
}

func TestActorsTakeTurnsInOrder(t *testing.T) {
	var order []int
	record := run(t, 1, func(w *sim.World) {
		for range 100 {
			w.Go(func(a *sim.Actor) {
				order = append(order, a.Number())
				for range 3 {
					require.NoError(t, a.Sleep(time.Second)) // all wake at the same instant
					order = append(order, a.Number())
				}
			})
		}
	})
	require.Len(t, order, 400)
	for i, number := range order {
		require.Equal(t, i%100+1, number)
	}
	require.Equal(t, 3*time.Second, record.Elapsed)
}

func TestAPolicysTimerComesBeforeTheModel(t *testing.T) {
	// The answer and the timeout fall on the same nanosecond: the timeout wins, always.
	for range 20 {
		run(t, 1, func(w *sim.World) {
			server := &sim.Server{Service: sim.Fixed(time.Second)}
			pipeline := resilience.Compose(timeout.PerAttempt(time.Second))
			tally := w.Open(sim.Regular(10), 10*time.Second, func(a *sim.Actor) error {
				return pipeline.Run(a, server.Call)
			})
			tally.Ended = func(_, took time.Duration, err error) {
				if !errors.Is(err, timeout.ErrTimeout) || took != time.Second {
					panic(err)
				}
			}
		})
	}
}

func TestServerWorksForCallersWhoHaveGone(t *testing.T) {
	for _, skip := range []bool{false, true} {
		var server *sim.Server
		var tally *sim.Tally
		run(t, 1, func(w *sim.World) {
			server = &sim.Server{Service: sim.Fixed(time.Second), Slots: 1, Queue: sim.Unbounded, SkipGone: skip}
			pipeline := resilience.Compose(timeout.PerAttempt(1500 * time.Millisecond))
			w.At(time.Minute, func() {}) // until all work is done
			tally = w.Open(sim.Regular(2), 5*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		})
		require.Equal(t, 9, tally.Calls)
		if skip {
			require.Less(t, tally.Succeeded+server.Stale, 9, "some are not begun")
		} else {
			require.Equal(t, 9, tally.Succeeded+server.Stale, "everything is worked on")
		}
	}
}

func TestFrozenServer(t *testing.T) {
	var ends []time.Duration
	run(t, 1, func(w *sim.World) {
		server := &sim.Server{Service: sim.Fixed(2 * time.Second), Slots: 1, Queue: sim.Unbounded, FrozenFrom: 3 * time.Second, FrozenUntil: 10 * time.Second}
		for range 3 {
			w.Go(func(a *sim.Actor) {
				require.NoError(t, server.Call(a))
				ends = append(ends, a.Now())
			})
		}
	})
	require.Equal(t, []time.Duration{2 * time.Second, 11 * time.Second, 13 * time.Second}, ends)
}

func TestQueueOrderAndBound(t *testing.T) {
	for _, lastFirst := range []bool{false, true} {
		var served []int
		refused := 0
		run(t, 1, func(w *sim.World) {
			server := &sim.Server{Service: sim.Fixed(time.Second), Slots: 1, Queue: 3, LastFirst: lastFirst}
			for range 5 {
				w.Go(func(a *sim.Actor) {
					if err := server.Call(a); errors.Is(err, sim.ErrFull) {
						refused++
						return
					}
					served = append(served, a.Number())
				})
			}
		})
		require.Equal(t, 1, refused)
		if lastFirst {
			require.Equal(t, []int{1, 4, 3, 2}, served)
		} else {
			require.Equal(t, []int{1, 2, 3, 4}, served)
		}
	}
}

// queue measures a queue: the share of calls that waited, and the mean wait, after a start that is not counted.
func queue(t *testing.T, calls float64, server *sim.Server, perSecond float64, service sim.Distribution, seed uint64) (waited, wait, lost float64) {
	var counted, waits int
	var sum float64
	horizon := time.Duration(calls/perSecond) * time.Second
	var tally *sim.Tally
	server.Service = service
	run(t, seed, func(w *sim.World) {
		tally = w.Open(sim.Poisson(perSecond), horizon, func(a *sim.Actor) error {
			came, busy := a.Now(), server.Busy()
			err := server.Call(a)
			if came > horizon/20 && err == nil {
				counted++
				if busy == server.Slots {
					waits++
				}
				sum += (a.Now() - came).Seconds()
			}
			return err
		})
	})
	return float64(waits) / float64(counted), sum/float64(counted) - 1, float64(tally.Failed) / float64(tally.Calls)
}

func TestQueueingTheory(t *testing.T) {
	if raceEnabled {
		t.Skip("is about numbers, and takes minutes under the race detector")
	}
	const whole = 50_000 // calls
	calls := testsize.Pick(whole/25.0, whole)
	within := func(tolerance float64) float64 { return tolerance * math.Sqrt(whole/calls) } // so many standard errors
	mean := func(f func(seed uint64) (float64, float64, float64)) (a, b, c float64) {
		const seeds = 4
		for seed := range uint64(seeds) {
			x, y, z := f(seed)
			a, b, c = a+x/seeds, b+y/seeds, c+z/seeds
		}
		return a, b, c
	}
	for _, c := range []struct {
		c int
		a float64
	}{{1, .8}, {2, 1.6}, {10, 8}} {
		waited, wait, _ := mean(func(seed uint64) (float64, float64, float64) {
			return queue(t, calls, &sim.Server{Slots: c.c, Queue: sim.Unbounded}, c.a, sim.Exponential(time.Second), seed)
		})
		require.InEpsilon(t, theory.ErlangC(c.c, c.a), waited, within(.03), "M/M/%d", c.c)
		require.InEpsilon(t, theory.MeanWait(c.c, c.a), wait, within(.08), "M/M/%d", c.c)
	}
	_, wait, _ := mean(func(seed uint64) (float64, float64, float64) {
		return queue(t, calls, &sim.Server{Slots: 1, Queue: sim.Unbounded}, .8, sim.Fixed(time.Second), seed)
	})
	require.InEpsilon(t, theory.DeterministicWait(.8, 1), wait, within(.05), "M/D/1")
	for name, service := range map[string]sim.Distribution{
		"exponential": sim.Exponential(time.Second),
		"fixed":       sim.Fixed(time.Second),
		"lognormal":   sim.Lognormal(duration(math.Exp(-.5)), 1),
	} {
		_, _, lost := mean(func(seed uint64) (float64, float64, float64) {
			return queue(t, calls, &sim.Server{Slots: 10}, 8, service, seed)
		})
		require.InEpsilon(t, theory.ErlangB(10, 8), lost, within(.03), "Erlang B, %s service", name)
	}
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * 1e9) }

func TestDistributions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mean := func(d sim.Distribution) float64 {
		sum := 0.0
		for range 200_000 {
			sum += d(r).Seconds()
		}
		return sum / 200_000
	}
	require.InEpsilon(t, 3, mean(sim.Exponential(3*time.Second)), .01)
	require.InEpsilon(t, 1.5, mean(sim.Uniform(time.Second, 2*time.Second)), .01)
	require.InEpsilon(t, math.Exp(.125), mean(sim.Lognormal(time.Second, .5)), .01)
	require.InEpsilon(t, 5, mean(sim.Normal(5*time.Second, time.Second)), .01)
	require.InEpsilon(t, 1.9, mean(sim.Either(.1, sim.Fixed(10*time.Second), sim.Fixed(time.Second))), .02)
	require.InEpsilon(t, 3, mean(sim.Sum(sim.Fixed(time.Second), sim.Fixed(2*time.Second))), 1e-9)
}

func TestVaryingArrivals(t *testing.T) {
	var calm, storm int
	run(t, 1, func(w *sim.World) {
		rate := func(at time.Duration) float64 {
			if at >= 100*time.Second {
				return 80
			}
			return 40
		}
		w.Open(sim.Varying(80, rate), 200*time.Second, func(a *sim.Actor) error {
			if a.Now() < 100*time.Second {
				calm++
			} else {
				storm++
			}
			return nil
		})
	})
	require.InDelta(t, 4000, calm, 4*math.Sqrt(4000))
	require.InDelta(t, 8000, storm, 4*math.Sqrt(8000))
}

// crowd is a model with as many ties as possible: everything is on a grid of milliseconds, with timeouts that come at
// the same instants, attempts in parallel, and one random source for all.
func crowd(w *sim.World) {
	luck := w.Rand("luck")
	server := &sim.Server{Slots: 5, Queue: 40, Service: func(*rand.Rand) time.Duration {
		return time.Duration(luck.IntN(20)) * time.Millisecond
	}}
	pipeline := resilience.Compose(timeout.PerAttempt(20 * time.Millisecond))
	tally := w.Tally()
	for range 300 {
		w.Go(func(a *sim.Actor) {
			for range 20 {
				_ = tally.Call(a, func(a *sim.Actor) error {
					return pipeline.Run(a, func(ctx context.Context) error { return race(ctx, server.Call) })
				})
				_ = a.Sleep(time.Duration(luck.IntN(30)) * time.Millisecond)
			}
		})
	}
}

// race starts a second attempt after 5 ms, takes the first answer and cancels the other one: a hedge.
func race(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error)
	start := func() { go func() { results <- call(ctx) }() }
	start()
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		start()
	case err := <-results:
		return err
	}
	err := <-results
	cancel()
	<-results
	return err
}

func TestSameSeedSameWorld(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	first := run(t, 7, crowd)
	require.Greater(t, first.Events, int64(5_000))
	for _, procs := range []int{1, 2, 4} {
		runtime.GOMAXPROCS(procs)
		for range testsize.Pick(1, 3) {
			require.Equal(t, first, run(t, 7, crowd), "GOMAXPROCS %d", procs)
		}
	}
	require.NotEqual(t, first.Hash, run(t, 8, crowd).Hash)
}

func TestProblemsAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		model func(*sim.World)
		want  string
	}{
		"a panic in the model":   {func(*sim.World) { panic("boom") }, "boom"},
		"a panic in an actor":    {func(w *sim.World) { w.Go(func(*sim.Actor) { panic("boom") }) }, "actor: panic: boom"},
		"an exit in an actor":    {func(w *sim.World) { w.Go(func(*sim.Actor) { runtime.Goexit() }) }, "runtime.Goexit"},
		"an actor that is stuck": {func(w *sim.World) { w.Go(func(*sim.Actor) { select {} }) }, "deadlock"},
		"a goroutine left over": {func(w *sim.World) {
			w.Go(func(*sim.Actor) { go func() { select {} }() })
		}, "blocked goroutines remain"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sim.Run(1, c.model)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func BenchmarkOpenCalls(b *testing.B) {
	b.ReportAllocs()
	_, err := sim.Run(1, func(w *sim.World) {
		server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond)}
		pipeline := resilience.Compose()
		w.Open(sim.Regular(1000), time.Duration(b.N)*time.Millisecond, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
	})
	if err != nil {
		b.Fatal(err)
	}
}

// At one instant a departure comes before an arrival: the slot that is given back is there for the call that comes.
func TestDeparturesComeBeforeArrivals(t *testing.T) {
	var tally *sim.Tally
	run(t, 1, func(w *sim.World) {
		server := &sim.Server{Service: sim.Fixed(100 * time.Millisecond), Slots: 1}
		pipeline := sim.Compose(bulkhead.New(1))
		tally = w.Open(sim.Regular(10), 10*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
	})
	require.Equal(t, 99, tally.Succeeded, "each comes as the one before it leaves")
	require.Zero(t, tally.Rejected+tally.Failed)
}

// With such arrivals a world would never end.
func TestArrivalsThatCannotBe(t *testing.T) {
	for _, rate := range []float64{-5, math.NaN(), math.Inf(1), 2e9} {
		for name, arrivals := range map[string]func(){
			"Poisson": func() { sim.Poisson(rate) },
			"Varying": func() { sim.Varying(rate, func(time.Duration) float64 { return 1 }) },
			"Regular": func() { sim.Regular(rate) },
		} {
			require.Panics(t, arrivals, "%s(%v)", name, rate)
		}
	}
}

// A rate that falls to 0 for good, or for longer than a while, ends the calls, and not the patience of the reader.
func TestArrivalsThatStop(t *testing.T) {
	calls := func(peak float64, horizon time.Duration, rate func(time.Duration) float64) (n int) {
		run(t, 1, func(w *sim.World) {
			w.Open(sim.Varying(peak, rate), horizon, func(*sim.Actor) error { n++; return nil })
		})
		return n
	}
	for10s := func(at time.Duration) float64 { return max(0, 1000*(10-at.Seconds())/10) }
	require.InDelta(t, 5000, calls(1000, time.Minute, for10s), 4*math.Sqrt(5000))
	again := func(at time.Duration) float64 { // after more candidates than are looked at without a pause
		if at > 1200*time.Millisecond {
			return 1e6
		}
		return 0
	}
	require.InDelta(t, 1000, calls(1e6, 1201*time.Millisecond, again), 4*math.Sqrt(1000))
}

// At a rate of 0 a world has no calls, and an end.
func TestNothingArrives(t *testing.T) {
	for name, arrivals := range map[string]sim.Arrivals{
		"Poisson":             sim.Poisson(0),
		"Regular":             sim.Regular(0),
		"Varying":             sim.Varying(0, func(time.Duration) float64 { return 0 }),
		"Varying, below that": sim.Varying(1e-300, func(time.Duration) float64 { return 0 }),
	} {
		var tally *sim.Tally
		_, err := sim.Run(1, func(w *sim.World) {
			tally = w.Open(arrivals, time.Hour, func(*sim.Actor) error { return nil })
		})
		require.NoError(t, err, name)
		require.Zero(t, tally.Calls, name)
	}
}
