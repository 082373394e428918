package bulkhead

// MaxLimit is the largest limit of a bulkhead: 2³¹ − 1, about two billion.
const MaxLimit = 1<<limitBits - 1

const (
	limitBits = 31
	slow      = word(1) << 62 // see word
	special   = word(1) << 63
)

// word is the state that an uncontended admission needs, in one piece, so that one atomic step decides:
//
//	bit 63      special: attempts have a weight or are measured: one step is not enough
//	bit 62      slow: an attempt waits, the bulkhead drains, or a holder of the mutex is at work; go through the mutex
//	bits 31–61  the limit
//	bits 0–30   in flight
type word uint64

func newWord(inFlight, limit int) word { return word(limit)<<limitBits | word(inFlight) }

func (w word) inFlight() int { return int(w & MaxLimit) }
func (w word) limit() int    { return int(w >> limitBits & MaxLimit) }
func (w word) slow() bool    { return w&slow != 0 }

// plain reports whether one atomic step is enough: an attempt takes one slot, and nothing else is going on.
func (w word) plain() bool { return w&(slow|special) == 0 }

// fits reports whether weight more can be in flight.
func (w word) fits(weight int) bool { return weight >= 1 && weight <= w.limit()-w.inFlight() }

// holds reports whether weight can be given back.
func (w word) holds(weight int) bool { return weight >= 1 && weight <= w.inFlight() }
