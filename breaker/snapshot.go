package breaker

import "time"

// Snapshot is what a breaker knows, at one moment.
//
// Requests = Successes + Failures + Neutral + Stale + InFlight holds in every snapshot. An attempt that was admitted
// while closed costs no count on its way in, and so becomes a request when it is settled; a probe becomes one when it is
// admitted. All these, and the Rejections, count since the breaker was made and never fall, but for InFlight.
type Snapshot struct {
	Name       string
	State      State
	Since      time.Time // when the breaker entered the state
	Until      time.Time // when the open time or the ramp ends; zero when there is neither
	Generation uint64    // grows with every change of state, and with every Reset
	Changes    uint64    // how many changes of state there were

	Reason Reason // of the last change
	Cause  error  // of the last failure that opened the breaker; nil when it had no error

	// What the trip rules see: the calls in the window and the failures in a row. While the breaker is not closed, what
	// they saw last. Without a rate rule there is no window, and the counts are zero.
	Calls, CallsFailed, CallsSlow int64
	FailureRate, SlowRate         float64 // shares of Calls, 0 when there are none
	ConsecutiveFailures           int

	Probes int // how many probes hold a slot now

	Requests  uint64
	Successes uint64
	Failures  uint64
	Neutral   uint64 // outcomes that say nothing about the dependency
	Stale     uint64 // outcomes that came, or would come, after the state or the lease had ended
	InFlight  uint64 // probes that are not settled yet

	Rejections uint64 // attempts that were refused

	// Shadow is the state in which the breaker would be if it were not disabled; otherwise it is State.
	Shadow           State
	ShadowRejections uint64 // attempts that were admitted only because the breaker was disabled

	// LostDeliveries says how often a subscriber did not return from a change, because of a panic or runtime.Goexit, or
	// did not get it at all, because too many were waiting.
	LostDeliveries uint64
}

// Snapshot returns what the breaker knows now. It changes nothing: a breaker whose open time is over is reported as
// half-open, but only an attempt makes it so.
func (b *Breaker) Snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.catchUp()
	return b.snapshot(b.watch.Elapsed())
}

// snapshot is called with the lock held, and with the core up to date.
func (b *Breaker) snapshot(now time.Duration) Snapshot {
	c := b.core
	seen, ledger := c.seen(now), c.ledger
	probes := uint64(c.inFlight(now))
	s := Snapshot{
		Name:       b.name,
		State:      c.stateAt(now),
		Since:      b.watch.Time(c.since),
		Generation: c.generation,
		Changes:    c.changes,
		Reason:     c.reason,
		Cause:      c.cause,

		Calls:               seen.counts.calls,
		CallsFailed:         seen.counts.failures,
		CallsSlow:           seen.counts.slow,
		ConsecutiveFailures: seen.streak,

		Probes: int(probes),

		Requests:  ledger.requests + uint64(c.good),
		Successes: ledger.successes + uint64(c.good),
		Failures:  ledger.failures,
		Neutral:   ledger.neutral,
		Stale:     ledger.stale + uint64(len(c.probes)) - probes,
		InFlight:  probes,

		Rejections:       b.rejections.Load(),
		ShadowRejections: b.shadowRejections.Load(),
		LostDeliveries:   b.lost.Load(),
	}
	if s.Calls > 0 {
		s.FailureRate = float64(s.CallsFailed) / float64(s.Calls)
		s.SlowRate = float64(s.CallsSlow) / float64(s.Calls)
	}
	switch {
	case c.openOver(now):
		s.Since = b.watch.Time(min(c.until, now))
	case c.until != 0 && within(now, c.since, c.until):
		s.Until = b.watch.Time(c.until)
	}
	s.Shadow = s.State
	if c.shadow {
		s.State = Disabled
	}
	return s
}
