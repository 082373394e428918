package throttle

import (
	"sync/atomic"
	"time"
)

// Another length or number of buckets needs another window, which gets what the old one has counted,
// while attempts come and go. [Throttle.Reconfigure], with changing held:
//
//  1. stores the new window in next of the old one, which no longer turns from then on,
//  2. drains the old window: takes each count out of it, and adds it to the new one,
//  3. stores the configuration with the new window.
//
// No count is lost: an addition is followed by a look at next, and by another drain if there is one. So
// either step 2 finds the addition, or the look finds next. None counts twice, since a drain takes it out.
//
// No tally lacks what is on its way from one window to the other: its reader looks at next afterwards
// too. If there is one, it waits for changing and reads again: see Throttle.outdated.

// replace returns the window that replaces w and has taken over what w has counted.
func (w *window) replace(length time.Duration, buckets int, now time.Duration) *window {
	w.mu.Lock()
	next := newWindow(length, buckets, max(now, w.begin())) // w can have turned since now was read
	w.next.Store(next)
	w.mu.Unlock()
	w.drain()
	return next
}

// count adds one to a counter of one of w's buckets.
func (w *window) count(counter *atomic.Int64) {
	counter.Add(1)
	if w.next.Load() != nil {
		w.drain()
	}
}

// drain moves all counts to the window in use, and on if that is replaced meanwhile. It passes over
// the windows in between: through each of them it would not catch up with changes that come as fast
// as it moves counts.
func (w *window) drain() {
	for to := w.next.Load(); to != nil; to = w.next.Load() {
		for next := to.next.Load(); next != nil; next = to.next.Load() {
			to = next
		}
		w.move(to)
		w = to
	}
}

// move moves all counts of w, which is replaced, to another window. What happened in a bucket then counts
// for the bucket that its beginning lies in, as the tickets of its attempts do.
func (w *window) move(to *window) {
	to.mu.Lock()
	defer to.mu.Unlock()
	newest, last := to.sum.Load().newest, w.sum.Load().newest
	for i := last - int64(len(w.ring)) + 1; i <= last; i++ {
		from, start := w.bucket(i), min(to.number(time.Duration(max(0, i))*w.width), newest)
		into := &bucket{} // what is too old for the new window is forgotten
		if to.holds(newest, start) {
			into = to.bucket(start)
		}
		into.started.Add(from.started.Swap(0))
		into.ended.Add(from.ended.Swap(0))
		into.accepted.Add(from.accepted.Swap(0))
		into.refused.Add(from.refused.Swap(0))
	}
	to.sum.Store(&sum{newest: newest, tally: to.older(newest, newest)})
}
