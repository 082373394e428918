package keytable

import "sync/atomic"

// directory finds the segment of a key by the first bits of its hash. Several slots in a row may stand for one segment.
type directory struct {
	shift uint8 // from 41 to 63
	slots []slot
}

type slot struct {
	segment atomic.Pointer[segment]
	depth   uint8 // how many bits the hashes of the segment have in common; guarded by the mutex of the table
}

// newDirectory returns two slots for one segment.
func newDirectory() *directory {
	d := &directory{shift: 63, slots: make([]slot, 2)}
	first := new(segment)
	for i := range d.slots {
		d.slots[i].segment.Store(first)
	}
	return d
}

func (d *directory) slot(hash uint64) *slot { return &d.slots[hash>>(d.shift&63)] }

func (d *directory) segment(hash uint64) *segment { return d.slot(hash).segment.Load() }

// bits returns how many bits of a hash the directory looks at.
func (d *directory) bits() uint8 { return 64 - d.shift }

// doubled returns a directory that looks at one bit more.
func (d *directory) doubled() *directory {
	twice := &directory{shift: d.shift - 1, slots: make([]slot, 2*len(d.slots))}
	for i := range twice.slots {
		half := &d.slots[i/2]
		twice.slots[i].segment.Store(half.segment.Load())
		twice.slots[i].depth = half.depth
	}
	return twice
}

// run returns the segment of the first hash of a slot, and how many slots in a row stand for it from there on.
func (d *directory) run(hash uint64) (s *segment, count int) {
	first := int(hash >> (d.shift & 63))
	s = d.slots[first].segment.Load()
	for count = 1; first+count < len(d.slots) && d.slots[first+count].segment.Load() == s; count++ {
	}
	return s, count
}

// all calls f for each segment, with the index of its first slot and the number of its slots. Nobody may replace one
// meanwhile.
func (d *directory) all(f func(s *segment, first, count int)) {
	for first := 0; first < len(d.slots); {
		s, count := d.run(uint64(first) << (d.shift & 63))
		f(s, first, count)
		first += count
	}
}

// makeRoom makes room in the segment of hash, whose lock the caller holds, by replacing it: by two, or, when there may be no
// more segments, by one in which a key has moved from an entry that hash can have. It reports false when there is no way,
// or none that is worth its price.
//
// A key is not moved within its segment. Somebody may have read its word, and be about to swap it; should the word of the
// next owner of the entry be the same one day, that would succeed.
func (t *Table) makeRoom(s *segment, hash uint64, now int64) bool {
	sparse := s.sparse(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Load() {
		return true
	}
	d := t.directory.Load()
	depth := d.slot(hash).depth
	if depth < t.most {
		if depth == d.bits() {
			d = d.doubled()
		}
		d.replace(hash, s.halves(depth), depth)
		t.directory.Store(d)
		return true
	}
	if !sparse {
		return false
	}
	if rearranged := s.rearranged(hash, now); rearranged != nil {
		d.replace(hash, [2]*segment{rearranged, rearranged}, depth)
		return true
	}
	return false
}

// replace puts two segments in the place of that of hash, which are the same one if it was not split.
func (d *directory) replace(hash uint64, by [2]*segment, depth uint8) {
	count := 1 << (d.bits() - depth) // slots of the segment
	first := int(hash>>(d.shift&63)) &^ (count - 1)
	if by[0] != by[1] {
		depth++
	}
	for i := range count {
		d.slots[first+i].segment.Store(by[i*2/count])
		d.slots[first+i].depth = depth
	}
}

// halves freezes s and returns what is in it, divided by the next bit of the hashes.
func (s *segment) halves(depth uint8) [2]*segment {
	halves := [...]*segment{new(segment), new(segment)}
	s.freeze(func(i, j int, hash uint64, word int64) {
		halves[hash>>(63-depth)&1].lines[i].entries[j].set(hash, word)
	})
	for i := range s.lines {
		overflow := s.lines[i].overflow.Load()
		halves[0].lines[i].overflow.Store(overflow)
		halves[1].lines[i].overflow.Store(overflow)
	}
	for _, half := range halves {
		half.comeHome()
	}
	return halves
}

// comeHome moves keys to their home lines, as far as there is room. Nobody else may use s yet.
func (s *segment) comeHome() {
	for i := range s.lines {
		for j := range s.lines[i].entries {
			e := &s.lines[i].entries[j]
			hash := e.hash.Load()
			if home := s.home(hash); hash != 0 && home != &s.lines[i] {
				if room := home.find(0); room != nil {
					room.set(hash, e.word.Load())
					e.set(0, 0)
				}
			}
		}
	}
}

// sparse reports whether an eighth of s is free, so that it may be replaced for a single key. Where less is free, in a flood
// for which there is no room, nearly each key that comes would have it copied. Where three quarters are full, as by all
// the keys that a table is made for, about one in a million of those finds no room for that.
func (s *segment) sparse(now int64) bool {
	free := 0
	for i := range s.lines {
		for j := range s.lines[i].entries {
			if s.lines[i].entries[j].word.Load() < now {
				free++
			}
		}
	}
	return free >= slots/8
}

// rearranged freezes s and returns a segment with an entry for hash, whose owner has moved; nil if no owner can move.
func (s *segment) rearranged(hash uint64, now int64) *segment {
	for _, i := range candidates(hash) {
		for j := range s.lines[i].entries {
			owner := s.lines[i].entries[j].hash.Load()
			to := s.vacate(owner, now)
			if to == nil {
				continue
			}
			fresh := new(segment)
			s.freeze(func(k, l int, hash uint64, word int64) {
				switch e := &s.lines[k].entries[l]; {
				case e == to: // what was there is over
				case hash == owner:
					toLine, toWay := s.position(to)
					fresh.lines[toLine].entries[toWay].set(owner, word)
				default:
					fresh.lines[k].entries[l].set(hash, word)
				}
			})
			for i := range s.lines {
				fresh.lines[i].overflow.Store(s.lines[i].overflow.Load())
			}
			return fresh
		}
	}
	return nil
}

// freeze lets nobody change a word of s any more, and calls f for each entry that has an owner.
func (s *segment) freeze(f func(i, j int, hash uint64, word int64)) {
	for i := range s.lines {
		for j := range s.lines[i].entries {
			e := &s.lines[i].entries[j]
			word := e.word.Swap(frozen)
			if hash := e.hash.Load(); hash != 0 {
				f(i, j, hash, word)
			}
		}
	}
}

// position returns where an entry of s is.
func (s *segment) position(e *entry) (i, j int) {
	for i := range s.lines {
		for j := range s.lines[i].entries {
			if &s.lines[i].entries[j] == e {
				return i, j
			}
		}
	}
	panic("keytable: not an entry of this segment")
}

// Move closes t and returns a table with room for that many keys, with all words from now on as convert makes them. Convert
// must keep their order. What finds no room goes into overflow words.
func (t *Table) Move(keys int, now int64, convert func(word int64) int64) *Table {
	t.mu.Lock()
	t.closed.Store(true)
	from := t.directory.Load()
	t.mu.Unlock()
	to := New(keys)
	from.all(func(s *segment, _, _ int) {
		s.lock().Lock() // whoever has it already decides by this table
		defer s.lock().Unlock()
		s.freeze(func(_, _ int, hash uint64, word int64) {
			if word >= now {
				to.put(hash, convert(word))
			}
		})
	})
	from.all(func(s *segment, first, count int) {
		for i := range s.lines {
			if word := s.lines[i].overflow.Load(); word >= now {
				to.raise(uint64(first)<<from.shift, uint64(first+count)<<from.shift-1, i, convert(word))
			}
		}
	})
	return to
}

// put gives a word to a key that is not there, in a table that nobody else uses yet.
func (t *Table) put(hash uint64, word int64) {
	for {
		s := t.directory.Load().segment(hash)
		e, retry := t.room(s, hash, 1) // words are later than that, so none is evicted
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
