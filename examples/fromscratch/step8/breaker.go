// Package step8 counts a result only in the state that the call was admitted in.
package step8

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

// Verdict is what the end of a call says about the dependency.
type Verdict int

// The verdicts.
const (
	Failure Verdict = iota
	Success         // an answer, although perhaps not the one that was hoped for
	Neutral         // nothing: the caller made a mistake, or left
)

// The rule: the breaker opens when at least half of the last 100 calls failed, and there were at least 20.
const (
	windowCalls  = 100
	minimumCalls = 20
)

// Breaker opens by the failure rate, and asks again after the recovery time. It is safe for concurrent use.
type Breaker struct {
	recovery time.Duration
	judge    func(error) Verdict

	mu      sync.Mutex
	state   State
	since   time.Time // when it entered the state
	number  int       // of the state: how many changes there were
	last    []bool    // whether each of the last calls failed
	probing bool      // the one call that may go through while half-open has not ended
}

// New returns a closed breaker. judge says what an error means.
func New(recovery time.Duration, judge func(error) Verdict) *Breaker {
	return &Breaker{recovery: recovery, judge: judge, state: Closed}
}

// Do runs op, unless the breaker is open. A panic in op is a failure, and goes on to the caller.
func (b *Breaker) Do(op func() error) error {
	admitted, err := b.before()
	if err != nil {
		return err
	}
	verdict := Failure // unless op returns
	defer func() { b.after(admitted, verdict) }()
	err = op()
	if verdict = Success; err != nil {
		verdict = b.judge(err)
	}
	return err
}

// before returns ErrOpen, or the number of the state that the call goes through in.
func (b *Breaker) before() (admitted int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == Open && time.Since(b.since) >= b.recovery {
		b.enter(HalfOpen)
	}
	switch {
	case b.state == Open, b.state == HalfOpen && b.probing:
		return 0, ErrOpen
	case b.state == HalfOpen:
		b.probing = true
	}
	return b.number, nil
}

// after counts how a call ended, if the state is still the one that it was admitted in.
func (b *Breaker) after(admitted int, verdict Verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if admitted != b.number {
		return
	}
	b.probing = false
	if verdict == Neutral {
		return
	}
	failed := verdict == Failure
	switch {
	case b.state == HalfOpen && !failed:
		b.enter(Closed)
	case b.state == HalfOpen, b.trips(failed):
		b.enter(Open)
	}
}

// enter changes the state.
func (b *Breaker) enter(state State) {
	b.state, b.since, b.probing, b.last = state, time.Now(), false, nil
	b.number++
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
