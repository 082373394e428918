// Package step6 lets one call at a time through while the circuit is half-open.
package step6

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

// The rule: the breaker opens when at least half of the last 100 calls failed, and there were at least 20.
const (
	windowCalls  = 100
	minimumCalls = 20
)

// Breaker opens by the failure rate, and asks again after the recovery time. It is safe for concurrent use.
type Breaker struct {
	recovery time.Duration

	mu       sync.Mutex
	state    State
	openedAt time.Time // when it opened last
	last     []bool    // whether each of the last calls failed
	probing  bool      // the one call that may go through while half-open has not ended
}

// New returns a closed breaker.
func New(recovery time.Duration) *Breaker { return &Breaker{recovery: recovery, state: Closed} }

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
		b.state, b.probing = HalfOpen, false
	}
	switch {
	case b.state == Open, b.state == HalfOpen && b.probing:
		return ErrOpen
	case b.state == HalfOpen:
		b.probing = true
	}
	return nil
}

// after counts how a call ended.
func (b *Breaker) after(failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch {
	case b.state == HalfOpen && !failed:
		b.state, b.last = Closed, nil
	case b.state == HalfOpen, b.trips(failed):
		b.state, b.openedAt = Open, time.Now()
	}
}

// trips notes a result, and reports whether it opens the circuit.
func (b *Breaker) trips(failed bool) bool {
	if b.last = append(b.last, failed); len(b.last) > windowCalls {
		b.last = b.last[1:]
	}
	failures := 0
	for _, failed := range b.last {
		if failed {
			failures++
		}
	}
	return failed && len(b.last) >= minimumCalls && 2*failures >= len(b.last)
}

// State returns what the breaker is.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
