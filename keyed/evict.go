package keyed

import "time"

// maxLooks bounds how many entries one new key looks at in search of a place. A place can therefore be
// overlooked when almost no value is idle; the search for the next new key goes on where this one
// ended.
const maxLooks = 64

// evict lets an entry go whose value is idle, preferably one that was not used lately, and calls
// then, as release does.
//
// It is the clock algorithm: a hand goes around the ring, spares each entry once that was used
// since it last came by, and takes the first other one that is idle. Where all were used it takes
// one of those: it is idle, so nothing is lost.
func (r *Registry[K, V]) evict(then func()) bool {
	var room [maxLooks]*entry[K, V]
	spared := room[:0]
	for range r.visits(maxLooks) {
		e := r.visit()
		switch {
		case e == nil:
		case e.state.CompareAndSwap(used, unused):
			spared = append(spared, e)
		case r.release(e, &r.evicted, then):
			return true
		}
	}
	for _, e := range spared {
		if r.release(e, &r.evicted, then) {
			return true
		}
	}
	return false
}

// visits returns how many visits the hand should make: at most limit, and none twice to the same
// entry.
func (r *Registry[K, V]) visits(limit int) int { return min(limit, r.ringLength()) }

func (r *Registry[K, V]) ringLength() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.length
}

// visit returns the entry at the hand, nil if there is none, and moves the hand on.
func (r *Registry[K, V]) visit() *entry[K, V] {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.hand
	if e != nil {
		r.hand = e.next
	}
	return e
}

// release lets e go if it is unused and its value is idle, and reports whether it did. If so, it calls
// then, with r.mu still held: nobody else can have the place before.
//
// Idle is a function of the user and runs under no lock, so e may be used while it runs, or just
// after its answer. That is what the claim is for: a use that comes after the claim takes it off,
// see [entry] and [Guard.Admit], and a value that was in use before the claim answers that it is
// not idle.
func (r *Registry[K, V]) release(e *entry[K, V], count *uint64, then func()) (released bool) {
	claim := r.claims.Add(1)
	if !e.state.CompareAndSwap(unused, claim) {
		return false
	}
	defer func() {
		if !released { // Idle may have panicked
			e.state.CompareAndSwap(claim, unused)
		}
	}()
	if !r.current().isIdle(e.value) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !e.state.CompareAndSwap(claim, gone) {
		return false
	}
	r.remove(e)
	*count++
	then()
	return true
}

// leaveFree does nothing with the place of an entry that was let go.
func leaveFree() {}

// shrink lets idle entries go while there are more than max. It may leave some to the searches of
// new keys.
func (r *Registry[K, V]) shrink() {
	for r.ringLength() > r.current().max && r.evict(leaveFree) {
	}
}

// touch notes that e is used now, and sweeps if it is time to. It writes as seldom as possible, so
// that cores that use the same key do not wait for each other.
func (r *Registry[K, V]) touch(e *entry[K, V], expireAfter time.Duration) {
	now := r.clock.Elapsed()
	if now-time.Duration(e.touched.Load()) > slack(expireAfter) {
		e.touched.Store(int64(now))
	}
	if int64(now) >= r.sweepDue.Load() {
		r.sweep(now, expireAfter)
	}
}

// slack is how much the time of an entry may lag behind its last use.
func slack(expireAfter time.Duration) time.Duration { return expireAfter / 16 }

// sweepSize is how many entries a sweep looks at.
const sweepSize = 16

// sweepsPerRound returns how many sweeps it takes to get around the ring when it is as long as it
// ever was. By its length now, every entry that goes would put off the next sweep, and a ring whose
// keys have all expired would take many rounds to empty.
func (r *Registry[K, V]) sweepsPerRound() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.longest/sweepSize + 1
}

// sweep lets go, of the next few entries, those that have expired and are idle, so often that the
// hand goes around the ring in half of the time after which they expire.
func (r *Registry[K, V]) sweep(now, expireAfter time.Duration) {
	due := r.sweepDue.Load()
	if int64(now) < due || !r.sweepDue.CompareAndSwap(due, int64(now+expireAfter/2/time.Duration(r.sweepsPerRound()))) {
		return // another goroutine does it
	}
	for range r.visits(sweepSize) {
		e := r.visit()
		if e == nil || now-time.Duration(e.touched.Load()) < expireAfter+slack(expireAfter) {
			continue
		}
		e.state.CompareAndSwap(used, unused)
		r.release(e, &r.expired, leaveFree)
	}
}

// restart makes all entries look as if they were used just now. r.mu must be held.
func (r *Registry[K, V]) restart() {
	now := int64(r.clock.Elapsed())
	for _, found := range r.entries.Range {
		found.(*entry[K, V]).touched.Store(now)
	}
	r.sweepDue.Store(0)
}
