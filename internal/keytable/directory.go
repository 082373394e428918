package keytable

import (
	"math"
	"sync/atomic"
)

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

// index returns which slot is that of a hash.
func (d *directory) index(hash uint64) int { return int(hash >> (d.shift & 63)) }

func (d *directory) slot(hash uint64) *slot { return &d.slots[d.index(hash)] }

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

// slotsOf returns the slots that stand for the segment of hash.
func (d *directory) slotsOf(hash uint64) []slot {
	count := 1 << (d.bits() - d.slot(hash).depth)
	first := d.index(hash) &^ (count - 1)
	return d.slots[first : first+count]
}

// replace puts a segment in the place of that of hash.
func (d *directory) replace(hash uint64, by *segment) {
	slots := d.slotsOf(hash)
	for i := range slots {
		slots[i].segment.Store(by)
	}
}

// split puts two segments in the place of that of hash, which has two slots at least.
func (d *directory) split(hash uint64, halves [2]*segment) {
	slots := d.slotsOf(hash)
	for i := range slots {
		slots[i].segment.Store(halves[2*i/len(slots)])
		slots[i].depth++
	}
}

// lastHash returns the last hash of the segment of hash: the others begin with the same bits.
func (d *directory) lastHash(hash uint64) uint64 { return hash | math.MaxUint64>>d.slot(hash).depth }

// all calls f for each segment, with its first and its last hash. Nobody may replace one meanwhile.
func (d *directory) all(f func(s *segment, first, last uint64)) {
	for first, isLast := uint64(0), false; !isLast; {
		last := d.lastHash(first)
		f(d.segment(first), first, last)
		first, isLast = last+1, last == math.MaxUint64
	}
}
