package budget

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// tally counts calls until the count is taken. Deposit is on the path of every healthy call, so a call costs one
// addition to a word that other cores seldom write: the row "retry, first attempt" of docs/performance.md.
//
// There is one cell until there are so many calls that cores would wait for each other, then some for each core. They stay
// when there are fewer calls again: another goroutine may be adding to any of them.
type tally struct {
	cells atomic.Pointer[[]*cell]
	batch atomic.Int64 // so many calls in a cell are worth taking

	taken int // batches of the current second since batch was last changed; under the mutex of the budget
}

type cell struct {
	calls atomic.Int64
	_     [56]byte // a cache line each
}

const (
	mostTaken = 256     // batches a second until they become twice as large
	manyCalls = 1 << 10 // the size of a batch from which on cores have cells of their own
	mostBatch = 1 << 20

	cellsPerCore = 4 // so that two goroutines that run at the same time seldom share one
)

func (t *tally) init() {
	cells := []*cell{new(cell)}
	t.cells.Store(&cells)
	t.batch.Store(1)
}

// add counts a call, and reports whether a batch is full.
func (t *tally) add() (full bool) {
	cells := *t.cells.Load()
	return cells[here()&uint(len(cells)-1)].calls.Add(1) >= t.batch.Load()
}

// here returns a number that mostly differs between goroutines: it is made of the address of their stack.
func here() uint {
	var local byte
	return uint(uint64(uintptr(unsafe.Pointer(&local))) * 0x9e3779b97f4a7c15 >> 48)
}

// take returns how many calls were counted, and forgets them.
func (t *tally) take() (calls int64) {
	cells := *t.cells.Load()
	for _, cell := range cells {
		if cell.calls.Load() > 0 {
			calls += cell.calls.Swap(0)
		}
	}
	return calls
}

// count returns how many calls were counted.
func (t *tally) count() (calls int64) {
	cells := *t.cells.Load()
	for _, cell := range cells {
		calls += cell.calls.Load()
	}
	return calls
}

// beginSecond begins anew with batches of one call, so that those of a quiet second are credited at once.
func (t *tally) beginSecond() {
	t.taken = 0
	t.batch.Store(1)
}

// adapt makes batches larger as calls become more frequent. It is called when a full batch was taken.
func (t *tally) adapt() {
	batch := t.batch.Load()
	if t.taken++; t.taken <= mostTaken || batch == mostBatch {
		return
	}
	t.taken = mostTaken / 2 // as many calls in batches of the new size
	t.batch.Store(2 * batch)
	if batch == manyCalls {
		t.grow()
	}
}

// grow gives the cores cells of their own, beside the first one.
func (t *tally) grow() {
	cells := *t.cells.Load()
	for len(cells) < cellsPerCore*runtime.GOMAXPROCS(0) { // up to a power of two
		for range len(cells) {
			cells = append(cells, new(cell))
		}
	}
	t.cells.Store(&cells)
}
