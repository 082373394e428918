package main

import (
	"context"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// pipeline calls the server through a pipeline: as many attempts as the loop, and the same delays before jitter.
type pipeline struct {
	client  *client
	backend *resilience.Pipeline
}

func newPipeline(client *client, listen policy.Observer, changed func(breaker.Change)) *pipeline {
	return &pipeline{client: client, backend: resilience.Compose(
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
	)}
}

func (p *pipeline) get(ctx context.Context, path string) (*reply, error) {
	send := func(ctx context.Context) (*reply, error) { return p.client.send(ctx, path) }
	return resilience.Do(ctx, p.backend, policy.Check(send, (*reply).failure))
}
