package breaker

import "time"

// inWindow is what a window holds. Calls that were both slow and failed are in both.
type inWindow struct{ calls, failures, slow int64 }

func (c inWindow) plus(other inWindow) inWindow {
	return inWindow{c.calls + other.calls, c.failures + other.failures, c.slow + other.slow}
}

func (c inWindow) minus(other inWindow) inWindow {
	return inWindow{c.calls - other.calls, c.failures - other.failures, c.slow - other.slow}
}

// window counts the outcomes that the rate rules look at. Good outcomes, the fast successes, are counted elsewhere, by
// one atomic addition each; a window is told only how many there were so far (good, which never falls), and of each
// bad outcome. So the common case costs next to nothing and the sums are exact all the same.
//
// A window is not safe for concurrent use. Times given to it never fall, except when the clock was replaced.
type window interface {
	// advance brings the window to now.
	advance(now time.Duration, good int64)
	// record records an outcome that failed, was slow, or both.
	record(now time.Duration, good int64, failed, slow bool)
	// counts returns what is in the window now. It changes nothing.
	counts(now time.Duration, good int64) inWindow
	// begin empties the window, when good is the number of good outcomes so far.
	begin(now time.Duration, good int64)
}

// countWindow holds the last calls. It numbers the calls of a generation and keeps the numbers of the bad ones: after 4 good
// calls between two bad ones it keeps 1 and 6, and if size is 5 only the second is still in the window, calls 2 to 6.
type countWindow struct {
	size  int64    // in calls
	from  int64    // the calls up to this number are forgotten
	marks []mark   // a ring of size: the bad calls
	first int64    // the place of the oldest
	held  int64    // how many there are; those that have left the window since the last bad call included
	bad   int64    // bad calls so far: with the good ones, the number of the last call
	sums  inWindow // of what is held
}

// mark is a bad call.
type mark struct {
	number       int64
	failed, slow bool
}

func (w *countWindow) advance(time.Duration, int64) {}

func (w *countWindow) record(_ time.Duration, good int64, failed, slow bool) {
	w.bad++
	last := good + w.bad
	for w.held > 0 && w.marks[w.first].number <= last-w.size {
		w.sums = w.sums.minus(w.marks[w.first].counts())
		w.first = (w.first + 1) % w.size
		w.held--
	}
	// There is room: at most size-1 of the calls before this one are still in the window.
	added := mark{last, failed, slow}
	w.marks[(w.first+w.held)%w.size] = added
	w.held++
	w.sums = w.sums.plus(added.counts())
}

func (w *countWindow) counts(_ time.Duration, good int64) inWindow {
	last := good + w.bad
	sums := w.sums
	for i := range w.held {
		left := w.marks[(w.first+i)%w.size]
		if left.number > last-w.size {
			break
		}
		sums = sums.minus(left.counts())
	}
	sums.calls = min(last-w.from, w.size)
	return sums
}

func (w *countWindow) begin(_ time.Duration, good int64) {
	*w = countWindow{size: w.size, marks: w.marks, from: good}
}

// resized returns a window of another size that holds the same calls, or the last of them.
func (w *countWindow) resized(size, good int64) *countWindow {
	last := good + w.bad
	resized := &countWindow{size: size, marks: make([]mark, size), from: max(w.from, last-w.size), bad: w.bad}
	for i := range w.held {
		m := w.marks[(w.first+i)%w.size]
		if m.number > last-min(size, w.size) {
			resized.marks[resized.held] = m
			resized.held++
			resized.sums = resized.sums.plus(m.counts())
		}
	}
	return resized
}

func (m mark) counts() (c inWindow) {
	if m.failed {
		c.failures = 1
	}
	if m.slow {
		c.slow = 1
	}
	c.calls = 1
	return c
}

// timeWindow holds the calls of the last buckets, the current one included. It keeps the totals as they were at the
// start of each bucket; what is in the window is the difference between now and the start of the oldest. Nothing is
// ever added up or taken away, so nothing can drift.
type timeWindow struct {
	width  time.Duration // of a bucket
	starts []inWindow    // a ring: the totals at the start of each of the last len(starts) buckets
	place  int64         // of the current bucket in the ring
	start  time.Duration // of the current bucket
	bad    inWindow      // the bad calls so far
}

// total returns all calls so far, the good ones included.
func (w *timeWindow) total(good int64) inWindow {
	total := w.bad
	total.calls += good
	return total
}

// age returns how many buckets after the current one now lies. A time before the current bucket means that the clock
// was replaced, and counts as infinitely late: better forget than freeze.
func (w *timeWindow) age(now time.Duration) int64 {
	if now < w.start {
		return int64(len(w.starts))
	}
	return int64((now - w.start) / w.width)
}

func (w *timeWindow) advance(now time.Duration, good int64) {
	age := w.age(now)
	if age == 0 {
		return
	}
	total := w.total(good)
	for i := range min(age, int64(len(w.starts))) {
		w.starts[(w.place+1+i)%int64(len(w.starts))] = total
	}
	if now < w.start {
		w.place, w.start = 0, now
		return
	}
	w.place = (w.place + age) % int64(len(w.starts))
	w.start += time.Duration(age) * w.width
}

func (w *timeWindow) record(now time.Duration, good int64, failed, slow bool) {
	w.advance(now, good)
	w.bad = w.bad.plus(mark{failed: failed, slow: slow}.counts())
}

func (w *timeWindow) counts(now time.Duration, good int64) inWindow {
	age := w.age(now)
	if age >= int64(len(w.starts)) {
		return inWindow{}
	}
	oldest := (w.place + 1 + age) % int64(len(w.starts))
	return w.total(good).minus(w.starts[oldest])
}

func (w *timeWindow) begin(now time.Duration, good int64) {
	*w = timeWindow{width: w.width, starts: w.starts, start: now}
	for i := range w.starts {
		w.starts[i] = inWindow{calls: good}
	}
}

// reshaped returns a window of other buckets that holds the same calls. A call counts as old as the bucket that it was
// in, so it leaves the new window at most one old bucket too early, and never too late.
//
// Say 4 buckets of 1 s, the current one since 3 s, become 2 of 2 s. The new current bucket begins at 3 s too, and the one
// before it at 1 s. So it has the totals that the old window had at 3 s and at 1 s, and holds the calls since 1 s.
func (w *timeWindow) reshaped(width time.Duration, buckets int, now time.Duration, good int64) *timeWindow {
	w.advance(now, good)
	size := int64(len(w.starts))
	reshaped := &timeWindow{width: width, starts: make([]inWindow, buckets), start: w.start, bad: w.bad}
	for back := range int64(buckets) {
		// The oldest of the old buckets that began no earlier than this many new ones ago.
		old := min(int64(time.Duration(back)*width/w.width), size-1)
		reshaped.starts[(int64(buckets)-back)%int64(buckets)] = w.starts[(w.place+size-old)%size]
	}
	reshaped.advance(now, good)
	return reshaped
}
