package keytable

import "sync/atomic"

// Move closes t and returns a table with room for that many keys. The words that are not below the floor are in it. What finds
// no room goes into overflow words.
//
// When no word of t can change any more, Move calls closed, which returns what the words become: a function that keeps their
// order. Whoever takes from t has then read the clock before closed does, so no word is above the ceiling that closed knows.
func (t *Table) Move(keys int, floor int64, closed func() (convert func(word int64) int64)) *Table {
	t.mu.Lock()
	t.closed.Store(true)
	from := t.directory.Load()
	t.mu.Unlock()
	to := New(keys)
	from.all(func(s *segment, _, _ int) {
		s.lock().Lock() // whoever has it already decides by this table
		defer s.lock().Unlock()
		s.freeze(func(_, _ int, hash uint64, word int64) {
			if word >= floor {
				to.put(hash, word)
			}
		})
	})
	from.all(func(s *segment, first, count int) {
		for i := range s.lines {
			if word := s.lines[i].overflow.Load(); word >= floor {
				to.raise(uint64(first)<<from.shift, uint64(first+count)<<from.shift-1, i, word)
			}
		}
	})
	to.convert(closed())
	return to
}

// convert converts the words of a table that nobody else uses yet.
func (t *Table) convert(convert func(word int64) int64) {
	change := func(word *atomic.Int64) {
		if was := word.Load(); was > 0 { // 0 is none
			word.Store(convert(was))
		}
	}
	t.directory.Load().all(func(s *segment, _, _ int) {
		for i := range s.lines {
			for j := range s.lines[i].entries {
				change(&s.lines[i].entries[j].word)
			}
			change(&s.lines[i].overflow)
		}
	})
}

// put gives a word to a key that is not there, in a table that nobody else uses yet.
func (t *Table) put(hash uint64, word int64) {
	for {
		s := t.directory.Load().segment(hash)
		e, retry := t.room(s, hash, 1) // words are above that, so none is evicted
		switch {
		case retry:
			continue
		case e != nil:
			e.set(hash, word)
		default:
			s.home(hash).raise(word)
		}
		return
	}
}

// raise raises the overflow words of line i for the hashes from low to high.
func (t *Table) raise(low, high uint64, i int, word int64) {
	d := t.directory.Load()
	for slot := low >> d.shift; slot <= high>>d.shift; slot++ {
		d.slots[slot].segment.Load().lines[i].raise(word)
	}
}
