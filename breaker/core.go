package breaker

import (
	"slices"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// core is the state machine: what a breaker knows, and the rules by which an event at a time changes it. It has no
// locks, no atomics, no clock and calls no function of a user, so that every sequence of events can be explored.
//
// Periods are half-open intervals: the open time is [since, until). A time before the start of a period counts as after
// its end. Under one clock that cannot happen; it does when the clock was replaced, as by a testing/synctest bubble
// around a breaker that was made outside of it, and then it is better to forget than to freeze.
type core struct {
	rules *rules

	state      State // never Disabled
	shadow     bool  // disabled: state is only what would be, and nobody is refused
	generation uint64
	changes    uint64 // of the state
	since      time.Duration
	until      time.Duration // Open: the end of the open time; Closed: the end of the ramp
	ramp       bool          // Closed: recovering; attempts are let in gradually
	openings   int           // without recovery in between
	reason     Reason        // of the last change
	cause      error         // of the last opening

	// good is the number of fast successes in this generation. The shell counts most of them itself, and brings the
	// number up to date before it calls a method.
	good     int64
	bad      streak
	window   window // nil when no rule needs it
	evidence evidence
	ramping  int // attempts in flight that were admitted during the ramp

	probes    []probe // in flight, oldest first
	lastProbe int64
	lastGrant time.Duration // when it was admitted
	passed    int           // successful probes of this episode

	ledger ledger // without good
}

// streak is failures in a row. That there was no success in between is seen from good, so that a success need not reset
// anything.
type streak struct {
	length int
	good   int64 // as of the last failure
}

// evidence is what the trip rules see.
type evidence struct {
	streak int
	counts counts
}

// probe is an attempt that was admitted while half-open.
type probe struct {
	id      int64
	granted time.Duration
}

// ledger says what became of every attempt that was admitted.
type ledger struct{ requests, successes, failures, neutral, stale uint64 }

// The slot of a ticket says how the attempt was admitted. A probe has its number, from 1.
const (
	slotFree   = 0  // freely
	slotRamp   = -1 // during the ramp
	slotShadow = -2 // although it would have been refused, had the breaker not been disabled
)

// report is how an attempt ended.
type report struct {
	generation uint64
	slot       int64
	verdict    policy.Verdict
	slow       bool
	cause      error         // for a failure
	openFor    time.Duration // for how long to open if this opens the breaker
}

// newCore returns a closed breaker.
func newCore(r *rules, now time.Duration) *core {
	return &core{rules: r, generation: 1, since: now, window: r.newWindow(now)}
}

// free reports whether attempts are admitted without asking.
func (c *core) free() bool {
	return c.state == ForcedClosed || c.state == Closed && !c.ramp
}

// openOver reports whether the open time is over.
func (c *core) openOver(now time.Duration) bool {
	return c.state == Open && !within(now, c.since, c.until)
}

// stateAt returns the state as somebody who asks must see it.
func (c *core) stateAt(now time.Duration) State {
	if c.openOver(now) {
		return HalfOpen
	}
	return c.state
}

// admit asks for one attempt. luck, in [0, 1), decides during the ramp; the smaller, the luckier.
func (c *core) admit(now time.Duration, luck float64) (slot int64, admitted bool) {
	if c.openOver(now) {
		c.enter(HalfOpen, c.shadow, ReasonOpenTimeOver, now)
	}
	switch c.state {
	case HalfOpen:
		return c.admitProbe(now)
	case Closed:
		return c.admitRamp(now, luck)
	case ForcedClosed:
		return slotFree, true
	}
	return 0, false
}

func (c *core) admitProbe(now time.Duration) (slot int64, admitted bool) {
	c.expire(now)
	if len(c.probes) == c.rules.probes {
		return 0, false
	}
	c.lastProbe++
	c.lastGrant = now
	c.probes = append(c.probes, probe{id: c.lastProbe, granted: now})
	c.ledger.requests++
	return c.lastProbe, true
}

// admitRamp admits as many as there were probes, whatever the load, and of the rest a share that grows with time.
func (c *core) admitRamp(now time.Duration, luck float64) (slot int64, admitted bool) {
	if c.ramp && !within(now, c.since, c.until) {
		c.ramp = false
	}
	if !c.ramp {
		return slotFree, true
	}
	share := float64(now-c.since) / float64(c.until-c.since)
	if c.ramping >= c.rules.probes && luck >= share {
		return 0, false
	}
	c.ramping++
	return slotRamp, true
}

// refuses reports whether admit would refuse for sure.
func (c *core) refuses(now time.Duration) bool {
	switch c.state {
	case ForcedOpen:
		return true
	case Open:
		return !c.openOver(now)
	case HalfOpen:
		return c.inFlight(now) == c.rules.probes
	}
	return false
}

// taken returns the number of the probe that has taken the last slot, 0 while there is a free one.
func (c *core) taken() int64 {
	if len(c.probes) < c.rules.probes {
		return 0
	}
	return c.lastProbe
}

// expire takes the slots of the probes whose lease is over. Their outcome will be ignored.
func (c *core) expire(now time.Duration) {
	c.probes = slices.DeleteFunc(c.probes, func(p probe) bool {
		over := !c.leased(p, now)
		if over {
			c.ledger.stale++
		}
		return over
	})
}

func (c *core) leased(p probe, now time.Duration) bool {
	return within(now, p.granted, after(p.granted, c.rules.lease))
}

// inFlight returns the number of probes that hold a slot.
func (c *core) inFlight(now time.Duration) (n int) {
	for _, p := range c.probes {
		if c.leased(p, now) {
			n++
		}
	}
	return n
}

// settle hears how an attempt ended.
func (c *core) settle(now time.Duration, r report) {
	if r.slot > 0 {
		c.settleProbe(now, r)
		return
	}
	if r.generation != c.generation {
		c.ledger.requests++
		c.ledger.stale++
		return
	}
	if r.slot == slotRamp {
		c.ramping--
	}
	if r.slot == slotShadow {
		r.verdict = policy.Neutral // it would not have happened
	}
	c.settleFree(now, r)
}

// settleProbe settles an attempt that was admitted while half-open. Numbers of probes are never used again, so one that is
// not there any more, because its lease or its generation is over or because it was settled before, changes nothing;
// it is in the ledger already.
func (c *core) settleProbe(now time.Duration, r report) {
	c.expire(now)
	i := slices.IndexFunc(c.probes, func(p probe) bool { return p.id == r.slot })
	if i < 0 {
		return
	}
	c.probes = slices.Delete(c.probes, i, i+1)
	switch {
	case r.verdict == policy.Neutral:
		c.ledger.neutral++
	case r.verdict != policy.Success:
		c.ledger.failures++
		c.open(c.shadow, ReasonProbeFailed, r.cause, now, r.openFor)
	case r.slow:
		c.ledger.successes++
		c.open(c.shadow, ReasonProbeSlow, nil, now, r.openFor)
	default:
		c.ledger.successes++
		c.passed++
		if c.passed >= c.rules.successes {
			c.enter(Closed, c.shadow, ReasonProbesSucceeded, now)
		}
	}
}

// settleFree settles an attempt that was admitted while closed, or forced closed.
func (c *core) settleFree(now time.Duration, r report) {
	if c.window != nil && c.state == Closed {
		c.window.advance(now, c.good)
	}
	failed := r.verdict != policy.Success && r.verdict != policy.Neutral
	switch {
	case r.verdict == policy.Neutral:
		c.ledger.requests++
		c.ledger.neutral++
		return
	case !failed && !r.slow:
		c.good++ // on the ledger too
		return
	case failed:
		c.ledger.requests++
		c.ledger.failures++
	default:
		c.ledger.requests++
		c.ledger.successes++
	}
	if c.state != Closed {
		return
	}
	c.bad = c.bad.after(failed, c.good)
	if c.window != nil {
		c.window.bad(now, c.good, failed, r.slow)
	}
	if reason := c.tripped(now, failed, r.slow); reason != ReasonNone {
		c.open(c.shadow, reason, r.cause, now, r.openFor)
	}
}

// after returns the streak after a bad outcome: a failure, or a slow success, which ends it.
func (s streak) after(failed bool, good int64) streak {
	if s.good != good || !failed {
		s.length = 0
	}
	if failed {
		s.length++
	}
	s.good = good
	return s
}

// tripped returns the first rule that says to open after a bad outcome. An outcome that did not fail trips no rule
// about failures, and one that was not slow no rule about slow calls.
func (c *core) tripped(now time.Duration, failed, slow bool) Reason {
	if c.rules.consecutive > 0 && c.bad.length >= c.rules.consecutive {
		return ReasonConsecutiveFailures
	}
	if c.window == nil {
		return ReasonNone
	}
	in := c.window.counts(now, c.good)
	if failed && c.rules.failureRate.trips(in.failures, in.calls) {
		return ReasonFailureRate
	}
	if slow && c.rules.slowRate.trips(in.slow, in.calls) {
		return ReasonSlowCalls
	}
	return ReasonNone
}

// seen returns what the trip rules see now; while not closed, what they saw last.
func (c *core) seen(now time.Duration) evidence {
	if c.state != Closed {
		return c.evidence
	}
	var e evidence
	if c.bad.good == c.good {
		e.streak = c.bad.length
	}
	if c.window != nil {
		e.counts = c.window.counts(now, c.good)
	}
	return e
}

// open opens the breaker, for openFor from now.
func (c *core) open(shadow bool, reason Reason, cause error, now, openFor time.Duration) {
	c.openings = c.nextOpening(now)
	c.cause = cause
	c.enter(Open, shadow, reason, now)
	c.until = after(now, openFor)
}

// nextOpening returns which opening in a row the next one would be, from 1.
func (c *core) nextOpening(now time.Duration) int {
	if c.free() || c.state == Closed && !within(now, c.since, c.until) {
		return 1
	}
	return c.openings + 1
}

// trip opens the breaker by hand.
func (c *core) trip(now, openFor time.Duration) {
	c.open(false, ReasonTripped, nil, now, openFor)
}

// force is a manual change of state.
func (c *core) force(to State, reason Reason, now time.Duration) {
	shadow := to == Disabled
	if shadow {
		to = Closed
	}
	c.openings = 0
	c.enter(to, shadow, reason, now)
	c.ramp, c.until = false, 0 // whoever closes by hand means it
}

// enter enters a state, and a new generation.
func (c *core) enter(to State, shadow bool, reason Reason, now time.Duration) {
	if to != c.state || shadow != c.shadow {
		c.changes++
	}
	c.evidence = c.seen(now)
	c.generation++
	c.reason = reason
	c.state, c.shadow, c.since, c.until = to, shadow, now, 0

	c.ledger.requests += uint64(c.good)
	c.ledger.successes += uint64(c.good)
	c.good, c.bad = 0, streak{}
	c.ledger.stale += uint64(len(c.probes))
	c.probes = c.probes[:0]
	c.passed, c.ramping = 0, 0

	c.ramp = to == Closed && c.rules.ramp > 0
	if to != Closed {
		return
	}
	if c.ramp {
		c.until = after(now, c.rules.ramp)
	} else {
		c.openings = 0
	}
	if c.window != nil {
		c.window.clear(now)
	}
}

// within reports whether t is in [start, end).
func within(t, start, end time.Duration) bool { return start <= t && t < end }

// after returns t+d, or the end of time. d must not be negative.
func after(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return 1<<63 - 1
}
