package keyed

import "time"

// Idler is what a value of a [Registry] implements in addition when forgetting it can matter. Only a value that is idle
// loses its place; a value without the method is always idle. The policies of this module implement it, and a pipeline
// is idle when all its layers are.
type Idler interface {
	// Idle reports whether the value may be forgotten: a new one in its place would let nothing through that this one
	// refuses, and lose nothing that this one holds. An open breaker is not idle, nor is a limiter that lacks tokens,
	// nor a bulkhead with calls in flight.
	//
	//   - It is a pure question: it reserves nothing, moves no state, and does not wait.
	//   - An admission that makes the value not idle does so before it returns.
	//   - What was set by hand since it was made is never idle: it would be forgotten.
	//   - A value that is not used becomes idle by the mere passing of time, when its calls have ended. One that never does
	//     holds its place for ever: an attacker could fill a registry with such values.
	Idle() bool
}

func isIdle(value any) bool {
	idler, ok := value.(Idler)
	return !ok || idler.Idle()
}

// free takes a free place for a new entry, if there is one.
func (r *Registry[K, V]) free() bool {
	for taken := r.places.Load(); taken < r.max; taken = r.places.Load() {
		if r.places.CompareAndSwap(taken, taken+1) {
			return true
		}
	}
	return false
}

// looks bounds the buckets that one new key looks into in search of a place; there is about one entry in each. So a
// place can be overlooked when almost no value is idle, and then the next new key looks elsewhere.
const looks = 64

// evict frees the place of an entry that is idle, preferably one that was not asked for lately, and leaves it to the caller.
//
// It is the clock algorithm: a hand goes around, spares each entry once that was used again since it last came by, and
// takes the first that was not. Where all were used it takes one of them all the same: it is idle, so nothing is lost.
func (r *Registry[K, V]) evict() bool {
	var room [8]*entry[K, V]
	var sparedRoom [looks]*entry[K, V]
	spared := sparedRoom[:0]
	for range min(looks, r.buckets.Load()) {
		for _, e := range r.nextShard().walk(1, room[:0]) {
			if !e.recent.Swap(false) {
				if r.remove(e, func() bool { return !e.recent.Load() }, false) {
					return true
				}
			} else if len(spared) < looks {
				spared = append(spared, e)
			}
		}
	}
	for _, e := range spared {
		if r.remove(e, func() bool { return true }, false) {
			return true
		}
	}
	return false
}

func (r *Registry[K, V]) nextShard() *shard[K, V] {
	return &r.shards[r.walker.Add(1)%uint64(len(r.shards))]
}

// remove takes e out if it is still unused and idle, and reports whether it did.
//
// Between the question and the act somebody may begin to use e. Therefore e is first made suspect: whoever gets it
// then, or is admitted by it (see Guard.Admit), makes it wanted, which forbids the act; and whoever was admitted before is
// seen by the question. No user function runs under the lock.
func (r *Registry[K, V]) remove(e *entry[K, V], unused func() bool, expired bool) (removed bool) {
	if !e.state.CompareAndSwap(live, suspect) {
		return false
	}
	defer func() {
		if !removed && !e.state.CompareAndSwap(suspect, live) { // also when Idle panics
			e.state.CompareAndSwap(wanted, live)
		}
	}()
	if !unused() || !isIdle(e.value) {
		return false
	}
	s := r.shard(e.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.state.CompareAndSwap(suspect, evicted) {
		return false
	}
	s.unlink(e)
	if expired {
		s.expired++
	} else {
		s.evicted++
	}
	return true
}

// slack is how much the time of an entry may lag behind its last use.
func (r *Registry[K, V]) slack() time.Duration { return r.idle / 16 }

// stride is how many buckets a sweep looks into.
const stride = 16

// sweep looks at the next few entries for unused ones, if it is time to: so often that the way around all tables takes
// half of the idle time.
func (r *Registry[K, V]) sweep(now time.Duration) {
	due := r.due.Load()
	if int64(now) < due {
		return
	}
	strides := r.buckets.Load()/stride + int64(len(r.shards))
	if !r.due.CompareAndSwap(due, int64(now+r.idle/2/time.Duration(strides))) {
		return // somebody else does it
	}
	var room [2 * stride]*entry[K, V]
	for _, e := range r.nextShard().walk(stride, room[:0]) {
		unused := func() bool { return now-time.Duration(e.touched.Load())-r.slack() >= r.idle }
		if unused() && r.remove(e, unused, true) {
			r.places.Add(-1)
		}
	}
}
