package breaker

import (
	"time"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// core is the state machine: what a breaker knows, and the rules by which one event at a time changes it. It has no
// locks, no atomics, no clock and calls no function of a user, so that every sequence of events can be explored.
type core struct {
	phase

	changes  uint64       // of the state
	reason   Reason       // of the last change
	cause    policy.Cause // the same with its numbers
	openedBy error        // the last failure that opened the breaker, nil if it had no error

	// good is the number of good outcomes in this generation: of successes that were not slow. Most of them are counted without
	// the core, which is told the number before each event.
	good     int64
	streak   streak
	window   window   // nil when no rule needs it
	lastSeen evidence // what the trip rules saw last when this generation began, for snapshots

	halfOpen     halfOpen
	rampInFlight int // attempts in flight that were admitted while ramping

	ledger        ledger // since the breaker was made; without the good outcomes of this generation
	ledgerAtEntry ledger // the ledger when this generation began
}

// streak is the failures in a row, and the successes in a row after them. Most successes are seen only as the growth of
// good, so that a success need not reset anything: after 3 failures when good is 10 the streak is {failures: 3, good: 10}; if
// good is 12 at the next failure, 2 successes were in between, and the streak is {failures: 1, good: 12}.
type streak struct {
	failures int   // up to the last failure
	good     int64 // as it was at the last failure
	others   int64 // successes since then that are not in good: slow ones, and those of probes
}

// successes returns how many there were since the last failure.
func (s streak) successes(good int64) int64 { return good - s.good + s.others }

// next returns the streak after an outcome that is neither neutral nor in good.
func (s streak) next(failed bool, good int64) streak {
	if !failed {
		s.others++
		return s
	}
	if s.successes(good) > 0 {
		s.failures = 0
	}
	return streak{failures: s.failures + 1, good: good}
}

// evidence is what the trip rules see.
type evidence struct {
	failures  int   // in a row
	successes int64 // in a row
	window    windowCounts
}

// ledger says what became of every attempt that was admitted.
type ledger struct{ requests, successes, failures, neutral, stale uint64 }

// count counts an outcome; its request is counted apart.
func (l *ledger) count(verdict policy.Verdict) {
	switch verdict {
	case policy.Success:
		l.successes++
	case policy.Failure:
		l.failures++
	default:
		l.neutral++
	}
}

// The number of a ticket says what the attempt is. A probe has its own number, from 1.
const (
	ticketFree          = 0  // admitted without conditions
	ticketRamping       = -1 // admitted while ramping
	ticketVoid          = -2 // not counted, whatever becomes of it: only a shadow admitted it, or it was stale
	ticketReturned      = -3 // the success of the operation was counted, and its result stays open
	ticketReturnedProbe = -4 // the same of a probe
)

func isProbe(number int64) bool { return number > 0 }

// newCore returns a closed breaker.
func newCore(r *rules, shadow bool, now time.Duration) *core {
	return &core{phase: phase{generation: 1, shadow: shadow, since: now, rules: r}, window: r.newWindow(now, 0)}
}

// admit decides about an attempt, and returns the number of its ticket. An open breaker whose open time is over becomes
// half-open here. luck, in [0, 1), decides while ramping; the smaller, the luckier.
func (c *core) admit(now time.Duration, luck float64) (number int64, admitted bool) {
	if c.state == Open && c.stateAt(now) == HalfOpen {
		c.enter(HalfOpen, ReasonOpenTimeOver, policy.Cause{Rule: "OpenFor"}, now)
	}
	switch c.state {
	case HalfOpen:
		return c.admitProbe(now)
	case Closed:
		return c.admitRamp(now, luck)
	case ForcedClosed:
		return ticketFree, true
	}
	return ticketVoid, false
}

// admitProbe admits an attempt as a probe, if there is a slot.
func (c *core) admitProbe(now time.Duration) (number int64, admitted bool) {
	number, displaced := c.halfOpen.admit(c.rules, now)
	if number == 0 {
		return ticketVoid, false
	}
	c.ledger.stale += displaced
	c.ledger.requests++
	return number, true
}

// admitRamp admits as many at once as there may be probes, whatever the load, and of the rest a share that grows with time.
func (c *core) admitRamp(now time.Duration, luck float64) (number int64, admitted bool) {
	if !c.ramping(now) { // the ramp is over: recovered
		c.until, c.openings = 0, 0
		return ticketFree, true
	}
	share := float64(now-c.since) / float64(c.until-c.since)
	if c.rampInFlight >= c.rules.probes && luck >= share {
		return ticketVoid, false
	}
	c.rampInFlight++
	return ticketRamping, true
}

// refuses reports whether admit would refuse for sure.
func (c *core) refuses(now time.Duration) bool {
	return c.refusesAll(now) || c.state == HalfOpen && c.halfOpen.full(c.rules, now)
}

// settle is told how an attempt ended. It reports whether the outcome was counted: a stale one is not.
func (c *core) settle(now time.Duration, s settlement) bool {
	switch {
	case s.number == ticketVoid:
		return false
	case isProbe(s.number):
		return c.settleProbe(now, s)
	case !c.isCurrent(s):
		c.ledger.requests++
		c.ledger.stale++
		return false
	case s.number == ticketRamping:
		c.rampInFlight--
	}
	c.settleNonProbe(now, s)
	return true
}

// isCurrent reports whether an outcome counts in this generation. The failure of a result that a probe left open also counts in
// the next generation, if the probes brought that about.
func (c *core) isCurrent(s settlement) bool {
	if s.number == ticketReturnedProbe && s.generation+1 == c.generation {
		return c.reason.byProbes()
	}
	return s.generation == c.generation
}

// settleProbe settles a probe. One that holds no slot any more changes nothing: it is in the ledger already.
func (c *core) settleProbe(now time.Duration, s settlement) bool {
	var holds bool
	if s.throttledFor > 0 {
		holds = c.halfOpen.throttle(s.number, now, s.throttledFor)
	} else {
		holds = c.halfOpen.end(s.number)
	}
	if !holds {
		return false
	}
	c.ledger.count(s.verdict)
	if s.verdict != policy.Neutral {
		c.countProbe(now, s)
	}
	return true
}

// countProbe counts what a half-open breaker learns from an outcome that is not neutral, and closes or opens it if that is
// enough.
func (c *core) countProbe(now time.Duration, s settlement) {
	h := &c.halfOpen
	c.streak = c.streak.next(s.failed(), c.good)
	if !s.bad() {
		h.passed++
		if h.passed >= c.rules.successes {
			c.close(ReasonProbesSucceeded, policy.Cause{Rule: "Successes"}, now)
		}
		return
	}
	h.failed++
	if h.failed <= c.rules.failedProbes {
		return
	}
	reason, what := ReasonProbeFailed, "failed"
	if !s.failed() {
		reason, what = ReasonProbeSlow, "were slow"
	}
	c.open(reason, policy.Cause{
		Rule: "FailedProbes", What: what, Bad: int64(h.failed), Calls: int64(h.failed + h.passed),
		Limit: float64(c.rules.failedProbes + 1), Err: s.err,
	}, now, s.openFor)
}

// settleNonProbe settles an attempt that was not admitted as a probe, or the failure of a result that stayed open.
func (c *core) settleNonProbe(now time.Duration, s settlement) {
	if c.window != nil && c.state == Closed {
		// Also for a good outcome, and before it is counted: the first one of a new bucket is settled here, so that the bucket
		// begins without it. The era counts those that follow.
		c.window.advance(now, c.good)
	}
	if s.good() {
		c.good++ // total adds it to the ledger
		return
	}
	c.ledger.requests++
	c.ledger.count(s.verdict)
	switch {
	case s.verdict == policy.Neutral:
	case c.state == HalfOpen:
		c.countProbe(now, s)
	case c.state == Closed:
		c.countBad(now, s)
	}
}

// countBad counts an outcome that failed or was slow, and opens the breaker if a trip rule says so.
func (c *core) countBad(now time.Duration, s settlement) {
	c.streak = c.streak.next(s.failed(), c.good)
	if c.window != nil {
		c.window.record(now, c.good, s.failed(), s.slow)
	}
	if reason, cause := c.rules.trip(c.seen(now), s.failed(), s.slow); reason != ReasonNone {
		cause.Err = s.err
		c.open(reason, cause, now, s.openFor)
	}
}

// seen returns what the trip rules see now; while not closed, what they saw last. The successes of a half-open breaker are
// those of its probes.
func (c *core) seen(now time.Duration) evidence {
	e := c.lastSeen
	switch c.state {
	case HalfOpen:
		e.successes = c.streak.successes(c.good)
	case Closed:
		e = evidence{successes: c.streak.successes(c.good)}
		if e.successes == 0 {
			e.failures = c.streak.failures
		}
		if c.window != nil {
			e.window = c.window.counts(now, c.good)
		}
	}
	return e
}

// open opens the breaker, for openFor from now.
func (c *core) open(reason Reason, cause policy.Cause, now, openFor time.Duration) {
	c.openings = c.nextOpening(now)
	c.openedBy = cause.Err
	c.enter(Open, reason, cause, now)
	c.until = saturate.Add(now, openFor)
}

// close closes the breaker, with a ramp if there is one.
func (c *core) close(reason Reason, cause policy.Cause, now time.Duration) {
	c.enter(Closed, reason, cause, now)
	if c.rules.ramp > 0 {
		c.until = saturate.Add(now, c.rules.ramp)
	} else {
		c.openings = 0
	}
}

// force is a change of state by hand.
func (c *core) force(to State, reason Reason, cause policy.Cause, now time.Duration) {
	c.openings = 0
	c.enter(to, reason, cause, now)
}

// enter enters a state, and a new generation.
func (c *core) enter(to State, reason Reason, cause policy.Cause, now time.Duration) {
	if to != c.state {
		c.changes++
	}
	// What stays of the generation that ends.
	c.lastSeen = c.seen(now)
	c.ledger = c.total()
	c.ledger.stale += c.halfOpen.forget()
	// The one that begins.
	c.generation++
	c.reason, c.cause = reason, cause
	c.state, c.since, c.until = to, now, 0
	c.ledgerAtEntry = c.ledger
	c.good, c.streak, c.rampInFlight = 0, streak{}, 0
	if to == Closed && c.window != nil {
		c.window.begin(now, 0)
	}
}

// total returns the ledger with the good outcomes of this generation.
func (c *core) total() ledger {
	l := c.ledger
	l.requests += uint64(c.good)
	l.successes += uint64(c.good)
	return l
}

// addLate adds good outcomes of a generation that were counted while the core was at an event, which may have ended it.
func (c *core) addLate(good int64, generation uint64) {
	if generation == c.generation {
		c.good += good
		return
	}
	for _, l := range []*ledger{&c.ledger, &c.ledgerAtEntry} { // none of them belongs to the new generation
		l.requests += uint64(good)
		l.successes += uint64(good)
	}
}

// reconfigure changes the rules and the mode. State and generation stay, and as much of the counts as the new rules can
// hold; what began keeps its end.
func (c *core) reconfigure(r *rules, shadow bool, now time.Duration) {
	if c.state == Closed {
		c.window = r.converted(c.window, now, c.good)
	} else { // it begins anew when the breaker closes
		c.window = r.newWindow(now, c.good)
	}
	c.rules, c.shadow = r, shadow
}
