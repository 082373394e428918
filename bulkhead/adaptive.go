package bulkhead

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// The limit is looked at again when so many samples have come in, and so much time has passed.
const (
	windowSamples = 10
	windowLength  = 100 * time.Millisecond
)

// Adaptive returns a bulkhead whose limit follows the latency of the attempts, between floor and ceiling: it finds out
// how many in flight the dependency can bear, and notices when that changes. The limit begins at floor.
//
// The mean latency of the attempts that succeed is taken over windows of at least 10 attempts and 100 ms; algorithm
// turns it into the next limit. What says nothing about the capacity of the dependency is no sample:
//
//   - attempts that were cancelled by the caller, or refused further in;
//   - attempts that failed, since a fast error is no fast answer. But an attempt that ran into a deadline, and an
//     error that [OverloadIf] knows, mean overload: the limit is lowered at once;
//   - attempts that were admitted before the limit was last lowered: they still show what has been reacted to.
//
// The limit does not grow while less than half of it is used: unused capacity has not been tested.
//
// Options are those of [New]. Adaptive panics with a [*policy.ConfigError] when the configuration makes no sense; see
// [ValidateAdaptive].
func Adaptive(algorithm Algorithm, floor, ceiling int, options ...Option) *Bulkhead {
	c := configureAdaptive(algorithm, floor, ceiling, options)
	if err := c.problems.Err(); err != nil {
		panic(err)
	}
	b := build(c, floor)
	b.plain = false
	b.adaptive = &adaptive{
		name:       algorithm.name,
		floor:      floor,
		ceiling:    ceiling,
		overloadIf: c.overloadIf,
		clock:      stopwatch.Start(),
		controller: algorithm.start(),
		limit:      float64(floor),
	}
	return b
}

// ValidateAdaptive returns the [*policy.ConfigError] that [Adaptive] would panic with, or nil.
func ValidateAdaptive(algorithm Algorithm, floor, ceiling int, options ...Option) error {
	return configureAdaptive(algorithm, floor, ceiling, options).problems.Err()
}

func configureAdaptive(algorithm Algorithm, floor, ceiling int, options []Option) *config {
	c := configure(floor, options)
	c.problems.Problems = append(c.problems.Problems, algorithm.problems...)
	if algorithm.start == nil && algorithm.problems == nil {
		c.problems.Add("the algorithm is none: use AIMD, Gradient2 or Vegas")
	}
	if ceiling < floor || ceiling > MaxLimit {
		c.problems.Add("ceiling %d: must be from the floor, %d, to %d", ceiling, floor, MaxLimit)
	}
	return c
}

// OverloadIf tells an [Adaptive] bulkhead which errors of the operation mean that the dependency is overloaded, such as
// an HTTP 503. overload is called once for each attempt that failed, under no lock. Deadlines always mean overload.
// New refuses it: a fixed limit has no use for it.
func OverloadIf(overload func(error) bool) Option {
	return func(c *config) { c.judging, c.overloadIf = true, overload }
}

// adaptive is what an adaptive bulkhead has in addition.
type adaptive struct {
	name           string
	floor, ceiling int
	overloadIf     func(error) bool
	clock          stopwatch.Stopwatch
	epoch          atomic.Uint64 // how often the limit was lowered

	mu         sync.Mutex
	controller controller
	limit      float64 // the controller's, whose fraction matters for slow growth
	window     window
}

// window is what is known since the limit was last looked at.
type window struct {
	begin    time.Duration
	samples  int
	total    time.Duration
	inFlight int // the most
}

// sample is a window, as an algorithm sees it.
type sample struct {
	latency  float64 // the mean, in seconds; 0 if nothing succeeded
	inFlight int     // the most
	overload bool
}

// halfUsed reports whether the limit was used enough to grow.
func (s sample) halfUsed(limit float64) bool { return 2*float64(s.inFlight) >= limit }

// begin returns what the ticket of an attempt has to remember.
func (a *adaptive) begin() (epoch uint64, start time.Duration) {
	return a.epoch.Load(), a.clock.Elapsed()
}

// end takes in an attempt that has ended, with inFlight slots taken until then, and sets the limit of b.
func (a *adaptive) end(b *Bulkhead, ctx context.Context, ticket policy.Ticket, outcome policy.Outcome, inFlight int) {
	overload := false
	switch outcome.Verdict(a.judge) {
	case policy.Neutral:
		return
	case policy.Failure:
		overload = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ticket.Period != a.epoch.Load() {
		return
	}
	now := a.clock.Elapsed()
	w := &a.window
	w.inFlight = max(w.inFlight, inFlight)
	if !overload {
		w.samples++
		w.total += max(0, now-ticket.Start)
		if w.samples < windowSamples || now >= w.begin && now-w.begin < windowLength {
			return
		}
	}
	s := sample{inFlight: w.inFlight, overload: overload}
	if w.samples > 0 {
		s.latency = w.total.Seconds() / float64(w.samples)
	}
	*w = window{begin: now}
	before := int(a.limit)
	a.limit = min(max(a.controller.next(a.limit, s), float64(a.floor)), float64(a.ceiling))
	after := int(a.limit)
	if after < before {
		a.epoch.Add(1)
	}
	if after != before {
		b.resize(after) // takes the mutex of b, which never wants that of a
	}
}

// judge says what an error of the operation means for the limit: Failure for overload, Neutral for nothing.
func (a *adaptive) judge(err error) policy.Class {
	if errors.Is(err, context.DeadlineExceeded) || a.overloadIf != nil && a.overloadIf(err) {
		return policy.Transient
	}
	return policy.Ignored
}

func (a *adaptive) String() string { return fmt.Sprintf("%s %d to %d", a.name, a.floor, a.ceiling) }
