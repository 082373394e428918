package breaker

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// settlement is how an attempt ended, as the core is told of it. An outcome is good, bad or neutral. Record makes it, as
// a failure; judge writes to it what the functions of the user say, before the lock is taken; tellCore adds under the lock
// whether the attempt was slow.
type settlement struct {
	generation   uint64         // record: of its ticket
	number       int64          // record: of its ticket
	verdict      policy.Verdict // judge
	slow         bool           // tellCore
	throttledFor time.Duration  // judge: for how long a throttled probe keeps its slot; 0 for all others
	err          error          // record: of the outcome, whatever the verdict
	openFor      time.Duration  // judge: for how long to open if this opens the breaker; until then, the time of the rules
}

// returned reports whether the success of the operation was counted before, so that only a failure of its result is news.
func (s settlement) returned() bool {
	return s.number == ticketReturned || s.number == ticketReturnedProbe
}

func (s settlement) failed() bool { return s.verdict == policy.Failure }
func (s settlement) good() bool   { return s.verdict == policy.Success && !s.slow }
func (s settlement) bad() bool    { return s.failed() || s.slow }

// record judges how an attempt ended and tells the core. It reports false if the outcome counts nowhere, as a stale
// one.
func (b *Breaker) record(ticket policy.Ticket, outcome policy.Outcome) (counted bool) {
	e := b.current()
	if ticket.Number == ticketVoid {
		return false
	}
	s := settlement{
		generation: ticket.Period, number: ticket.Number, verdict: policy.Failure, err: errorOf(outcome), openFor: e.rules.openFor,
	}
	judged := false
	defer func() {
		if !judged { // a function of the user has panicked: the attempt counts as what it is known to be by now
			b.tellCore(ticket, &s, nil)
		}
	}()
	b.judge(e, &s, outcome)
	judged = true

	if s.returned() && !s.failed() {
		return true // its success was counted before
	}
	tripWhen := e.config.tripWhen
	if tripWhen == nil {
		return b.tellCore(ticket, &s, nil)
	}
	var seen Snapshot
	counted = b.tellCore(ticket, &s, &seen)
	if filledIn := seen.Generation != 0; filledIn && tripWhen(seen) {
		b.tripAfter(seen.Generation, s)
	}
	return counted
}

// judge asks the functions of the user, before the lock is taken, what an outcome means, and for how long to open if it opens
// the breaker. What it has found out it writes to s at once, in case the next one panics.
func (b *Breaker) judge(e *era, s *settlement, outcome policy.Outcome) {
	var throttled bool
	s.verdict, throttled = e.config.verdict(outcome)
	if throttled && isProbe(s.number) {
		s.throttledFor = e.config.openTime.pause(outcome.Err)
	}
	// For how long to open draws from the source of chance and asks the error, so only where the answer may be used.
	mayBeBad := s.failed() || s.verdict == policy.Success && e.rules.slowAfter > 0
	mayCount := e.generation == s.generation || s.number == ticketReturnedProbe
	if mayBeBad && mayCount {
		s.openFor = e.config.openTime.of(e.nextOpening(b.clock.Elapsed()), outcome.Err)
	}
}

// verdict returns what an outcome means to this breaker, and whether that is so because the attempt was throttled.
func (c *config) verdict(outcome policy.Outcome) (verdict policy.Verdict, throttled bool) {
	verdict = outcome.Verdict(func(error) policy.Class { // called only if the class decides
		class := outcome.ClassBy(c.classify)
		throttled = class == policy.Throttled
		return class
	})
	return verdict, throttled
}

// tellCore tells the core of an outcome. After a bad one that has left the breaker closed it fills in seen, for TripWhen, unless
// that is nil. (A Snapshot that it returned would be an allocation.)
func (b *Breaker) tellCore(ticket policy.Ticket, s *settlement, seen *Snapshot) (counted bool) {
	b.update(func(c *core, now time.Duration) {
		s.slow = !s.returned() && s.verdict != policy.Neutral && c.slow(ticket.Start, now)
		counted = c.settle(now, *s)
		if seen != nil && counted && s.bad() && c.state == Closed {
			*seen = b.snapshot(now)
		}
	})
	return counted
}

// tripAfter opens the breaker because TripWhen said so after the outcome s, unless the generation that TripWhen saw is over.
func (b *Breaker) tripAfter(generation uint64, s settlement) {
	b.update(func(c *core, now time.Duration) {
		if c.generation == generation {
			c.open(ReasonTripWhen, policy.Cause{Rule: "TripWhen", Err: s.err}, now, s.openFor)
		}
	})
}
