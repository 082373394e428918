package keytable

// Usage is what is in a table.
type Usage struct {
	Keys     int   // words above the floor
	Overflow int   // overflow words above the floor
	Lines    int   // each with an overflow word
	Latest   int64 // the latest word of all
}

// Usage looks at all words. It waits only for those who replace a segment. It reports false when the words are in
// another table, see [Table.Move].
func (t *Table) Usage(floor int64) (u Usage, ok bool) {
	for next, end := uint64(0), false; !end; {
		s, hashes := t.run(next)
		part := u
		if !s.usage(floor, &part) { // some of its words are in another segment by now
			if closed := t.await(s); closed {
				return Usage{}, false
			}
			continue
		}
		u = part
		next += hashes
		end = next == 0 // beyond the last hash
	}
	return u, true
}

// run returns the segment that begins with a hash, and how many hashes it has. The slots of a segment change under the mutex, all
// together.
func (t *Table) run(first uint64) (s *segment, hashes uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.directory.Load()
	slots := d.slotsOf(first)
	return slots[0].segment.Load(), uint64(len(slots)) << d.shift
}

// usage adds what is in s, and reports false when s is being replaced.
func (s *segment) usage(floor int64, u *Usage) bool {
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
