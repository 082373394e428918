package keytable

import "sync/atomic"

// Move closes t and returns a table with room for that many keys, which has the words that are not below the floor. That must
// be positive. What finds no room goes into overflow words. When it returns, no word of t can change any more, and each method
// says that t is closed.
func (t *Table) Move(keys int, floor int64) *Table {
	t.mu.Lock()
	t.closed.Store(true)
	from := t.directory.Load()
	t.mu.Unlock()
	to := New(keys)
	from.all(func(s *segment, _, _ uint64) {
		s.lock().Lock() // whoever has it already decides by this table
		defer s.lock().Unlock()
		s.freeze(func(_, _ int, hash uint64, word int64) {
			if matters(word, floor) { // and so it has an owner
				to.put(hash, word)
			}
		})
	})
	from.all(func(s *segment, first, last uint64) {
		for i := range s.lines {
			if word := s.lines[i].overflow.Load(); matters(word, floor) {
				to.raiseOverflow(first, last, i, word)
			}
		}
	})
	return to
}

// Convert makes f(word) of every word, which must keep their order. Nobody else may use t yet.
func (t *Table) Convert(f func(word int64) int64) {
	convert := func(word *atomic.Int64) {
		if was := word.Load(); was > 0 { // 0 is none
			word.Store(f(was))
		}
	}
	t.directory.Load().all(func(s *segment, _, _ uint64) {
		for i := range s.lines {
			for j := range s.lines[i].entries {
				convert(&s.lines[i].entries[j].word)
			}
			convert(&s.lines[i].overflow)
		}
	})
}

// put gives a word to a key that is not there. Nobody else may use t yet.
func (t *Table) put(hash uint64, word int64) {
	const floor = 1 // no word is below that, so none is evicted
	for {
		s := t.directory.Load().segment(hash)
		if e := s.vacate(hash, floor); e != nil {
			e.set(hash, word)
			return
		}
		if lookAgain := t.makeRoom(s, hash, floor); !lookAgain { // nobody else uses t, so s need not be locked
			s.home(hash).raiseOverflow(word)
			return
		}
	}
}

// raiseOverflow makes the overflow words of line i at least word, for the hashes from first to last. Nobody else may use t yet.
func (t *Table) raiseOverflow(first, last uint64, i int, word int64) {
	d := t.directory.Load()
	for slot := d.index(first); slot <= d.index(last); slot++ {
		d.slots[slot].segment.Load().lines[i].raiseOverflow(word)
	}
}
