package bulkhead

import (
	"container/list"
	"context"
	"errors"
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

// waiter is an attempt that waits, or one that shadow mode let through: a shadow.
//
//	                                element  granted  refused  shadowID
//	waits                           set
//	holds its slots                          true
//	must be refused                                   set
//	shadow that would wait          set                        set
//	shadow, and holds slots by now           true              set
//	shadow without slots                                       set
type waiter struct {
	weight   int
	element  *list.Element // in the queue
	done     chan bool     // gets one value when it no longer waits: true if it holds its slots; nil if it never waited
	granted  bool
	refused  error     // why
	shadowID uint64    // from 1
	until    time.Time // when the wait of a shadow would be over
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

func (q *queue) push(w *waiter) {
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
func (b *Bulkhead) join(weight int, mayWait bool) (waits *waiter, shadowID uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freeze()
	defer b.thaw()
	c := b.current()
	if b.draining.begun() {
		return nil, 0, b.refuse(c, ErrDraining)
	}
	b.expire()
	w := word(b.word.Load())
	reason := noSlot(weight, w.limit())
	switch {
	case reason != ErrFull: // it would wait for ever
	case b.queue.len() == 0 && w.fits(weight):
		b.word.Add(uint64(weight))
		b.notePeak(w.inFlight() + weight)
		return nil, 0, nil
	case mayWait && b.queue.len() < c.length:
		reason = nil
	case mayWait && c.length > 0:
		reason = ErrQueueFull
	}
	if !b.shadow.Load() {
		if reason != nil {
			return nil, 0, b.refuse(c, reason)
		}
		waits = &waiter{weight: weight, done: make(chan bool, 1)}
		b.queue.push(waits)
		return waits, 0, nil
	}
	passing := &waiter{weight: weight}
	b.shadows.add(passing, time.Now().Add(c.wait))
	if reason != nil {
		b.shadows.rejected++
	} else {
		b.queue.push(passing)
	}
	return nil, passing.shadowID, nil
}

var errGone = errors.New("left without an answer")

// await waits until w is granted or refused, its wait is over, or ctx ends.
func (b *Bulkhead) await(ctx context.Context, w *waiter, wait time.Duration) (shadowID uint64, err error) {
	answered := false
	defer func() {
		if !answered { // a method of the context has panicked, or ended the goroutine
			_, _ = b.leave(w, errGone)
		}
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	granted := false
	select {
	case granted = <-w.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	ended := b.ended(ctx)
	answered = true
	if granted && ended == nil {
		return 0, nil // without the mutex
	}
	return b.leave(w, ended)
}

// leave ends the wait of w. If its context has ended, with the error ended, it takes nothing: slots that were granted in the
// same moment go to the attempts behind it. Otherwise w has its slots, or was let through as a shadow, or is refused: for the
// reason that it was given, or because it has waited as long as the queue allows.
func (b *Bulkhead) leave(w *waiter, ended error) (shadowID uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ended == nil && (w.granted || w.shadowID != 0) {
		return w.shadowID, nil
	}
	b.freeze()
	defer b.thaw()
	b.remove(w)
	switch {
	case ended != nil:
		return 0, ended
	case w.refused != nil:
		return 0, b.refuse(b.current(), w.refused)
	}
	b.queue.timedOut++
	return 0, b.refuse(b.current(), ErrQueueTimeout)
}

// remove takes w out of the queue and the shadows, and gives back its slots if it has them. The word must be frozen.
func (b *Bulkhead) remove(w *waiter) {
	b.expire()
	b.queue.remove(w)
	delete(b.shadows.byID, w.shadowID)
	if w.granted {
		b.word.Add(-uint64(w.weight))
	}
	b.grant() // w may have been all that those behind it waited for
}

// grant gives free slots to the waiters, in order, and stops at the first that does not fit. The word must be
// frozen.
func (b *Bulkhead) grant() {
	for {
		first, w := b.queue.first(), word(b.word.Load())
		if first == nil || !w.fits(first.weight) {
			return
		}
		b.queue.remove(first)
		b.word.Add(uint64(first.weight))
		b.notePeak(w.inFlight() + first.weight)
		first.granted = true
		if first.shadowID == 0 {
			first.done <- true
		}
	}
}

// dismissTooHeavy refuses the waiters whose weight is above limit. The word must be frozen.
func (b *Bulkhead) dismissTooHeavy(limit int) {
	for w := range b.queue.all() {
		switch {
		case w.weight <= limit:
		case w.shadowID != 0:
			b.queue.remove(w)
			b.shadows.rejected++
		default:
			b.queue.remove(w)
			w.refused = ErrTooHeavy
			w.done <- false
		}
	}
}
