package policygrpc

import "sync"

// told remembers what a function of the user was told of, so that it is told of each key once. The zero value is ready.
type told[K comparable] struct {
	mu   sync.Mutex
	keys map[K]bool
}

// first reports whether the function is to be told of key now: it was not yet, and of fewer than limit keys.
func (t *told[K]) first(key K, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys[key] || len(t.keys) == limit {
		return false
	}
	if t.keys == nil {
		t.keys = map[K]bool{}
	}
	t.keys[key] = true
	return true
}
