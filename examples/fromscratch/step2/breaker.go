// Package step2 shares the breaker of step 1 between goroutines: each method takes the lock.
package step2

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

// Allow returns ErrOpen, or nil if the call may go through.
func (b *Breaker) Allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == Open && time.Since(b.openedAt) >= b.recovery {
		b.state = HalfOpen
	}
	if b.state == Open {
		return ErrOpen
	}
	return nil
}

// Succeeded reports a call that went well.
func (b *Breaker) Succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.failures = Closed, 0
}

// Failed reports a call that failed.
func (b *Breaker) Failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
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
