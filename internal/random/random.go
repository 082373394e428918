// Package random makes sources of randomness safe for concurrent use.
package random

import (
	"math/rand/v2"
	"sync"
)

// Shared returns random numbers of the process.
func Shared() *rand.Rand { return rand.New(shared{}) }

type shared struct{}

func (shared) Uint64() uint64 { return rand.Uint64() }

// Guard returns random numbers of source, which is never used by two goroutines at once.
func Guard(source rand.Source) *rand.Rand { return rand.New(&guarded{source: source}) }

type guarded struct {
	mu     sync.Mutex
	source rand.Source
}

func (g *guarded) Uint64() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock() // the source may panic
	return g.source.Uint64()
}
