package breaker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/policy"
)

// Change is a change of a breaker's state.
//
// Changes are numbered from 1 without a gap, and form a chain: each is From the state that the one before was To. A
// change of mode is none.
type Change struct {
	Number   uint64       `json:"number"`
	From     State        `json:"from"`
	To       State        `json:"to"`
	Shadow   bool         `json:"shadow,omitempty"` // the breaker was in shadow: it refuses nothing whatever its state
	Reason   Reason       `json:"reason"`
	Cause    policy.Cause `json:"cause,omitzero"` // the Reason with its numbers and limits
	At       time.Time    `json:"at"`
	Snapshot Snapshot     `json:"snapshot"` // right after the change; the counts are those that led to it, unless it closed
}

// String returns one line, such as: closed to open: failure rate.
func (c Change) String() string { return fmt.Sprintf("%v to %v: %v", c.From, c.To, c.Reason) }

// LogValue returns the change, and the snapshot, as a group.
func (c Change) LogValue() slog.Value {
	return slog.GroupValue(slog.Uint64("number", c.Number), slog.String("from", c.From.String()),
		slog.String("to", c.To.String()), slog.Bool("shadow", c.Shadow), slog.String("reason", c.Reason.String()),
		slog.Time("at", c.At), slog.Any("snapshot", c.Snapshot))
}

// queueChange queues the change from era e to what the core is now, if it is one of state and there are subscribers.
func (b *Breaker) queueChange(e *era, now time.Duration) {
	c := b.core
	if len(b.config.subscribers) == 0 || e.state == c.state {
		return
	}
	if len(b.undelivered) == maxUndelivered { // a subscriber hangs: the latest are worth more than the oldest
		b.undelivered = b.undelivered[1:]
		b.lost.Add(uint64(len(b.config.subscribers)))
	}
	b.undelivered = append(b.undelivered, Change{
		Number:   c.changes,
		From:     e.state,
		To:       c.state,
		Shadow:   c.shadow,
		Reason:   c.reason,
		Cause:    c.cause,
		At:       b.clock.Time(now),
		Snapshot: b.snapshot(now),
	})
}

// maxUndelivered bounds the changes that wait for subscribers.
const maxUndelivered = 10_000

// deliver hands the queued changes to the subscribers. If another goroutine is doing so, it leaves them to that.
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
		subscribers := b.config.subscribers
		b.mu.Unlock()
		for _, subscriber := range subscribers {
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
	if !detached.Wait(func() { subscriber(change) }).Returned() {
		b.lost.Add(1)
	}
}
