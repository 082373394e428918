package keytable

// makeRoom makes room in the segment of hash, whose lock the caller holds, by replacing it: by two, or, when there may be no
// more segments, by one in which a key has moved from an entry that hash can have. It reports whether to look
// again, since s is not in use any more, or the table is closed. There is no room when there is no way, or none that is worth its
// price.
//
// A key is not moved within its segment. Somebody may have read its word, and be about to swap it; should the word of the
// next owner of the entry be the same one day, that would succeed.
func (t *Table) makeRoom(s *segment, hash uint64, floor int64) (lookAgain bool) {
	sparse := s.sparse(floor) // before t.mu, for which all segments wait, although a split does not need it: in a flood each key asks
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Load() {
		return true
	}
	d := t.directory.Load()
	depth := d.slot(hash).depth
	if depth < t.maxDepth {
		if depth == d.bits() {
			d = d.doubled()
		}
		// If d was not doubled, others see its slots change one by one. Each is s, in which they find frozen words and look again, or
		// a half of it that is complete by now.
		d.split(hash, s.freezeAndSplit(depth))
		t.directory.Store(d)
		return true
	}
	if !sparse {
		return false
	}
	if fresh := s.rearrange(hash, floor); fresh != nil {
		d.replace(hash, fresh)
		return true
	}
	return false
}

// freezeAndSplit freezes s and returns what was in it, divided by the next bit of the hashes.
func (s *segment) freezeAndSplit(depth uint8) [2]*segment {
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
func (s *segment) sparse(floor int64) bool {
	free := 0
	for i := range s.lines {
		for j := range s.lines[i].entries {
			if !matters(s.lines[i].entries[j].word.Load(), floor) {
				free++
			}
		}
	}
	return free >= segmentEntries/8
}

// rearrange makes way for hash: it freezes s and returns a copy in which another key has moved from an entry that hash can
// have. If none can move, it returns nil and s stays in use.
func (s *segment) rearrange(hash uint64, floor int64) *segment {
	for _, i := range candidates(hash) {
		for j := range s.lines[i].entries {
			owner := s.lines[i].entries[j].hash.Load()
			if to := s.vacate(owner, floor); to != nil {
				return s.freezeAndMove(owner, to)
			}
		}
	}
	return nil
}

// freezeAndMove freezes s and returns a copy in which owner is where to, which is busy, is in s, and its old entry is free.
func (s *segment) freezeAndMove(owner uint64, to *entry) *segment {
	fresh := new(segment)
	var moved *entry
	var word int64
	s.freeze(func(i, j int, hash uint64, was int64) {
		e := &fresh.lines[i].entries[j]
		switch {
		case &s.lines[i].entries[j] == to: // vacated: the word of its last owner was below the floor
			moved = e
		case hash == owner:
			word = was
		default:
			e.set(hash, was)
		}
	})
	moved.set(owner, word)
	for i := range s.lines {
		fresh.lines[i].overflow.Store(s.lines[i].overflow.Load())
	}
	return fresh
}

// freeze lets nobody change a word of s any more, and calls f for each entry, with the word that it had: entry j of line i.
func (s *segment) freeze(f func(i, j int, hash uint64, word int64)) {
	for i := range s.lines {
		for j := range s.lines[i].entries {
			e := &s.lines[i].entries[j]
			f(i, j, e.hash.Load(), e.word.Swap(frozen))
		}
	}
}
