package keytable

import "sync/atomic"

// directory finds the segment of a key by the first bits of its hash. Several slots in a row may stand for one segment.
type directory struct {
	shift uint8 // 64 less the bits of a hash that it looks at
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
