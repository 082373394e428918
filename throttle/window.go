package throttle

import (
	"sync"
	"sync/atomic"
	"time"
)

// window counts attempts over the time that has just passed, in buckets of equal width. Bucket
// number i holds what happened from i*width to (i+1)*width.
//
// The two newest buckets are read directly; what is older changes only when a bucket ends, and is
// added up then. So admission and success take no lock and do not walk through the buckets.
//
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
// too. If there is one, it waits for changing and reads again: see Throttle.again.
type window struct {
	width time.Duration
	ring  []bucket // bucket i is ring[i % len(ring)]; one more than the window has, so that a new one is never one in use

	mu   sync.Mutex // guards the changes of sum and next
	sum  atomic.Pointer[sum]
	next atomic.Pointer[window] // the window that replaces this one, nil while it is in use
}

// bucket counts what happened in one step of the window:
//
//	an attempt               counts as          in the bucket
//	is admitted              started            that is the newest
//	is not admitted          refused            that is the newest
//	ends                     ended              that it was admitted in, if that is one of the two newest
//	ends with success        accepted, too      that is the newest
//	has a neutral outcome    not started        that it was admitted in
//	fails after its success  started and ended  that is the newest: one more that was not accepted
//
// What the formula takes for requests depends on the age of the bucket: in the two newest ended +
// refused, since what is in flight may be accepted yet; in older ones started + refused, since what
// is in flight for so long has not been accepted so far.
type bucket struct{ started, ended, accepted, refused atomic.Int64 }

// sum is what all but the two newest buckets hold together, as of the beginning of the newest.
type sum struct {
	newest int64 // the number of the newest bucket
	tally
}

// tally is what the formula needs to know.
type tally struct{ requests, accepts int64 }

func newWindow(length time.Duration, buckets int, now time.Duration) *window {
	w := &window{width: length / time.Duration(buckets), ring: make([]bucket, buckets+1)}
	w.sum.Store(&sum{newest: int64(now / w.width)})
	return w
}

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
	to.sum.Store(&sum{newest: newest, tally: to.older(newest)})
}

// number returns the number of the bucket that a moment lies in.
func (w *window) number(moment time.Duration) int64 { return int64(moment / w.width) }

// holds reports whether bucket number i is in the ring when newest is the newest.
func (w *window) holds(newest, i int64) bool { return i > newest-int64(len(w.ring)) }

// begin returns when the newest bucket has begun.
func (w *window) begin() time.Duration { return time.Duration(w.sum.Load().newest) * w.width }

// bucket returns bucket number i, which must be in the ring. Number -1 is the time before the
// start.
func (w *window) bucket(i int64) *bucket {
	n := int64(len(w.ring))
	return &w.ring[(i+n)%n]
}

// advance moves the window on to now and returns the number of the newest bucket and the tally. The
// number can be later than now, when another goroutine read the clock later but came first.
func (w *window) advance(now time.Duration) (newest int64, t tally) {
	s := w.sum.Load()
	if i := w.number(now); i > s.newest {
		s = w.turn(i)
	}
	t = s.tally
	t.addRecent(w.bucket(s.newest))
	t.addRecent(w.bucket(s.newest - 1))
	return s.newest, t
}

// turn makes i the newest bucket, unless w is replaced: move then knows the buckets by their numbers.
func (w *window) turn(i int64) *sum {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.sum.Load()
	if i <= old.newest || w.next.Load() != nil {
		return old
	}
	for n := max(old.newest, i-int64(len(w.ring))) + 1; n <= i; n++ {
		w.bucket(n).clear()
	}
	s := &sum{newest: i, tally: w.older(i)}
	w.sum.Store(s)
	return s
}

// older adds up all but the two newest buckets. w.mu must be held.
func (w *window) older(newest int64) tally { return w.total(newest, newest-2) }

// total adds up the buckets up to number last, when newest is the newest. w.mu must be held.
func (w *window) total(newest, last int64) (t tally) {
	buckets := int64(len(w.ring)) - 1
	for i := max(0, newest-buckets+1); i <= last; i++ {
		b := w.bucket(i)
		t.requests += b.started.Load() + b.refused.Load()
		t.accepts += b.accepted.Load()
	}
	t.requests = max(0, t.requests) // after a change of the window, attempts may be taken out of the bucket beside theirs
	return t
}

// at returns what advance does, and changes nothing: buckets after number begun have not begun, they
// are empty, and the ring has older ones in their places.
func (w *window) at(now time.Duration) (newest int64, t tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun := w.sum.Load().newest
	newest = max(begun, w.number(now))
	t = w.total(newest, min(begun, newest-2))
	for i := max(0, newest-1); i <= begun; i++ {
		t.addRecent(w.bucket(i))
	}
	return newest, t
}

// answered notes that an attempt that had started in bucket number start has ended. It reads no
// clock: the newest bucket is the one of the latest admission. If that is long ago, both counts are
// forgotten together.
func (w *window) answered(start int64, accepted bool) {
	newest := w.sum.Load().newest
	if start >= newest-1 && start <= newest {
		w.count(&w.bucket(start).ended)
	}
	if accepted {
		w.count(&w.bucket(newest).accepted)
	}
}

// failed notes one more request that was not accepted, beside the admitted ones.
func (w *window) failed() {
	newest := w.bucket(w.sum.Load().newest)
	w.count(&newest.started)
	w.count(&newest.ended)
}

// forget takes out an attempt that had started in bucket number start.
func (w *window) forget(start int64) {
	w.mu.Lock()
	s := w.sum.Load()
	if w.holds(s.newest, start) { // otherwise its bucket is another one now
		w.bucket(start).started.Add(-1)
		if start < s.newest-1 {
			w.sum.Store(&sum{newest: s.newest, tally: w.older(s.newest)})
		}
	}
	w.mu.Unlock()
	if w.next.Load() != nil {
		w.drain()
	}
}

// addRecent adds a bucket whose attempts in flight do not count yet.
func (t *tally) addRecent(b *bucket) {
	t.requests += b.ended.Load() + b.refused.Load()
	t.accepts += b.accepted.Load()
}

func (b *bucket) clear() {
	b.started.Store(0)
	b.ended.Store(0)
	b.accepted.Store(0)
	b.refused.Store(0)
}
