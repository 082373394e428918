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
// A window of five buckets, the newest of which is number 9, has a ring of six:
//
//	number    5   6   7  |   8        9      |  10
//	          the sum    |   read directly   |  spare: cleared when it begins
//
// Number -1 is the time before the start: its place in the ring is empty.
//
// replace.go gives a window another width or number of buckets.
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

// number returns the number of the bucket that a moment lies in.
func (w *window) number(moment time.Duration) int64 { return int64(moment / w.width) }

// holds reports whether bucket number i is in the ring when newest is the newest.
func (w *window) holds(newest, i int64) bool { return i > newest-int64(len(w.ring)) }

// begin returns when the newest bucket has begun.
func (w *window) begin() time.Duration { return time.Duration(w.sum.Load().newest) * w.width }

// bucket returns bucket number i, which must be in the ring.
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
	s := &sum{newest: i, tally: w.older(i, i)}
	w.sum.Store(s)
	return s
}

// older adds up all but the two newest buckets, when newest is the newest. Buckets after number begun have not begun: the ring
// has older ones in their places. w.mu must be held.
func (w *window) older(newest, begun int64) (t tally) {
	buckets := int64(len(w.ring)) - 1
	for i := max(0, newest-buckets+1); i <= min(begun, newest-2); i++ {
		b := w.bucket(i)
		t.requests += b.started.Load() + b.refused.Load()
		t.accepts += b.accepted.Load()
	}
	t.requests = max(0, t.requests) // after a change of the window, attempts may be taken out of the bucket beside theirs
	return t
}

// at returns what advance does, and changes nothing: what turn would make the sum, and of the two newest buckets what has begun.
func (w *window) at(now time.Duration) (newest int64, t tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun := w.sum.Load().newest
	newest = max(begun, w.number(now))
	t = w.older(newest, begun)
	for i := newest - 1; i <= begun; i++ {
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
			w.sum.Store(&sum{newest: s.newest, tally: w.older(s.newest, s.newest)})
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
