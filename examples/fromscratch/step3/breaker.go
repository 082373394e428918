// Package step3 runs the call for its caller, so that no result is forgotten. It holds the lock while the call runs, which
// is the first pitfall.
package step3

import (
	"errors"
	"sync"
	"time"
)

// ErrOpen says that the breaker did not let the call through.
var ErrOpen = errors.New("circuit open")

// State is what the breaker is.
type State string

// The three states.
const (
	Closed   State = "closed"    // calls go through
	Open     State = "open"      // calls are refused
	HalfOpen State = "half-open" // the recovery time is over: the next result decides
)

// Breaker opens after threshold failures in a row, and asks again after the recovery time. It is safe for concurrent use.
type Breaker struct {
	threshold int
	recovery  time.Duration

	mu       sync.Mutex
	state    State
	failures int       // in a row
	openedAt time.Time // when it opened last
}

// New returns a closed breaker.
func New(threshold int, recovery time.Duration) *Breaker {
	return &Breaker{threshold: threshold, recovery: recovery, state: Closed}
}

// Do runs op, unless the breaker is open.
func (b *Breaker) Do(op func() error) error {
	b.mu.Lock()
	if err := b.allow(); err != nil {
		b.mu.Unlock()
		return err
	}
	err := op()
	b.record(err != nil)
	b.mu.Unlock()
	return err
}

// allow returns ErrOpen, or nil if the call may go through.
func (b *Breaker) allow() error {
	if b.state == Open && time.Since(b.openedAt) >= b.recovery {
		b.state = HalfOpen
	}
	if b.state == Open {
		return ErrOpen
	}
	return nil
}

// record counts how a call ended.
func (b *Breaker) record(failed bool) {
	if !failed {
		b.state, b.failures = Closed, 0
		return
	}
	b.failures++
	if b.state == HalfOpen || b.failures >= b.threshold {
		b.state, b.openedAt = Open, time.Now()
	}
}

// State returns what the breaker is.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Locked reports whether the lock is taken. It is only there to show the pitfall.
func (b *Breaker) Locked() bool {
	if b.mu.TryLock() {
		b.mu.Unlock()
		return false
	}
	return true
}
