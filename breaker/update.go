package breaker

import "time"

// update lets act change the core under the lock, and returns the era that follows. Before act, the core learns how many
// successes the era has counted; after it, a change of the phase begins a new era, and is delivered to the subscribers.
//
// Good outcomes can come from act, which adds them to c.good, and at the same time from attempts, which add them to e.good.
// Afterwards both counts must have both:
//
//	                                             from act                     from attempts
//	the era goes on                              added to e.good              in e.good; learnGood takes them over next time
//	the era ends, the generation goes on         in c.good                    added to c.good by addLate
//	the era ends, and the generation with it     in the ledger, through enter added to the ledger by addLate
func (b *Breaker) update(act func(c *core, now time.Duration)) *era {
	b.current() // panics if there is none, before a lock is taken
	b.mu.Lock()
	e, c, now := b.current(), b.learnGood(), b.clock.Elapsed()
	good, refused := c.good, c.refuses(now)         // as they were before
	act(c, now)                                     // meanwhile attempts add to e.good
	if c.phase == e.phase && b.config == e.config { // the era goes on
		e.good.n.Add(c.good - good)
		e.showBucket(c)
		if c.refuses(now) != refused { // the last slot was taken, or one came back: Ready answers differently
			b.wakeChanged()
		}
	} else {
		c.addLate(e.good.close()-good, e.generation)
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

// wakeChanged closes the channel that Changed has returned.
func (b *Breaker) wakeChanged() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
