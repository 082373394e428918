package main

import (
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// newPipeline returns what the client sends its requests through: as many attempts as the loop, and the same delays before
// jitter.
func newPipeline(listen policy.Observer, changed func(breaker.Change)) *resilience.Pipeline {
	return resilience.Compose(
		timeout.Total(3*time.Second),
		retry.New(retry.Attempts(attempts), retry.Exponential(firstDelay, time.Second)),
		breaker.New(
			breaker.Name("users"),
			breaker.FailureRate(0.5, 50), // at least 50 calls, and half of them failed
			breaker.CountWindow(100),     // of the last 100
			breaker.OpenFor(500*time.Millisecond),
			breaker.OnChange(changed),
		),
		bulkhead.New(workers, bulkhead.Queue(100, 100*time.Millisecond)), // more would only queue up at the server
		timeout.PerAttempt(limit),
		resilience.Observe(listen),
	)
}
