package keytable

import (
	"sync"
	"sync/atomic"
)

// MaxKeys is the most keys that a table can be made for.
const MaxKeys = 1 << 30

// Table is a table of words. Make one with [New]. It is safe for concurrent use.
type Table struct {
	directory atomic.Pointer[directory]

	mu       sync.Mutex  // for changes of the directory and of what follows; taken after the lock of a segment, never before
	maxDepth uint8       // a segment of this depth is not split
	closed   atomic.Bool // by Move, before it freezes the first segment
}

// New returns an empty table with room for about that many keys, from 1 to [MaxKeys].
func New(keys int) *Table {
	t := &Table{maxDepth: depthFor(keys)}
	t.directory.Store(newDirectory())
	return t
}

// depthFor returns how often segments may be split, so that keys fill at most three quarters of them.
func depthFor(keys int) (depth uint8) {
	for room := segmentEntries * 3 / 4; room < keys; room *= 2 {
		depth++
	}
	return depth
}

// Outcome is how [Table.Take] ended.
type Outcome uint8

const (
	again           Outcome = iota // look again; Take does so itself
	Closed                         // the words are in another table, or on their way there, see [Table.Move]
	Taken                          // by the word of the key
	Refused                        // by the word of the key
	OverflowTaken                  // by an overflow word
	OverflowRefused                // by an overflow word
)

// Granted reports whether the cost was added.
func (o Outcome) Granted() bool { return o == Taken || o == OverflowTaken }

// Overflowed reports whether an overflow word decided, which the key shares with others.
func (o Outcome) Overflowed() bool { return o == OverflowTaken || o == OverflowRefused }

// Take adds cost to the word of a key, or to the floor if the word is below it, unless the sum is above the ceiling. It
// returns what the cost was added to, or would have been.
//
// The hash is that of the key. floor must be positive, and may be a little lower than that of another call, whose reading
// of the clock is newer. cost must be positive.
func (t *Table) Take(hash uint64, floor, ceiling, cost int64) (from int64, outcome Outcome) {
	hash = max(1, hash) // 0 is no hash
	for {
		s := t.directory.Load().segment(hash)
		if e := s.find(hash); e != nil {
			from, outcome = e.take(hash, floor, ceiling, cost)
		} else {
			from, outcome = t.place(s, hash, floor, ceiling, cost)
		}
		if outcome != again {
			return from, outcome
		}
		if closed := t.await(s); closed {
			return 0, Closed
		}
	}
}

// await waits for whoever is changing s, and reports whether the table is closed.
func (t *Table) await(s *segment) (closed bool) {
	s.lock().Lock()
	defer s.lock().Unlock()
	return t.closed.Load()
}

// place is Take for a key that was not found.
func (t *Table) place(s *segment, hash uint64, floor, ceiling, cost int64) (from int64, outcome Outcome) {
	s.lock().Lock()
	defer s.lock().Unlock()
	if t.isOutdated(s, hash) || s.find(hash) != nil {
		return 0, again
	}
	home := s.home(hash)
	from = max(floor, home.overflow.Load())
	if from > ceiling-cost { // overflow rule 2: also when there is a free entry
		return from, OverflowRefused
	}
	if e := s.vacate(hash, floor); e != nil {
		e.set(hash, from+cost)
		return from, Taken
	}
	if lookAgain := t.makeRoom(s, hash, floor); lookAgain {
		return 0, again
	}
	home.overflow.Store(from + cost)
	return from, OverflowTaken
}

// isOutdated reports whether s is no longer the segment of hash, or the table is closed. The lock of s must be held.
func (t *Table) isOutdated(s *segment, hash uint64) bool {
	return t.closed.Load() || t.directory.Load().segment(hash) != s
}

// GiveBack takes from the word of a key what worth says, which is asked after the word was read: so if the word is still the
// same, nothing was decided by it since then. If the key has no entry, its overflow word is meant.
//
// What is given back must be worth at most its cost, less what the floor has risen by since it was taken. Then no word is
// lower than it would be had the cost never been taken: of two words, one that is higher by c stays so, less what the floor
// rises by, whatever else is taken. If the entry was evicted meanwhile, the floor has risen by the cost at least, and nothing
// goes back.
//
// It holds the lock of the segment, so that the entry has no other owner by the time that the word is swapped: a word that has been
// lowered can be the same again with the next one. So worth must not use the table.
func (t *Table) GiveBack(hash uint64, worth func() int64) {
	hash = max(1, hash)
	for done := false; !done; {
		done = t.giveBack(t.directory.Load().segment(hash), hash, worth)
	}
}

// giveBack reports false when the caller must look again.
func (t *Table) giveBack(s *segment, hash uint64, worth func() int64) (done bool) {
	s.lock().Lock()
	defer s.lock().Unlock()
	if t.isOutdated(s, hash) {
		return t.closed.Load() // to a closed table nothing goes back
	}
	word := &s.home(hash).overflow
	if e := s.find(hash); e != nil {
		word = &e.word
	}
	for {
		was := word.Load()
		give := worth()
		if give <= 0 || word.CompareAndSwap(was, max(0, was-give)) {
			return true
		}
	}
}

// Word returns the word of a key, or the overflow word that it would start from. The table is closed if the words are in
// another one, or on their way there.
func (t *Table) Word(hash uint64) (word int64, closed bool) {
	hash = max(1, hash)
	for {
		s := t.directory.Load().segment(hash)
		e := s.find(hash)
		if e == nil {
			word = s.home(hash).overflow.Load()
			return word, t.closed.Load()
		}
		if word := e.word.Load(); word >= 0 && e.hash.Load() == hash {
			return word, false
		}
		if closed := t.await(s); closed {
			return 0, true
		}
	}
}

// Grow gives the table room for about that many keys. It never gets smaller.
func (t *Table) Grow(keys int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.maxDepth = max(t.maxDepth, depthFor(keys))
}
