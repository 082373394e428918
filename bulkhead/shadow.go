package bulkhead

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Shadow stops enforcing the limit: attempts are counted as if it held, but none is refused and none waits.
// [Snapshot.ShadowRejected] tells how many would have been refused; they hold no slot. It is for trying out a limit on
// real traffic.
//
//   - Without a [Queue] the counts are exactly those that an enforcing bulkhead would have on the same attempts.
//   - With a queue they are an estimate. An attempt that would wait runs at once; it has a place in the queue until a
//     slot becomes free for it, its wait is over, which counts as a refusal, or it ends, which an attempt that had
//     really waited would have done later.
//   - Attempts that wait when Shadow is called run at once. Their wait is over when it would have been, but not before that
//     of the attempts ahead of them, which may wait longer if the wait was shortened meanwhile.
//   - [Bulkhead.Drain] refuses in shadow mode too.
//
// Shadow panics with a [*policy.ConfigError] when the bulkhead is [Adaptive]: it learns from what it limits.
func (b *Bulkhead) Shadow() {
	b.current()
	if b.adaptive != nil {
		problems := policy.ConfigError{Policy: "bulkhead"}
		problems.Add("Shadow: an adaptive limit learns from what it limits, and has no shadow mode")
		panic(problems.Err())
	}
	b.steer(true)
}

// Enforce enforces the limit again, from the state that shadow mode has counted: attempts that hold slots keep them, and
// those that run without one stay uncounted. The queue begins empty. Of an [Adaptive] bulkhead it changes nothing.
func (b *Bulkhead) Enforce() {
	b.current()
	if b.adaptive == nil {
		b.steer(false)
	}
}

// steer sets the mode by hand.
func (b *Bulkhead) steer(shadow bool) {
	b.changed.Store(true)
	b.enter()
	defer b.leave()
	b.setMode(shadow)
}

// setMode sets the mode. In shadow mode only shadows are in the queue, otherwise there are none. It is called
// between enter and leave.
func (b *Bulkhead) setMode(shadow bool) {
	if b.shadow.Swap(shadow) == shadow {
		return
	}
	for w := range b.queue.all() {
		if shadow {
			b.shadows.add(w)
			w.end <- end{shadowID: w.shadowID}
		} else {
			b.queue.remove(w)
		}
	}
}

// shadows are the attempts that shadow mode let through without slots, and that have not ended. One that would wait is in
// the queue too, and may get its slots later. Guarded by the bulkhead's mutex.
type shadows struct {
	byID     map[uint64]*waiter
	last     uint64 // id
	rejected uint64
}

func (s *shadows) len() int { return len(s.byID) }

// add makes w a shadow.
func (s *shadows) add(w *waiter) {
	if s.byID == nil {
		s.byID = make(map[uint64]*waiter)
	}
	s.last++
	w.shadowID = s.last
	s.byID[w.shadowID] = w
}

// letThrough lets an attempt through without slots, and returns the id of its shadow: one that waits if there is no reason to
// refuse it, or one that is refused. It is called between enter and leave.
func (b *Bulkhead) letThrough(weight int, reason error) (id uint64) {
	w := &waiter{weight: weight}
	b.shadows.add(w)
	if reason == nil {
		b.queue.push(w, b.current().queueWait)
	} else {
		b.shadows.rejected++
	}
	return w.shadowID
}

// settleShadow ends an attempt that shadow mode let through.
func (b *Bulkhead) settleShadow(id uint64) {
	b.enter()
	defer b.leave()
	w := b.shadows.byID[id]
	if w == nil {
		panic("bulkhead: settling an attempt that was let through in shadow mode: settled twice, or never admitted")
	}
	b.remove(w)
}

// expire refuses the shadows in the queue whose wait is over, in order: only the first is looked at, since each that waits makes
// every admission pass here. Attempts that really wait have timers instead. b.mu must be held.
func (b *Bulkhead) expire() {
	if !b.shadow.Load() {
		return
	}
	for w := b.queue.first(); w != nil && time.Until(w.until) <= 0; w = b.queue.first() {
		b.queue.remove(w)
		b.queue.timedOut++
		b.shadows.rejected++
		b.grant() // as when its wait was over: w may have been all that those behind it waited for
	}
}
