package scenario

import (
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
)

// BenchmarkFourPolicies measures simulated calls through retry, breaker, rate limiter and bulkhead. A million of them
// should take at most 10 s on one core.
func BenchmarkFourPolicies(b *testing.B) {
	b.ReportAllocs()
	_, err := sim.Run(1, func(w *sim.World) {
		server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond), Fails: func(time.Duration) float64 { return .05 }}
		pipeline := resilience.Compose(retry.New(retry.Rand(w.Source("jitter"))), breaker.New(breaker.FailureRate(.5, 20)),
			ratelimit.New(2000, 100), bulkhead.New(100))
		w.Open(sim.Poisson(1000), time.Duration(b.N)*time.Millisecond, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
	})
	if err != nil {
		b.Fatal(err)
	}
}
