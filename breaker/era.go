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
	config      *config
	admitting   bool              // phase.admitsAll(), at hand for every Admit
	timed       bool              // phase.timed(), at hand for every Settle
	rejection   *policy.Rejection // what every refusal of this era returns
	bucketStart atomic.Int64      // of the current bucket of a time window

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
	width := uint64(e.rules.bucketWidth)
	return width == 0 || uint64(int64(now)-e.bucketStart.Load()) < width
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

// beginEra begins a new era, from what the core and the configuration are now.
func (b *Breaker) beginEra() *era {
	c := b.core
	e := &era{phase: c.phase, config: b.config, admitting: c.admitsAll(), timed: c.timed()}
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
		e.bucketStart.Store(int64(w.start))
	}
}
