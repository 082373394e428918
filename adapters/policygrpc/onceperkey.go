package policygrpc

import "sync"

// oncePerKey lets something be done once for each key, such as to call a function of the user. The zero value is ready.
type oncePerKey[K comparable] struct {
	mu   sync.Mutex
	done map[K]bool
}

// first reports whether this is the first time that it is asked about key. When there were limit keys, no other is.
func (o *oncePerKey[K]) first(key K, limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done[key] || len(o.done) == limit {
		return false
	}
	if o.done == nil {
		o.done = map[K]bool{}
	}
	o.done[key] = true
	return true
}
