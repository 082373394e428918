package bulkhead

import "sync/atomic"

// MaxLimit is the largest limit of a bulkhead: 2³¹ − 1, about two billion.
const MaxLimit = 1<<limitBits - 1

const (
	limitBits = 31
	frozen    = word(1) << 62 // see word
	special   = word(1) << 63
)

// word is the state that an uncontended admission needs, in one piece, so that one atomic step decides:
//
//	bit 63      special: attempts have a weight or are measured: one step is not enough
//	bit 62      frozen: an attempt waits, the bulkhead drains, or a holder of the mutex is at work; go through the mutex
//	bits 31–61  the limit
//	bits 0–30   in flight
type word uint64

func newWord(inFlight, limit int) word { return word(limit)<<limitBits | word(inFlight) }

func (w word) inFlight() int { return int(w & MaxLimit) }
func (w word) limit() int    { return int(w >> limitBits & MaxLimit) }
func (w word) frozen() bool  { return w&frozen != 0 }

// plain reports whether one atomic step is enough: an attempt takes one slot, and nothing else is going on.
func (w word) plain() bool { return w&(frozen|special) == 0 }

// fits reports whether weight more can be in flight.
func (w word) fits(weight int) bool { return weight >= 1 && weight <= w.limit()-w.inFlight() }

// holds reports whether weight can be given back.
func (w word) holds(weight int) bool { return weight >= 1 && weight <= w.inFlight() }

// atomicWord is a word that several goroutines share.
type atomicWord struct{ bits atomic.Uint64 }

func (a *atomicWord) load() word   { return word(a.bits.Load()) }
func (a *atomicWord) store(w word) { a.bits.Store(uint64(w)) }
func (a *atomicWord) replace(old, new word) bool {
	return a.bits.CompareAndSwap(uint64(old), uint64(new))
}

// add changes the number in flight.
func (a *atomicWord) add(weight int) { a.bits.Add(uint64(weight)) }

func (a *atomicWord) set(bit word)   { a.bits.Or(uint64(bit)) }
func (a *atomicWord) clear(bit word) { a.bits.And(^uint64(bit)) }
