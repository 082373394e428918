package fallback

import (
	"context"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
)

// lastGood keeps the latest success.
type lastGood[T any] struct {
	maxAge time.Duration
	clock  stopwatch.Stopwatch

	mu    sync.Mutex
	value T
	at    time.Duration // when it was kept
	have  bool
}

func (l *lastGood[T]) keep(value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.at, l.have = value, l.clock.Elapsed(), true
}

func (l *lastGood[T]) answer(context.Context, error) (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.have || l.clock.Elapsed()-l.at > l.maxAge {
		l.value, l.have = *new(T), false // it will not be young again: let go of it
		return l.value, ErrNoLastGood
	}
	return l.value, nil
}
