package throttle

import (
	"sync"
	"sync/atomic"
	"time"
)

// window counts attempts over the time that has just passed, in buckets of equal width. Bucket number i holds what
// happened from i*width to (i+1)*width.
//
// The two newest buckets are read directly; what is older changes only when a bucket ends, and is added up then. So
// admission and success take no lock and do not walk through the buckets.
type window struct {
	width time.Duration
	ring  []bucket // bucket i is ring[i % len(ring)]; one more than count, so that a new one is never one in use

	mu  sync.Mutex // guards the change of sum
	sum atomic.Pointer[sum]
}

// bucket counts what happened in one step of the window.
type bucket struct {
	started  atomic.Int64 // attempts admitted, without those whose outcome was neutral
	ended    atomic.Int64 // of those, the ones that ended while this was one of the two newest buckets
	accepted atomic.Int64 // attempts that ended with success in this time, whenever they had started
	refused  atomic.Int64 // attempts not admitted
}

// sum is what all but the two newest buckets hold together, as of the beginning of the newest.
type sum struct {
	newest int64 // the number of the newest bucket
	tally
}

// tally is what the formula needs to know.
type tally struct{ requests, accepts int64 }

func newWindow(length time.Duration, buckets int) *window {
	w := &window{width: length / time.Duration(buckets), ring: make([]bucket, buckets+1)}
	w.sum.Store(&sum{})
	return w
}

// begin returns when the newest bucket has begun.
func (w *window) begin() time.Duration { return time.Duration(w.sum.Load().newest) * w.width }

// bucket returns bucket number i, which must be in the ring. Number -1 is the time before the start.
func (w *window) bucket(i int64) *bucket {
	n := int64(len(w.ring))
	return &w.ring[(i+n)%n]
}

// advance moves the window on to now and returns the number of the newest bucket and the tally. The number can be
// later than now, when another goroutine read the clock later but came first.
func (w *window) advance(now time.Duration) (newest int64, t tally) {
	s := w.sum.Load()
	if i := int64(now / w.width); i > s.newest {
		s = w.turn(i)
	}
	t = s.tally
	t.addRecent(w.bucket(s.newest))
	t.addRecent(w.bucket(s.newest - 1))
	return s.newest, t
}

// turn makes i the newest bucket.
func (w *window) turn(i int64) *sum {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.sum.Load()
	if i <= old.newest {
		return old
	}
	for n := max(old.newest, i-int64(len(w.ring))) + 1; n <= i; n++ {
		w.bucket(n).clear()
	}
	s := &sum{newest: i, tally: w.older(i, i)}
	w.sum.Store(s)
	return s
}

// older adds up the buckets before the two that are the newest at bucket now, up to number last. w.mu must be held.
func (w *window) older(now, last int64) (t tally) {
	count := int64(len(w.ring)) - 1
	for i := max(0, now-count+1); i <= min(last, now-2); i++ {
		b := w.bucket(i)
		t.requests += b.started.Load() + b.refused.Load()
		t.accepts += b.accepted.Load()
	}
	return t
}

// at returns the tally at now and changes nothing.
func (w *window) at(now time.Duration) tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.sum.Load().newest
	i := max(last, int64(now/w.width))
	t := w.older(i, last)
	for n := max(0, i-1); n <= last; n++ {
		t.addRecent(w.bucket(n))
	}
	return t
}

// answered notes that an attempt that had started in bucket number start has ended. It reads no clock: the newest
// bucket is the one of the latest admission. If that is long ago, both counts are forgotten together.
func (w *window) answered(start int64, accepted bool) {
	newest := w.sum.Load().newest
	if start >= newest-1 {
		w.bucket(start).ended.Add(1)
	}
	if accepted {
		w.bucket(newest).accepted.Add(1)
	}
}

// withdraw forgets an attempt that had started in bucket number start.
func (w *window) withdraw(start int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sum.Load()
	if start <= s.newest-int64(len(w.ring)) {
		return // its bucket is another one now
	}
	w.bucket(start).started.Add(-1)
	if start < s.newest-1 {
		w.sum.Store(&sum{newest: s.newest, tally: w.older(s.newest, s.newest)})
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
