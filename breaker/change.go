package breaker

import "time"

// Change is a change of a breaker's state.
//
// Changes are numbered from 1 without a gap, and form a chain: each is From the state that the one before was To. Those
// with Shadow set, which a disabled breaker reports, form a chain of their own, which begins with Closed.
type Change struct {
	Number   uint64
	From, To State
	Shadow   bool // the breaker is disabled: this is what it would have done
	Reason   Reason
	At       time.Time
	Snapshot Snapshot // right after the change; the counts are those that led to it, unless it closed
}

// maxUndelivered bounds the changes that wait for subscribers.
const maxUndelivered = 10_000

// deliver hands the changes that wait to the subscribers, unless somebody else is doing so, who then takes these too.
func (b *Breaker) deliver() {
	b.mu.Lock()
	if b.delivering {
		b.mu.Unlock()
		return
	}
	b.delivering = true
	for len(b.undelivered) > 0 {
		change := b.undelivered[0]
		b.undelivered = b.undelivered[1:]
		b.mu.Unlock()
		for _, subscriber := range b.subscribers {
			b.tell(subscriber, change)
		}
		b.mu.Lock()
	}
	b.undelivered = nil
	b.delivering = false
	b.mu.Unlock()
}

// tell runs a subscriber on a goroutine of its own, so that runtime.Goexit ends that and not the caller's, and waits.
func (b *Breaker) tell(subscriber func(Change), change Change) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			recovered := recover()
			if returned {
				return
			}
			b.lost.Add(1)
			if recovered != nil && b.onPanic != nil {
				defer func() { _ = recover() }()
				b.onPanic(recovered)
			}
		}()
		subscriber(change)
		returned = true
	}()
	<-done
}
