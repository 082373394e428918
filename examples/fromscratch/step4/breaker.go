// Package step4 takes the lock before the call and after it, never while it runs, and settles the call in a defer.
package step4

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

// Do runs op, unless the breaker is open. A panic in op is a failure, and goes on to the caller.
func (b *Breaker) Do(op func() error) error {
	if err := b.before(); err != nil {
		return err
	}
	failed := true // unless op returns
	defer func() { b.after(failed) }()
	err := op()
	failed = err != nil
	return err
}

// before returns ErrOpen, or nil if the call may go through.
func (b *Breaker) before() error {
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

// after counts how a call ended.
func (b *Breaker) after(failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
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
