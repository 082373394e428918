package bulkhead

import (
	"container/list"
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// queue is those who wait, in the order in which they came. It is guarded by the bulkhead's mutex.
type queue struct {
	waiters list.List // of *waiter
	peak    int
}

// waiter is an attempt in the queue.
type waiter struct {
	weight  int
	element *list.Element // nil when it has left the queue
	done    chan struct{} // closed when the bulkhead has decided: granted or refused
	granted bool          // it holds its slots
	refused error         // why it will not get them
}

func (q *queue) len() int { return q.waiters.Len() }

func (q *queue) first() *waiter {
	if front := q.waiters.Front(); front != nil {
		return front.Value.(*waiter)
	}
	return nil
}

func (q *queue) push(weight int) *waiter {
	w := &waiter{weight: weight, done: make(chan struct{})}
	w.element = q.waiters.PushBack(w)
	q.peak = max(q.peak, q.len())
	return w
}

func (q *queue) remove(w *waiter) {
	if w.element != nil {
		q.waiters.Remove(w.element)
		w.element = nil
	}
}

// join takes weight slots, or a place in the queue, or neither: a nil waiter with a nil error holds its slots.
func (b *Bulkhead) join(weight int) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.freeze()
	defer b.thaw()
	switch {
	case weight < 1 || weight > w.limit():
		return nil, b.refuse(noSlot(weight, w.limit()))
	case b.queue.len() == 0 && w.fits(weight):
		b.word.Add(uint64(weight))
		b.notePeak(w.inFlight() + weight)
		return nil, nil
	case b.queue.len() >= b.length:
		return nil, b.refuse(noSlot(weight, w.limit()))
	}
	return b.queue.push(weight), nil
}

// await waits until w is granted or refused, its wait is over, or ctx ends.
func (b *Bulkhead) await(ctx context.Context, w *waiter) error {
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case <-w.done:
		ended := policy.ContextError(ctx)
		if w.granted && ended == nil { // no mutex: granted was set before done was closed
			return nil
		}
		return b.leave(w, ended)
	case <-timer.C:
	case <-ctx.Done():
	}
	return b.leave(w, policy.ContextError(ctx))
}

// leave ends the wait of w. ended is not nil when its context has ended: then it takes nothing, even when its slots
// were granted in the same moment; they go to those behind it.
func (b *Bulkhead) leave(w *waiter, ended error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.granted && ended == nil {
		return nil
	}
	b.freeze()
	defer b.thaw()
	b.queue.remove(w)
	if w.granted {
		b.word.Add(-uint64(w.weight))
	}
	b.grant() // w may have been all that those behind it waited for
	switch {
	case ended != nil:
		return ended
	case w.refused != nil:
		return b.refuse(w.refused)
	}
	return b.refuse(errTooLate)
}

// grant gives free slots to those who wait, in order, and stops at the first who does not fit. The word must be
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
		close(first.done)
	}
}

// dismissTooHeavy refuses those who wait for more than limit. The word must be frozen.
func (b *Bulkhead) dismissTooHeavy(limit int) {
	for element := b.queue.waiters.Front(); element != nil; {
		w := element.Value.(*waiter)
		element = element.Next()
		if w.weight > limit {
			b.queue.remove(w)
			w.refused = errTooHeavy
			close(w.done)
		}
	}
}
