package breaker

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// era is what attempts see that take no lock: a copy of the core's phase, and the good outcomes that they count in it. It
// is replaced when the phase or the configuration changes.
type era struct {
	phase
	config    *config
	admitting bool              // phase.free(), which every attempt looks at
	rejection *policy.Rejection // what every refusal of this era returns
	bucket    atomic.Int64      // where the current bucket of a time window begins

	_    [64]byte // good changes with every call, what is above hardly ever: keep them on different cache lines
	good goodCount
	_    [56]byte
}

// goodCount counts good outcomes, see core.good, without a lock, until it is closed.
type goodCount struct{ n atomic.Int64 }

// add counts one. It reports false when the count is closed.
func (g *goodCount) add() bool { return g.n.Add(1) > 0 }

// close closes the count and returns it. What is added later leaves it below zero, and is ignored.
func (g *goodCount) close() int64 { return g.n.Swap(math.MinInt64) }

// current returns the era.
func (b *Breaker) current() *era {
	e := b.era.Load()
	if e == nil {
		panic("breaker: a Breaker must be made with New")
	}
	return e
}

// update lets act change the core under the lock, and returns the era that follows. Before act, the core learns how many
// successes the era has counted; after it, a change of the phase begins a new era, and is delivered to the subscribers.
func (b *Breaker) update(act func(c *core, now time.Duration)) *era {
	b.current() // panics if there is none, before a lock is taken
	b.mu.Lock()
	e, c, now := b.current(), b.core, b.clock.Elapsed()
	good, holder := e.good.n.Load(), c.halfOpen.lastSlotHolder(c.rules) // as they were before
	c.good = good
	act(c, now) // meanwhile attempts add to e.good
	if c.phase == e.phase && b.config == e.config {
		e.good.n.Add(c.good - good) // what act has added
		e.show(c)
		if c.halfOpen.lastSlotHolder(c.rules) != holder { // the last slot was taken, or one came back: Ready answers differently
			b.wake()
		}
	} else {
		c.addLate(e.good.close()-good, e.generation) // what the attempts have added
		b.note(e, now)
		e = b.begin()
		b.wake()
	}
	waiting := len(b.undelivered) > 0
	b.mu.Unlock()
	if waiting {
		b.deliver()
	}
	return e
}

// begin begins a new era, from what the core and the configuration are now.
func (b *Breaker) begin() *era {
	c := b.core
	e := &era{phase: c.phase, config: b.config, admitting: c.free()}
	rejection := &policy.Rejection{Kind: "breaker", Name: b.config.name}
	switch c.state {
	case Open:
		rejection.Reason, rejection.Until = ErrOpen, b.clock.Time(c.until)
	case ForcedOpen:
		rejection.Reason = ErrForced
	case HalfOpen:
		rejection.Reason = errProbing
	default:
		rejection.Reason = errRamping
	}
	e.rejection = rejection
	e.good.n.Store(c.good)
	e.show(c)
	b.era.Store(e)
	return e
}

// show copies from the core what can change within an era.
func (e *era) show(c *core) {
	if w, ok := c.window.(*timeWindow); ok {
		e.bucket.Store(int64(w.start))
	}
}

// wake closes the channel that Changed has returned.
func (b *Breaker) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
