package bulkhead

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/match"
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
// The mean latency of the attempts is taken over windows of at least 10 attempts and 100 ms; algorithm turns it into the
// next limit. What an attempt says depends on how it ended, and on the class of its error ([Classify]):
//
//   - A success is a latency, and so is an error that is [policy.Permanent] or [policy.Expected]: the dependency has
//     answered. The latency of a result that stays open ends when the operation returns.
//   - A [policy.Transient] or [policy.Throttled] error, a deadline, a panic and [runtime.Goexit] mean overload: the limit
//     is lowered at once.
//   - An attempt says nothing if the caller cancelled it, a layer inside refused it, its error is [policy.Ignored], or it
//     was admitted before the limit was last lowered: it still shows what has been reacted to.
//
// The limit does not grow while less than half of it is used: unused capacity has not been tested.
//
// It takes the options of [New] except [Shadow], and [Classify]. Adaptive panics with a [*policy.ConfigError] that names every
// problem of the configuration; see [ValidateAdaptive].
func Adaptive(algorithm Algorithm, floor, ceiling int, options ...Option) *Bulkhead {
	c, problems := configureAdaptive(algorithm, floor, ceiling, options)
	return build(c, problems, &adaptive{
		clock:      stopwatch.Start(),
		controller: algorithm.start(),
		limit:      float64(floor),
	})
}

// ReconfigureAdaptive is [Bulkhead.Reconfigure] for a bulkhead made with [Adaptive]. The zero Algorithm keeps the present
// one. What the algorithm has learned stays unless another one, or another target, is given. The limit stays, as far as
// floor and ceiling allow. The function of [Classify] stays unless another is given.
func (b *Bulkhead) ReconfigureAdaptive(algorithm Algorithm, floor, ceiling int, options ...Option) error {
	if present := b.current().algorithm; algorithm == (Algorithm{}) {
		algorithm = present
	}
	c, problems := configureAdaptive(algorithm, floor, ceiling, options)
	if b.adaptive == nil {
		problems.Add("floor %d: the limit of this bulkhead is fixed; use Reconfigure", floor)
	}
	return b.reconfigure(c, problems)
}

// adaptive is what an adaptive bulkhead has in addition.
type adaptive struct {
	clock stopwatch.Stopwatch
	epoch atomic.Uint64 // how often the limit was lowered

	mu         sync.Mutex // taken before the bulkhead's
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

// measured is the start in the ticket of an attempt whose latency is known already.
const measured = time.Duration(-1)

// end takes in an attempt that has ended, with inFlight slots taken until then, and sets the limit of b.
func (a *adaptive) end(b *Bulkhead, ticket policy.Ticket, outcome policy.Outcome, inFlight int) {
	means := judge(outcome, b.current().classify)
	if means == nothing || means == answered && ticket.Start == measured {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ticket.Period != a.epoch.Load() {
		return
	}
	now := a.clock.Elapsed()
	w := &a.window
	w.inFlight = max(w.inFlight, inFlight)
	if means == answered {
		w.samples++
		w.total += max(0, now-ticket.Start)
		if w.samples < windowSamples || now >= w.begin && now-w.begin < windowLength {
			return
		}
	}
	s := sample{inFlight: w.inFlight, overload: means == overloaded}
	if w.samples > 0 {
		s.latency = w.total.Seconds() / float64(w.samples)
	}
	*w = window{begin: now}
	if before, after := a.set(a.controller.next(a.limit, s), b.current()); after != before {
		b.enter()
		defer b.leave()
		b.setLimit(after)
	}
}

// set sets the limit, as far as c allows, and returns the whole limit before and after.
func (a *adaptive) set(limit float64, c *config) (before, after int) {
	before = int(a.limit)
	a.limit = min(max(limit, float64(c.floor)), float64(c.ceiling))
	after = int(a.limit)
	if after < before {
		a.epoch.Add(1)
	}
	return before, after
}

// reconfigure makes before the configuration c, and returns the limit. a.mu must be held.
func (a *adaptive) reconfigure(before, c *config) (limit int) {
	if c.algorithm != before.algorithm {
		a.controller = c.algorithm.start()
	}
	_, limit = a.set(a.limit, c)
	return limit
}

// meaning is what the end of an attempt means for the limit.
type meaning int

const (
	nothing    meaning = iota
	answered           // its latency counts
	overloaded         // the limit is lowered
)

// judge says what the end of an attempt means.
func judge(outcome policy.Outcome, classify func(error) policy.Class) meaning {
	class := policy.Unclassified
	verdict := outcome.Verdict(func(error) policy.Class {
		class = outcome.ClassBy(classify)
		return class
	})
	switch {
	case verdict == policy.Neutral && class != policy.Throttled: // not called, cancelled, refused, or ignored
		return nothing
	case outcome.Succeeded():
		return answered
	case match.Is(outcome.Err, context.DeadlineExceeded):
		return overloaded
	case class == policy.Permanent || class == policy.Expected:
		return answered
	}
	return overloaded
}
