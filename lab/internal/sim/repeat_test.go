package sim_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// anyModel is a model with a pipeline of policies chosen by chance, on a server that is too small for its load. On a grid
// every time is a whole number of milliseconds, so that timers, answers and arrivals fall on the same instants.
func anyModel(seed uint64, grid bool) func(w *sim.World) {
	return func(w *sim.World) {
		r := rand.New(rand.NewPCG(seed, 99))
		ms := func(low, high int) time.Duration {
			if grid {
				return time.Duration(low+r.IntN(high-low)) * time.Millisecond
			}
			return time.Duration(low)*time.Millisecond + time.Duration(r.Int64N(int64(high-low)*1e6))
		}
		chance := func() bool { return r.IntN(3) > 0 }
		layers := []policy.Layer{
			bulkhead.New(1+r.IntN(4), bulkhead.Queue(1+r.IntN(20), ms(1, 60))),
			hedge.New(hedge.After(ms(2, 15)), hedge.Idempotent(), hedge.Extra(1+r.IntN(2)), hedge.Limit(.2, float64(1+r.IntN(10)))),
		}
		if chance() {
			delays := retry.Exponential(ms(1, 10), ms(20, 40))
			if grid {
				delays = retry.Constant(ms(1, 10))
			}
			options := []retry.Option{retry.Attempts(2 + r.IntN(3)), delays, retry.Rand(w.Source("retry"))}
			if grid {
				options = append(options, retry.NoJitter())
			}
			layers = append(layers, retry.New(options...))
		}
		if chance() {
			layers = append(layers, breaker.New(breaker.FailureRate(.5, 10), breaker.OpenFor(ms(20, 80)), breaker.Jitter(0)))
		}
		if chance() {
			layers = append(layers, ratelimit.New(float64(100+100*r.IntN(8)), 1+r.IntN(10), ratelimit.MaxWait(ms(5, 50))))
		}
		if chance() {
			layers = append(layers, throttle.New(throttle.Rand(w.Source("throttle"))))
		}
		if chance() {
			layers = append(layers, timeout.Total(ms(150, 300)))
		}
		if chance() {
			layers = append(layers, timeout.PerAttempt(ms(16, 100)))
		}
		luck := w.Rand("luck")
		service := func(*rand.Rand) time.Duration {
			if grid {
				return time.Duration(1+luck.IntN(20)) * time.Millisecond
			}
			return time.Duration(luck.Int64N(20e6))
		}
		server := &sim.Server{Service: service, Slots: 1 + r.IntN(6), Queue: 1 + r.IntN(30), Fails: func(time.Duration) float64 { return .2 }}
		pipeline := sim.Compose(layers...)
		arrivals := sim.Poisson(400)
		if grid {
			arrivals = sim.Regular(500)
		}
		call := func(a *sim.Actor) error { return pipeline.Run(a, server.Call) }
		w.Open(arrivals, 500*time.Millisecond, call)
		tally := w.Tally()
		for range 10 { // and clients who come again
			w.Go(func(a *sim.Actor) {
				for a.Now() < 500*time.Millisecond {
					_ = tally.Call(a, call)
					_ = a.Sleep(service(nil))
				}
			})
		}
	}
}

// What runs in a world repeats itself, whatever the pipeline: 20 runs of each of 50 pipelines give one hash each.
func TestEveryPipelineRepeatsItself(t *testing.T) {
	pipelines, runs := testsize.Pick(5, 50), testsize.Pick(4, 20)
	if raceEnabled {
		pipelines, runs = 4, 3
	}
	for _, grid := range []bool{true, false} {
		differ := 0
		for seed := range uint64(pipelines) {
			first := run(t, seed, anyModel(seed, grid))
			for range runs - 1 {
				if again := run(t, seed, anyModel(seed, grid)); again != first {
					differ++
					t.Logf("grid %t: pipeline %d differs: %v, %v", grid, seed, first, again)
					break
				}
			}
		}
		require.Zero(t, differ, "pipelines that do not repeat themselves, of %d, on a grid: %t", pipelines, grid)
	}
}
