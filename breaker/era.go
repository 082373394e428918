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
	admitting bool              // phase.free(), at hand for every Admit
	timed     bool              // phase.timed(), at hand for every Settle
	rejection *policy.Rejection // what every refusal of this era returns
	bucket    atomic.Int64      // where the current bucket of a time window begins

	_    [64]byte // good changes with every call, what is above hardly ever: keep them on different cache lines
	good goodCount
	_    [56]byte
}

// ordinary reports whether a success need only be counted: it was not slow, nor is it the first of a new bucket.
func (e *era) ordinary(start, now time.Duration) bool {
	if e.slow(start, now) {
		return false
	}
	// Unsigned: a time before the bucket, of a clock that was replaced, is in a new bucket as well.
	width := uint64(e.rules.bucket)
	return width == 0 || uint64(int64(now)-e.bucket.Load()) < width
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
	e, c, now := b.current(), b.learnGood(), b.clock.Elapsed()
	good, refused := c.good, c.refuses(now) // as they were before
	act(c, now)                             // meanwhile attempts add to e.good
	if c.phase == e.phase && b.config == e.config {
		e.good.n.Add(c.good - good) // what act has added
		e.showBucket(c)
		if c.refuses(now) != refused { // the last slot was taken, or one came back: Ready answers differently
			b.wakeChanged()
		}
	} else {
		c.addLate(e.good.close()-good, e.generation) // what the attempts have added
		b.queueChange(e, now)
		e = b.beginEra()
		b.wakeChanged()
	}
	waiting := len(b.undelivered) > 0
	b.mu.Unlock()
	if waiting {
		b.deliver()
	}
	return e
}

// learnGood lets the core learn how many good outcomes the era has counted by now, and returns it. It is called with the
// lock held.
func (b *Breaker) learnGood() *core {
	b.core.good = b.current().good.n.Load()
	return b.core
}

// beginEra begins a new era, from what the core and the configuration are now.
func (b *Breaker) beginEra() *era {
	c := b.core
	e := &era{phase: c.phase, config: b.config, admitting: c.free(), timed: c.timed()}
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
	e.showBucket(c)
	b.era.Store(e)
	return e
}

// showBucket copies from the core where the current bucket begins, which can change within an era.
func (e *era) showBucket(c *core) {
	if w, ok := c.window.(*timeWindow); ok {
		e.bucket.Store(int64(w.start))
	}
}

// wakeChanged closes the channel that Changed has returned.
func (b *Breaker) wakeChanged() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
