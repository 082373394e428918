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

	mu     sync.Mutex // held for splits, by those who hold the lock of the segment that is split
	most   uint8      // a segment that has so many bits in common is not split
	closed atomic.Bool
}

// New returns an empty table with room for about that many keys, from 1 to [MaxKeys].
func New(keys int) *Table {
	t := &Table{most: depthFor(keys)}
	t.directory.Store(newDirectory())
	return t
}

// depthFor returns how often segments may be split, so that keys fill at most three quarters of them.
func depthFor(keys int) (depth uint8) {
	for room := slots * 3 / 4; room < keys; room *= 2 {
		depth++
	}
	return depth
}

// Outcome is how [Table.Take] ended.
type Outcome uint8

const (
	again           Outcome = iota // look again
	Closed                         // the words are in another table, see [Table.Move]
	Taken                          // by the word of the key
	Refused                        // by the word of the key
	OverflowTaken                  // by an overflow word
	OverflowRefused                // by an overflow word
)

// Take adds cost to the word of a key, from now on if the word lies in the past, unless it would then be later than line.
// It returns from when the cost counts, or would have.
//
// The hash is that of the key. now must be positive, and may be a little older than that of another call. cost must be
// positive.
func (t *Table) Take(hash uint64, now, line, cost int64) (from int64, outcome Outcome) {
	if hash == 0 {
		hash = 1 // 0 is no hash
	}
	for {
		s := t.directory.Load().segment(hash)
		if e := s.find(hash); e != nil {
			from, outcome = e.take(hash, now, line, cost)
		} else {
			from, outcome = t.place(s, hash, now, line, cost)
		}
		if outcome != again {
			return from, outcome
		}
		if t.await(s) {
			return 0, Closed
		}
	}
}

// await waits for whoever is changing s, and reports whether the table was closed.
func (t *Table) await(s *segment) bool {
	s.lock().Lock()
	defer s.lock().Unlock()
	return t.closed.Load()
}

// place is Take for a key that was not found.
func (t *Table) place(s *segment, hash uint64, now, line, cost int64) (from int64, outcome Outcome) {
	s.lock().Lock()
	defer s.lock().Unlock()
	if t.replaced(s, hash) || s.find(hash) != nil {
		return 0, again
	}
	home := s.home(hash)
	from = max(now, home.overflow.Load())
	if from > line-cost {
		return from, OverflowRefused
	}
	e, retry := t.room(s, hash, now)
	switch {
	case retry:
		return 0, again
	case e == nil:
		home.overflow.Store(from + cost)
		return from, OverflowTaken
	}
	e.set(hash, from+cost)
	return from, Taken
}

// replaced reports whether s is no longer the segment of hash. The lock of s must be held.
func (t *Table) replaced(s *segment, hash uint64) bool {
	return t.closed.Load() || t.directory.Load().segment(hash) != s
}

// room returns a busy entry for a key, nil if there is none. retry says that the segment was replaced by one that may have
// one. The lock of s must be held.
func (t *Table) room(s *segment, hash uint64, now int64) (e *entry, retry bool) {
	if e = s.vacate(hash, now); e != nil {
		return e, false
	}
	return nil, t.makeRoom(s, hash, now)
}

// GiveBack takes from the word of a key what worth says, which is asked after the word was read: so if the word is still the
// same, nothing was decided by it since then. If the key has no entry, its overflow word is meant.
//
// What is given back must be worth at most its cost less the time since it was taken. Then every word stays at least
// what it would be if it had never been taken: a word that is c later than another one stays so, but for the time that
// passes, whatever else is taken. If the entry was evicted meanwhile, at least the cost has passed, and nothing goes back.
func (t *Table) GiveBack(hash uint64, worth func() int64) {
	if hash == 0 {
		hash = 1
	}
	for {
		s := t.directory.Load().segment(hash)
		var done bool
		if e := s.find(hash); e != nil {
			done = e.giveBack(hash, worth)
		} else {
			done = t.giveBackOverflow(s, hash, worth)
		}
		if done || t.await(s) {
			return
		}
	}
}

// giveBack reports false when the caller must look again.
func (e *entry) giveBack(hash uint64, worth func() int64) bool {
	for {
		was := e.word.Load()
		if was < 0 || e.hash.Load() != hash {
			return false
		}
		give := worth()
		if give <= 0 || e.word.CompareAndSwap(was, max(0, was-give)) {
			return true
		}
	}
}

func (t *Table) giveBackOverflow(s *segment, hash uint64, worth func() int64) bool {
	s.lock().Lock()
	defer s.lock().Unlock()
	if t.replaced(s, hash) || s.find(hash) != nil {
		return false
	}
	if give := worth(); give > 0 {
		home := s.home(hash)
		home.overflow.Store(max(0, home.overflow.Load()-give))
	}
	return true
}

// Word returns the word of a key, or the overflow word that it would start from.
func (t *Table) Word(hash uint64) int64 {
	if hash == 0 {
		hash = 1
	}
	for {
		s := t.directory.Load().segment(hash)
		e := s.find(hash)
		if e == nil {
			return s.home(hash).overflow.Load()
		}
		if word := e.word.Load(); word >= 0 && e.hash.Load() == hash {
			return word
		}
		if t.await(s) {
			return 0
		}
	}
}

// Usage is what is in a table.
type Usage struct {
	Keys     int   // words later than now
	Overflow int   // overflow words later than now
	Lines    int   // each with an overflow word
	Latest   int64 // the latest word of all
}

// Usage looks at all words. It waits for nobody but those who replace a segment. It reports false when the words are in
// another table, see [Table.Move].
func (t *Table) Usage(now int64) (u Usage, ok bool) {
	for next, end := uint64(0), false; !end; {
		d := t.directory.Load()
		s, count := d.run(next)
		part := u
		if !s.usage(now, &part) { // some of its words are in another segment by now
			if t.await(s) {
				return Usage{}, false
			}
			continue
		}
		u = part
		next += uint64(count) << d.shift
		end = next == 0 // beyond the last hash
	}
	return u, true
}

// usage adds what is in s, and reports false when s is being replaced.
func (s *segment) usage(now int64, u *Usage) bool {
	for i := range s.lines {
		l := &s.lines[i]
		for j := range l.entries {
			word := l.entries[j].word.Load()
			if word == frozen {
				return false
			}
			u.Latest = max(u.Latest, word)
			if word > now {
				u.Keys++
			}
		}
		overflow := l.overflow.Load()
		u.Latest = max(u.Latest, overflow)
		if overflow > now {
			u.Overflow++
		}
	}
	u.Lines += lines
	return true
}

// Grow gives the table room for about that many keys. It never gets smaller.
func (t *Table) Grow(keys int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.most = max(t.most, depthFor(keys))
}
