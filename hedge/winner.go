package hedge

import "sync/atomic"

// winner is which attempt of a race has won. Attempts claim it on their own goroutines, and the caller leaves on its.
type winner struct {
	number atomic.Int64 // of the attempt, undecided or callerLeft
}

const (
	undecided  = 0
	callerLeft = -1 // before an attempt had won
)

// decided reports whether an attempt has won.
func (w *winner) decided() bool { return w.number.Load() > undecided }

// claim makes an attempt the winner, unless another one was first or the caller has left. It reports whether it did.
func (w *winner) claim(number int) bool { return w.number.CompareAndSwap(undecided, int64(number)) }

// claimLate does what claim does for an attempt that may win after the caller has left, and only then.
func (w *winner) claimLate(number int) bool {
	return w.number.CompareAndSwap(callerLeft, int64(number))
}

// leave notes that the caller leaves, and returns the number of the winner, not above 0 if there is none.
func (w *winner) leave() int {
	w.number.CompareAndSwap(undecided, callerLeft)
	return int(w.number.Load())
}
