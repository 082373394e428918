package breaker

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// core is the state machine: what a breaker knows, and the rules by which one event at a time changes it. It has no
// locks, no atomics, no clock and calls no function of a user, so that every sequence of events can be explored.
type core struct {
	phase

	changes uint64       // of the state
	reason  Reason       // of the last change
	cause   policy.Cause // the same with its numbers
	lastErr error        // of the last failure that opened the breaker

	// fastSuccesses is the number of fast successes in this generation. Most of them are counted without the core, which is told
	// the number before each event.
	fastSuccesses int64
	row           row
	window        window   // nil when no rule needs it
	evidence      evidence // what the trip rules saw when this generation began, for snapshots

	halfOpen halfOpen
	ramped   int // attempts in flight that were admitted while ramping

	ledger  ledger // since the breaker was made, without fastSuccesses
	entered ledger // the ledger when this generation began
}

// row is the failures, and after them the successes, that came last. Most successes are seen only as the growth of
// fastSuccesses, so that a success need not reset anything.
type row struct {
	failures int   // in a row, up to the last failure
	good     int64 // at the last failure
	others   int64 // successes since then that are not fast ones
}

// successes returns how many there were since the last failure.
func (r row) successes(good int64) int64 { return good - r.good + r.others }

// failed returns the row with one more failure.
func (r row) failed(good int64) row {
	if r.successes(good) > 0 {
		r.failures = 0
	}
	return row{failures: r.failures + 1, good: good}
}

// evidence is what the trip rules see.
type evidence struct {
	failures  int   // in a row
	successes int64 // in a row
	counts    counts
}

// ledger says what became of every attempt that was admitted.
type ledger struct{ requests, successes, failures, neutral, stale uint64 }

// The slot of a ticket says how the attempt was admitted, or that its success was counted already. A probe has its
// number, from 1.
const (
	slotFree      = 0  // freely
	slotRamp      = -1 // while ramping
	slotNone      = -2 // nothing that becomes of the attempt counts any more: only a shadow admitted it, or it was stale
	slotOpen      = -3 // the success of the operation was counted, and its result stays open
	slotOpenProbe = -4 // the same of a probe
)

// report is how an attempt ended.
type report struct {
	generation uint64
	slot       int64
	verdict    policy.Verdict
	slow       bool
	throttled  time.Duration // for how long a throttled probe keeps its slot; 0 for all others
	err        error         // of a failure
	openFor    time.Duration // for how long to open if this opens the breaker
}

// counted reports whether the success of the operation was counted before, so that only a failure of its result is news.
func (r report) counted() bool { return r.slot == slotOpen || r.slot == slotOpenProbe }

func (r report) failed() bool { return r.verdict == policy.Failure }
func (r report) bad() bool    { return r.failed() || r.slow }

// newCore returns a closed breaker.
func newCore(r *rules, shadow bool, now time.Duration) *core {
	return &core{phase: phase{generation: 1, shadow: shadow, since: now, rules: r}, window: r.newWindow(now, 0)}
}

// admit asks for one attempt. An open breaker whose open time is over becomes half-open here. luck, in [0, 1), decides while
// ramping; the smaller, the luckier.
func (c *core) admit(now time.Duration, luck float64) (slot int64, admitted bool) {
	if c.state == Open && c.at(now) == HalfOpen {
		c.enter(HalfOpen, ReasonOpenTimeOver, policy.Cause{Rule: "OpenFor"}, now)
	}
	switch c.state {
	case HalfOpen:
		return c.admitProbe(now)
	case Closed:
		return c.admitRamp(now, luck)
	case ForcedClosed:
		return slotFree, true
	}
	return slotNone, false
}

// admitProbe admits an attempt as a probe, if there is a slot.
func (c *core) admitProbe(now time.Duration) (slot int64, admitted bool) {
	number, displaced := c.halfOpen.admit(c.rules, now)
	if number == 0 {
		return slotNone, false
	}
	c.ledger.stale += displaced
	c.ledger.requests++
	return number, true
}

// admitRamp admits as many at once as there may be probes, whatever the load, and of the rest a share that grows with time.
func (c *core) admitRamp(now time.Duration, luck float64) (slot int64, admitted bool) {
	if !c.ramping(now) { // the ramp is over: recovered
		c.until, c.openings = 0, 0
		return slotFree, true
	}
	share := float64(now-c.since) / float64(c.until-c.since)
	if c.ramped >= c.rules.probes && luck >= share {
		return slotNone, false
	}
	c.ramped++
	return slotRamp, true
}

// refuses reports whether admit would refuse for sure.
func (c *core) refuses(now time.Duration) bool {
	return c.shut(now) || c.state == HalfOpen && c.halfOpen.full(c.rules, now)
}

// settle is told how an attempt ended. It reports whether the outcome was counted: a stale one is not.
func (c *core) settle(now time.Duration, r report) bool {
	switch {
	case r.slot == slotNone:
		return false
	case r.slot > 0:
		return c.settleProbe(now, r)
	case !c.owns(r):
		c.ledger.requests++
		c.ledger.stale++
		return false
	case r.slot == slotRamp:
		c.ramped--
	}
	c.settleFree(now, r)
	return true
}

// owns reports whether an outcome counts in this generation. The failure of a result that a probe left open also counts in
// the next generation, if the probes brought that about.
func (c *core) owns(r report) bool {
	if r.slot == slotOpenProbe && r.generation+1 == c.generation {
		return c.reason == ReasonProbesSucceeded || c.reason == ReasonProbeFailed || c.reason == ReasonProbeSlow
	}
	return r.generation == c.generation
}

// settleProbe settles a probe. One that holds no slot any more changes nothing: it is in the ledger already.
func (c *core) settleProbe(now time.Duration, r report) bool {
	if r.verdict == policy.Neutral && r.throttled > 0 {
		throttled := c.halfOpen.throttle(r.slot, now, r.throttled)
		if throttled {
			c.ledger.neutral++
		}
		return throttled
	}
	if !c.halfOpen.end(r.slot) {
		return false
	}
	switch {
	case r.verdict == policy.Neutral:
		c.ledger.neutral++
	case r.failed():
		c.ledger.failures++
		c.probed(now, r)
	default:
		c.ledger.successes++
		c.probed(now, r)
	}
	return true
}

// probed decides what a half-open breaker learns from an outcome that is not neutral.
func (c *core) probed(now time.Duration, r report) {
	h := &c.halfOpen
	if r.failed() {
		c.row = c.row.failed(c.fastSuccesses)
	} else {
		c.row.others++
	}
	if !r.bad() {
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
	if !r.failed() {
		reason, what = ReasonProbeSlow, "were slow"
	}
	c.open(reason, policy.Cause{
		Rule: "FailedProbes", What: what, Bad: int64(h.failed), Calls: int64(h.failed + h.passed),
		Limit: float64(c.rules.failedProbes + 1), Err: r.err,
	}, now, r.openFor)
}

// settleFree settles an attempt that was not admitted as a probe, or the failure of a result that stayed open.
func (c *core) settleFree(now time.Duration, r report) {
	if c.window != nil && c.state == Closed {
		c.window.advance(now, c.fastSuccesses)
	}
	if r.verdict == policy.Success && !r.slow {
		c.fastSuccesses++ // total adds them to the ledger
		return
	}
	c.ledger.requests++
	switch r.verdict {
	case policy.Neutral:
		c.ledger.neutral++
		return
	case policy.Success:
		c.ledger.successes++
	default:
		c.ledger.failures++
	}
	switch c.state {
	case HalfOpen:
		c.probed(now, r)
	case Closed:
		c.countBad(now, r)
	}
}

// countBad counts an outcome that failed or was slow, and opens the breaker if a trip rule says so.
func (c *core) countBad(now time.Duration, r report) {
	if r.failed() {
		c.row = c.row.failed(c.fastSuccesses)
	} else {
		c.row.others++
	}
	if c.window != nil {
		c.window.record(now, c.fastSuccesses, r.failed(), r.slow)
	}
	if reason, cause := c.rules.trip(c.seen(now), r.failed(), r.slow); reason != ReasonNone {
		cause.Err = r.err
		c.open(reason, cause, now, r.openFor)
	}
}

// seen returns what the trip rules see now; while not closed, what they saw last. The successes of a half-open breaker are
// those of its probes.
func (c *core) seen(now time.Duration) evidence {
	e := evidence{successes: c.row.successes(c.fastSuccesses)}
	switch c.state {
	case Closed:
	case HalfOpen:
		e.failures, e.counts = c.evidence.failures, c.evidence.counts
		return e
	default:
		return c.evidence
	}
	if e.successes == 0 {
		e.failures = c.row.failures
	}
	if c.window != nil {
		e.counts = c.window.counts(now, c.fastSuccesses)
	}
	return e
}

// open opens the breaker, for openFor from now.
func (c *core) open(reason Reason, cause policy.Cause, now, openFor time.Duration) {
	c.openings = c.nextOpening(now)
	c.lastErr = cause.Err
	c.enter(Open, reason, cause, now)
	c.until = after(now, openFor)
}

// close closes the breaker, with a ramp if there is one.
func (c *core) close(reason Reason, cause policy.Cause, now time.Duration) {
	c.enter(Closed, reason, cause, now)
	if c.rules.ramp > 0 {
		c.until = after(now, c.rules.ramp)
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
	c.evidence = c.seen(now) // of the state that is left
	c.generation++
	c.reason, c.cause = reason, cause
	c.state, c.since, c.until = to, now, 0

	c.ledger = c.total()
	c.ledger.stale += c.halfOpen.forget()
	c.fastSuccesses, c.row, c.ramped = 0, row{}, 0
	c.entered = c.ledger
	if to == Closed && c.window != nil {
		c.window.begin(now, 0)
	}
}

// total returns the ledger with fastSuccesses added.
func (c *core) total() ledger {
	l := c.ledger
	l.requests += uint64(c.fastSuccesses)
	l.successes += uint64(c.fastSuccesses)
	return l
}

// reconfigure changes the rules and the mode. State and generation stay, and as much of the counts as the new rules can
// hold; what began keeps its end.
func (c *core) reconfigure(r *rules, shadow bool, now time.Duration) {
	if c.state == Closed {
		c.window = r.converted(c.window, now, c.fastSuccesses)
	} else { // it begins anew when the breaker closes
		c.window = r.newWindow(now, c.fastSuccesses)
	}
	c.rules, c.shadow = r, shadow
}
