package keytable

import (
	"sync"
	"sync/atomic"
)

const (
	ways           = 3 // entries of a line
	lineBits       = 7
	lines          = 1 << lineBits // of a segment
	segmentEntries = ways * lines
)

// Words that are none. No take swaps them: whoever finds one waits for the lock of the segment, and looks again.
const (
	busy   int64 = -1 // somebody who holds the lock has the entry for another key, or freezes the segment next
	frozen int64 = -2 // the segment was replaced; the word is in its copy, and cannot change here any more
)

// matters reports whether a word must be kept. One at the floor grants as much as none, but see overflow rule 1.
func matters(word, floor int64) bool { return word >= floor }

// entry is the word of a key.
type entry struct {
	hash atomic.Uint64 // of the key; 0 for none. It is written under the lock of the segment, while the word is busy
	word atomic.Int64
}

// line is one line of a processor's cache, 64 bytes.
type line struct {
	entries  [ways]entry
	overflow atomic.Int64 // word of the keys at home here that have no entry; written under the lock of the segment
	lock     sync.Mutex   // that of the first line is the lock of the segment; the others fill the line
}

// segment is 8 KiB without a pointer, which the allocator aligns so that lines are lines of the cache.
type segment struct{ lines [lines]line }

func (s *segment) lock() *sync.Mutex { return &s.lines[0].lock }

// candidates returns the lines in which a key can be, in the order in which they are searched. The first bits of the hash
// choose the segment, the last ones the lines.
func candidates(hash uint64) [6]uint8 {
	home, second, third := uint8(hash%lines), uint8(hash>>lineBits%lines), uint8(hash>>(2*lineBits)%lines)
	return [...]uint8{home, home ^ 1, second, second ^ 1, third, third ^ 1}
}

// home returns the line whose overflow word is that of a key.
func (s *segment) home(hash uint64) *line { return &s.lines[hash%lines] }

// find returns the entry of a key, nil if it has none.
func (s *segment) find(hash uint64) *entry {
	if e := s.home(hash).find(hash); e != nil { // most keys are at home
		return e
	}
	return s.findAway(hash)
}

func (s *segment) findAway(hash uint64) *entry {
	away := candidates(hash)
	for _, i := range away[1:] {
		if e := s.lines[i].find(hash); e != nil {
			return e
		}
	}
	return nil
}

// find looks at all three entries and branches on none of them: which one it is, no processor can guess.
func (l *line) find(hash uint64) *entry {
	at := 0
	if l.entries[1].hash.Load() == hash {
		at = 1
	}
	if l.entries[2].hash.Load() == hash {
		at = 2
	}
	if e := &l.entries[at]; e.hash.Load() == hash {
		return e
	}
	return nil
}

// raiseOverflow makes the overflow word at least word. The lock of the segment must be held.
func (l *line) raiseOverflow(word int64) { l.overflow.Store(max(l.overflow.Load(), word)) }

// take is [Table.Take] for an entry that was found by its hash, and may be somebody else's by now.
func (e *entry) take(hash uint64, floor, ceiling, cost int64) (from int64, outcome Outcome) {
	for {
		was := e.word.Load()
		if was < 0 || e.hash.Load() != hash { // read after the word, which so is that of this key
			return 0, again
		}
		from = max(was, floor)
		if from > ceiling-cost {
			return from, Refused
		}
		if e.word.CompareAndSwap(was, from+cost) { // another owner has another word: see "What can go wrong"
			return from, Taken
		}
	}
}

// vacate returns an entry that a key can have, busy, nil if all of them matter. The lock must be held.
func (s *segment) vacate(hash uint64, floor int64) *entry {
	for _, i := range candidates(hash) {
		for j := range s.lines[i].entries {
			e := &s.lines[i].entries[j]
			was := e.word.Load()
			if was < 0 || matters(was, floor) || !e.word.CompareAndSwap(was, busy) {
				continue
			}
			s.home(e.hash.Load()).raiseOverflow(was) // 0 where there was no owner
			return e
		}
	}
	return nil
}

// set gives a busy entry to a key.
func (e *entry) set(hash uint64, word int64) {
	e.hash.Store(hash)
	e.word.Store(word)
}
