package fallback

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
)

// lastGood keeps the success of the call that began last.
type lastGood[T any] struct {
	maxAge time.Duration
	clock  stopwatch.Stopwatch
	begun  atomic.Uint64 // calls

	mu    sync.Mutex
	value T
	call  uint64        // the number of the call that made it, 0 for none
	at    time.Duration // when it was kept
}

// begin returns the number of a call that begins.
func (l *lastGood[T]) begin() uint64 { return l.begun.Add(1) }

// keep keeps the value of a call, unless a call that began later has left one that still counts.
func (l *lastGood[T]) keep(call uint64, value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if call < l.call && !l.tooOld() {
		return
	}
	l.value, l.call, l.at = value, call, l.clock.Elapsed()
}

// tooOld is called with l.mu held.
func (l *lastGood[T]) tooOld() bool { return l.clock.Elapsed()-l.at > l.maxAge }

func (l *lastGood[T]) answer(context.Context, error) (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.call == 0 || l.tooOld() {
		l.value, l.call = *new(T), 0 // it will not be young again: let go of it
		return l.value, ErrNoLastGood
	}
	return l.value, nil
}
