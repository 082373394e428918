// Package step1 is a circuit breaker as a state machine, for one goroutine. The caller asks Allow before each call, and
// reports afterwards how it ended.
package step1

import (
	"errors"
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

// Breaker opens after threshold failures in a row, and asks again after the recovery time.
type Breaker struct {
	threshold int
	recovery  time.Duration

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
	if b.state == Open && time.Since(b.openedAt) >= b.recovery {
		b.state = HalfOpen
	}
	if b.state == Open {
		return ErrOpen
	}
	return nil
}

// Succeeded reports a call that went well.
func (b *Breaker) Succeeded() { b.state, b.failures = Closed, 0 }

// Failed reports a call that failed.
func (b *Breaker) Failed() {
	b.failures++
	if b.state == HalfOpen || b.failures >= b.threshold {
		b.state, b.openedAt = Open, time.Now()
	}
}

// State returns what the breaker is.
func (b *Breaker) State() State { return b.state }
