package bulkhead

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Drain is for shutdown. It refuses new attempts from now on, with [ErrDraining], and waits until those inside have
// ended: attempts that hold slots, and attempts that wait in the queue, which still get their slots in their order. It
// returns nil when nothing is left inside. When ctx ends before that, the error is the one of [policy.ContextError], and new
// attempts are still refused.
//
// Drain refuses in shadow mode too, and waits for what that has let through. It can be called several times, also at
// once: each call waits by its own context. A result that is still open counts as inside. An attempt that calls Drain
// waits for itself, until ctx ends. There is no way back: a drained bulkhead takes no attempts again; make a new one.
func (b *Bulkhead) Drain(ctx context.Context) error {
	b.current()
	if ctx == nil {
		panic("bulkhead: Drain with a nil context")
	}
	b.changed.Store(true)
	done := b.drain()
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return policy.ContextError(ctx)
	}
}

// drain begins to drain and returns a channel that is closed when nothing is left inside.
func (b *Bulkhead) drain() <-chan struct{} {
	b.enter()
	defer b.leave() // which does not thaw any more: every attempt that begins or ends from now on takes the mutex
	b.draining.begin()
	return b.draining.done
}

// endDrainIfEmpty lets Drain return if nothing is left inside. b.mu must be held.
func (b *Bulkhead) endDrainIfEmpty() {
	if b.word.load().inFlight() == 0 && b.queue.len() == 0 && b.shadows.len() == 0 {
		b.draining.end()
	}
}

// draining is what a bulkhead knows about Drain. It is guarded by the bulkhead's mutex.
type draining struct {
	since time.Time
	done  chan struct{} // nil until it begins
	ended bool          // done is closed
}

func (d *draining) begun() bool { return d.done != nil }

func (d *draining) begin() {
	if d.done == nil {
		d.since, d.done = time.Now(), make(chan struct{})
	}
}

func (d *draining) end() {
	if !d.ended {
		d.ended = true
		close(d.done)
	}
}
