package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var (
	errMalformed = errors.New("malformed message")
	errShutdown  = errors.New("shutting down")
)

// consumer hands messages of a queue to a dependency.
type consumer struct {
	queue   *queue
	backend *resilience.Pipeline
	deliver func(context.Context, message) error
}

const (
	maxDeliveries = 5 // that failed to the end; in an outage the breaker opens first
	maxCutShort   = 50
	cutShortDelay = 2 * time.Minute // times 50: longer than an outage that a message is to survive
)

func newConsumer(q *queue, deliver func(context.Context, message) error) *consumer {
	return &consumer{queue: q, deliver: deliver, backend: resilience.Compose(
		resilience.Name("warehouse"),
		resilience.Classify(classOf),
		timeout.Total(10*time.Second), // below the time for which the queue hides a message
		retry.New(),
		breaker.New(breaker.FailureRate(0.5, 10), breaker.CountWindow(20), breaker.OpenFor(time.Second)),
		timeout.PerAttempt(time.Second),
	)}
}

// classOf says that a malformed message says nothing about the dependency.
func classOf(err error) policy.Class {
	if errors.Is(err, errMalformed) {
		return policy.Expected
	}
	return policy.Unclassified
}

// Run consumes with a number of workers until stop ends. Then messages in flight have the time of
// grace to end; what is left is cancelled and given back. Run returns when every worker has ended,
// with errShutdown if it had to cancel any.
func (c *consumer) Run(stop context.Context, workers int, grace time.Duration) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(stop))
	defer cancel(nil)

	var all sync.WaitGroup
	for range workers {
		all.Go(func() { c.consume(stop, work) })
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()

	<-stop.Done()
	select {
	case <-ended:
		return nil
	case <-time.After(grace):
		cancel(errShutdown)
		<-ended
		return errShutdown
	}
}

// consume is one worker. It receives under stop, and handles under work, which outlives it.
func (c *consumer) consume(stop, work context.Context) {
	for c.waitUntilReady(stop) == nil {
		m, err := c.queue.Receive(stop)
		if err != nil {
			return
		}
		c.handle(work, m)
	}
}

// waitUntilReady returns when the dependency may be called. While the circuit is open, no message is taken from the queue:
// it would only be given back, and other consumers may fare better.
func (c *consumer) waitUntilReady(stop context.Context) error {
	for {
		err := c.backend.Ready(stop)
		if err == nil {
			return stop.Err()
		}
		wait, ok := policy.RetryAfter(err)
		if !ok {
			wait = 100 * time.Millisecond // a probe is on its way
		}
		select {
		case <-time.After(wait):
		case <-stop.Done():
			return stop.Err()
		}
	}
}

// handle passes a message on, and tells the queue the outcome.
func (c *consumer) handle(work context.Context, m message) {
	err := c.backend.Run(work, func(ctx context.Context) error { return c.deliver(ctx, m) })
	refused := errors.Is(err, policy.ErrRejected)
	_, tried := errors.AsType[*retry.Error](err)
	switch {
	case err == nil:
		c.queue.Acknowledge(m)
	case errors.Is(err, errMalformed):
		c.queue.SetAside(m)
	case work.Err() != nil: // cut off by the shutdown
		c.queue.GiveBack(m, 0)
	case refused && !tried: // not its fault; never at once, or the workers spin
		wait, ok := policy.RetryAfter(err)
		if !ok {
			wait = time.Second
		}
		c.queue.GiveBack(m, wait)
	case refused && m.cutShort+1 < maxCutShort: // it met an outage, or opened the circuit itself
		m.cutShort++
		c.queue.GiveBack(m, cutShortDelay)
	case !refused && m.deliveries+1 < maxDeliveries: // it failed for now
		m.deliveries++
		c.queue.RetryLater(m, 30*time.Second)
	default:
		c.queue.SetAside(m)
	}
}
