package keytable

import "math"

// Usage is what is in a table.
type Usage struct {
	Keys     int   // words above the floor: the buckets that are not full
	Overflow int   // overflow words above the floor
	Lines    int   // each with an overflow word
	Latest   int64 // the latest word of all
}

// Usage looks at all words. It waits only for those who replace a segment. The table is closed if the words are in another
// one, or on their way there.
func (t *Table) Usage(floor int64) (u Usage, closed bool) {
	for first, isLast := uint64(0), false; !isLast; {
		s, last := t.segmentFrom(first)
		sum := u
		if ok := s.addUsage(floor, &sum); !ok { // some of its words are in another segment by now
			if closed := t.await(s); closed {
				return Usage{}, true
			}
			continue
		}
		u = sum
		first, isLast = last+1, last == math.MaxUint64
	}
	return u, false
}

// segmentFrom returns the segment whose first hash is given, and its last hash. The slots of a segment change under the mutex,
// all together.
func (t *Table) segmentFrom(first uint64) (s *segment, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.directory.Load()
	return d.segment(first), d.lastHash(first)
}

// addUsage adds what is in s. It is not ok when s is being replaced.
func (s *segment) addUsage(floor int64, u *Usage) (ok bool) {
	for i := range s.lines {
		l := &s.lines[i]
		for j := range l.entries {
			word := l.entries[j].word.Load()
			if word == frozen {
				return false
			}
			u.Latest = max(u.Latest, word)
			if word > floor {
				u.Keys++
			}
		}
		overflow := l.overflow.Load()
		u.Latest = max(u.Latest, overflow)
		if overflow > floor {
			u.Overflow++
		}
	}
	u.Lines += lines
	return true
}
