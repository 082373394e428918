package keyed

import "sync/atomic"

// entry is a key and its value.
type entry[K comparable, V any] struct {
	key     K
	value   V            // may only be read after use or there has said true
	state   atomic.Int64 // one of the states below, or the number of a claim
	touched atomic.Int64 // with Idle only: when it was last used, by the registry's stopwatch, less up to slack

	// Guarded by the registry's mutex.
	previous, next *entry[K, V]  // in the ring
	makingEnded    chan struct{} // closed when that is so, well or not; nil from then on
}

// The states of an entry:
//
//	making ───▶ unused ◀───▶ used
//	              │           ▲
//	              ▼           │
//	           claimed ───────┘
//	              │
//	              ▼
//	            gone
//
// Every use of an entry makes it used; the hand makes it unused again as it comes by. A search for a
// place claims an unused entry, by a number of its own, and asks whether the value is idle. If the
// entry is used meanwhile, the claim is off. Only a search whose claim is still there lets the
// entry go; if the value is not idle, the entry is unused again. An entry whose making failed, or
// that is deleted, is gone at once.
const (
	used   int64 = 0  // it may be handed out without a second look
	unused int64 = -1 // not used since it was made or the hand came by
	making int64 = -2
	gone   int64 = -3 // no longer in the registry
)

// use makes e used and reports true, or reports false when e is gone or still being made.
func (e *entry[K, V]) use() bool {
	for {
		switch state := e.state.Load(); {
		case state == used:
			return true
		case state == making, state == gone:
			return false
		case e.state.CompareAndSwap(state, used):
			return true
		}
	}
}

// there reports whether e is made and not gone. Only then may its value be read without a use: that
// of an entry that is gone may never have been made.
func (e *entry[K, V]) there() bool {
	state := e.state.Load()
	return state != making && state != gone
}
