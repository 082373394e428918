package bulkhead

import (
	"container/list"
	"context"
	"iter"
	"time"
)

// queue is the attempts that wait, in the order in which they came. It is guarded by the bulkhead's mutex.
type queue struct {
	waiters  list.List // of *waiter
	peak     int       // the most at a time
	waited   uint64    // how many have entered the queue
	timedOut uint64    // how many waited as long as the queue allows
}

// waiter is an attempt that waits, or one that shadow mode let through: a shadow. It is in the queue, or holds its slots, or
// neither: refused, gone, or a shadow that has got none.
type waiter struct {
	weight   int
	element  *list.Element // in the queue; nil if it is not there
	granted  bool          // it holds its slots
	shadowID uint64        // from 1; 0 if it is no shadow
	until    time.Time     // when its wait is over; for a shadow, would be
	end      chan end      // gets how the wait ends, once; nil if it never waited
}

// end is how a wait ends, unless its time is over: with slots, or as a field says. It has no pointers, so that a channel of ends
// is one piece of memory.
type end struct {
	shadowID uint64 // not 0: let through as this shadow
	tooHeavy bool   // refused, because the limit is lower now
}

func (q *queue) len() int { return q.waiters.Len() }

func (q *queue) first() *waiter {
	if front := q.waiters.Front(); front != nil {
		return front.Value.(*waiter)
	}
	return nil
}

// all yields the waiters in order; each may be removed meanwhile.
func (q *queue) all() iter.Seq[*waiter] {
	return func(yield func(*waiter) bool) {
		for element := q.waiters.Front(); element != nil; {
			w := element.Value.(*waiter)
			element = element.Next()
			if !yield(w) {
				return
			}
		}
	}
}

// push puts w at the end of the queue, for so long.
func (q *queue) push(w *waiter, wait time.Duration) {
	w.until = time.Now().Add(wait)
	w.element = q.waiters.PushBack(w)
	q.peak = max(q.peak, q.len())
	q.waited++
}

func (q *queue) remove(w *waiter) {
	if w.element != nil {
		q.waiters.Remove(w.element)
		w.element = nil
	}
}

// join takes weight slots, or a place in the queue, or refuses. If it returns neither a waiter nor an error, the attempt may
// begin: with its slots, or as a shadow.
func (b *Bulkhead) join(weight int, mayWait bool) (waiting *waiter, shadowID uint64, err error) {
	b.enter()
	defer b.leave()
	c := b.current()
	if b.draining.begun() {
		return nil, 0, b.refuse(c, ErrDraining)
	}
	w := b.word.load()
	if b.queue.len() == 0 && w.fits(weight) {
		b.word.add(weight)
		b.notePeak(w.inFlight() + weight)
		return nil, 0, nil
	}
	reason := noSlot(weight, w.limit())
	if reason == ErrFull && mayWait {
		reason = b.noPlace(c)
	}
	switch {
	case b.shadow.Load():
		return nil, b.letThrough(weight, reason), nil
	case reason != nil:
		return nil, 0, b.refuse(c, reason)
	}
	waiting = &waiter{weight: weight, end: make(chan end, 1)}
	b.queue.push(waiting, c.queueWait)
	return waiting, 0, nil
}

// noPlace is the reason to refuse an attempt that would wait; nil if there is a place in the queue.
func (b *Bulkhead) noPlace(c *config) error {
	switch {
	case c.queueLength == 0:
		return ErrFull
	case b.queue.len() >= c.queueLength:
		return ErrQueueFull
	}
	return nil
}

// await waits until w no longer waits by itself, its wait is over, or ctx ends. If ctx has ended, w takes nothing: slots that
// were granted in the same moment go to the attempts behind it.
func (b *Bulkhead) await(ctx context.Context, w *waiter) (shadowID uint64, err error) {
	gone := true // also when a method of the context panics, or ends the goroutine
	defer func() {
		if gone {
			b.withdraw(w)
		}
	}()
	timer := time.NewTimer(time.Until(w.until))
	defer timer.Stop()
	var how end
	known := false
	select {
	case how = <-w.end:
		known = true
	case <-timer.C:
	case <-ctx.Done():
	}
	if err := b.ended(ctx); err != nil {
		return 0, err
	}
	gone = false
	if !known {
		if how, err = b.timeOut(w); err != nil {
			return 0, err
		}
	}
	if how.tooHeavy {
		return 0, b.refuse(b.current(), ErrTooHeavy)
	}
	return how.shadowID, nil
}

// timeOut refuses w, unless its wait has ended in the same moment: then it returns how.
func (b *Bulkhead) timeOut(w *waiter) (how end, err error) {
	b.enter()
	defer b.leave()
	select {
	case how = <-w.end:
		return how, nil
	default:
	}
	b.queue.remove(w)
	b.queue.timedOut++
	return end{}, b.refuse(b.current(), ErrQueueTimeout)
}

// withdraw makes w take nothing.
func (b *Bulkhead) withdraw(w *waiter) {
	b.enter()
	defer b.leave()
	b.remove(w)
}

// remove takes w out of the queue and the shadows, and gives back its slots if it has them, between enter and leave.
func (b *Bulkhead) remove(w *waiter) {
	b.queue.remove(w)
	delete(b.shadows.byID, w.shadowID)
	if w.granted {
		b.giveBack(w.weight)
	}
}

// grant gives free slots to the waiters, in order, and stops at the first that does not fit. The word must be frozen.
func (b *Bulkhead) grant() {
	for {
		first, state := b.queue.first(), b.word.load()
		if first == nil || !state.fits(first.weight) {
			return
		}
		b.queue.remove(first)
		b.word.add(first.weight)
		b.notePeak(state.inFlight() + first.weight)
		first.granted = true
		if first.shadowID == 0 {
			first.end <- end{}
		}
	}
}

// dismissTooHeavy refuses the waiters whose weight is above limit, between enter and leave.
func (b *Bulkhead) dismissTooHeavy(limit int) {
	for w := range b.queue.all() {
		switch {
		case w.weight <= limit:
		case w.shadowID != 0:
			b.queue.remove(w)
			b.shadows.rejected++
		default:
			b.queue.remove(w)
			w.end <- end{tooHeavy: true}
		}
	}
}
