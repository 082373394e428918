package keyed

import (
	"sync"
	"sync/atomic"
)

// entry is a key and its value. What is in it is only changed by atomic operations once other goroutines can see it.
type entry[K comparable, V any] struct {
	next    atomic.Pointer[entry[K, V]] // the next of the same bucket; may only be changed under the lock of the shard
	state   atomic.Int32
	recent  atomic.Bool  // it was asked for since the search for a place last came by
	touched atomic.Int64 // when it was asked for, by the registry's stopwatch, roughly; only with Idle
	hash    uint64
	key     K
	value   V // may be read unless the state is making
}

// The states of an entry:
//
//	making ── live ── suspect ── evicted
//	             │  ╲     │
//	             │    wanted
//	          deleted
//
// Only live, suspect and wanted follow each other without the lock of the shard.
const (
	making  int32 = iota // on its way: whoever needs it waits
	live                 // the only state in which it may be handed out without a second look
	suspect              // somebody wants to evict it and looks whether it is idle
	wanted               // somebody else needs it meanwhile: the one who wanted to evict it sets it live again
	evicted              // out of the table
	deleted              // out of the table, on request
)

// keep makes sure that e is not evicted by somebody who found it idle before. It reports false when that was too late.
func (e *entry[K, V]) keep() bool {
	if e.state.Load() == suspect {
		e.state.CompareAndSwap(suspect, wanted)
	}
	return e.state.Load() != evicted
}

// shard is a part of a registry: a hash table that is changed under a lock and read without one.
//
// A reader may miss an entry while the table grows or the entry comes and goes; then it looks again under the lock.
type shard[K comparable, V any] struct {
	buckets atomic.Pointer[[]bucket[K, V]] // their number is a power of two

	mu     sync.Mutex
	size   int                            // entries in the table, those in the making included
	makers map[*entry[K, V]]chan struct{} // closed when the making has ended
	hand   int                            // the bucket before the one where the next walk begins
	counts
}

// bucket is the first entry of a list.
type bucket[K comparable, V any] = atomic.Pointer[entry[K, V]]

// counts is what a shard tells of its past.
type counts struct{ made, evicted, expired, deleted, refused uint64 }

const initialBuckets = 4

func (s *shard[K, V]) init() {
	buckets := make([]bucket[K, V], initialBuckets)
	s.buckets.Store(&buckets)
	s.makers = make(map[*entry[K, V]]chan struct{})
}

// find returns the entry of key, or nil. Without the lock, nil may be wrong, and the entry may be on its way out.
func (s *shard[K, V]) find(hash uint64, key K) *entry[K, V] {
	buckets := *s.buckets.Load()
	for e := buckets[hash&uint64(len(buckets)-1)].Load(); e != nil; e = e.next.Load() {
		if e.hash == hash && e.key == key {
			return e
		}
	}
	return nil
}

// insert adds e, whose key must not be there, and returns by how many buckets the table has grown. s.mu must be held.
func (s *shard[K, V]) insert(e *entry[K, V]) (grown int) {
	buckets := *s.buckets.Load()
	if s.size >= len(buckets) {
		grown = len(buckets)
		buckets = s.grow(buckets)
	}
	s.size++
	first := &buckets[e.hash&uint64(len(buckets)-1)]
	e.next.Store(first.Load())
	first.Store(e)
	return grown
}

// grow moves all entries to twice as many buckets. A reader that is on its way through the old lists goes on in a new one and
// comes to its end, since each entry is followed only by entries that were moved before it, or not yet.
func (s *shard[K, V]) grow(old []bucket[K, V]) []bucket[K, V] {
	buckets := make([]bucket[K, V], 2*len(old))
	for i := range old {
		for e := old[i].Load(); e != nil; {
			next := e.next.Load()
			first := &buckets[e.hash&uint64(len(buckets)-1)]
			e.next.Store(first.Load())
			first.Store(e)
			e = next
		}
	}
	s.buckets.Store(&buckets)
	return buckets
}

// unlink takes e, which must be there, out of the table. A reader that stands at e still finds its way on. s.mu must be held.
func (s *shard[K, V]) unlink(e *entry[K, V]) {
	buckets := *s.buckets.Load()
	at := &buckets[e.hash&uint64(len(buckets)-1)]
	for at.Load() != e {
		at = &at.Load().next
	}
	at.Store(e.next.Load())
	s.size--
}

// walk moves the hand on by n buckets and appends the live entries in them to found, as far as its capacity allows.
func (s *shard[K, V]) walk(n int, found []*entry[K, V]) []*entry[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	buckets := *s.buckets.Load()
	for range min(n, len(buckets)) {
		s.hand = (s.hand + 1) & (len(buckets) - 1)
		for e := buckets[s.hand].Load(); e != nil && len(found) < cap(found); e = e.next.Load() {
			if e.state.Load() == live {
				found = append(found, e)
			}
		}
	}
	return found
}

// entries returns all entries whose values are made.
func (s *shard[K, V]) entries() []*entry[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make([]*entry[K, V], 0, s.size)
	buckets := *s.buckets.Load()
	for i := range buckets {
		for e := buckets[i].Load(); e != nil; e = e.next.Load() {
			if e.state.Load() != making {
				found = append(found, e)
			}
		}
	}
	return found
}
