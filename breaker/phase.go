package breaker

import "time"

// phase is the facts of a breaker that hold from one change to the next. Its methods say what follows from them and from the
// time. The core keeps the current phase; attempts that take no lock look at a copy of it, in the era.
//
// Periods are half-open intervals: the open time is [since, until). A time before the start of a period counts as after
// its end. Under one clock that cannot happen; it does when the clock was replaced, as by a testing/synctest bubble
// around a breaker that was made outside of it, and then it is better to forget than to freeze.
type phase struct {
	// generation is one more whenever a state is entered, also the same one again (Reset, Trip). The outcome of an attempt
	// counts in the generation that admitted it.
	generation uint64

	state    State
	shadow   bool // nothing is refused; what would have been is counted
	since    time.Duration
	until    time.Duration // Open: the end of the open time. Closed: the end of the ramp, 0 if there is none; it may be in the past
	openings int           // in a row, without recovery in between
	rules    *rules
}

// admitsAll reports whether every attempt is admitted, however much time passes.
func (p *phase) admitsAll() bool {
	return p.state == ForcedClosed || p.state == Closed && p.until == 0
}

// refusesAll reports whether every attempt is refused at now.
func (p *phase) refusesAll(now time.Duration) bool {
	return p.state == ForcedOpen || p.state == Open && within(now, p.since, p.until)
}

// timed reports whether it matters when a success ends: for a time window, or because it may have been slow.
func (p *phase) timed() bool {
	return p.state != ForcedClosed && (p.rules.bucketWidth > 0 || p.rules.slowAfter > 0)
}

// slow reports whether an attempt that has run since start is slow at now. While no rule can trip, none is.
func (p *phase) slow(start, now time.Duration) bool {
	return p.state != ForcedClosed && p.rules.slow(start, now)
}

// ramping reports whether the load is let back in only gradually at now.
func (p *phase) ramping(now time.Duration) bool {
	return p.state == Closed && p.until != 0 && within(now, p.since, p.until)
}

// stateAt returns the state as it is at now: an open breaker whose open time is over is half-open.
func (p *phase) stateAt(now time.Duration) State {
	if p.state == Open && !p.refusesAll(now) {
		return HalfOpen
	}
	return p.state
}

// nextOpening returns which opening in a row the next one would be, from 1.
func (p *phase) nextOpening(now time.Duration) int {
	if recovered := p.state == Closed && !p.ramping(now); recovered || p.state == ForcedClosed {
		return 1
	}
	return p.openings + 1
}

// within reports whether t is in [start, end).
func within(t, start, end time.Duration) bool { return start <= t && t < end }
