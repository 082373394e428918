package breaker

import "time"

// windowCounts is how many calls a window holds. One that was both slow and failed is in both.
type windowCounts struct{ calls, failures, slow int64 }

func (c windowCounts) plus(other windowCounts) windowCounts {
	return windowCounts{c.calls + other.calls, c.failures + other.failures, c.slow + other.slow}
}

func (c windowCounts) minus(other windowCounts) windowCounts {
	return windowCounts{c.calls - other.calls, c.failures - other.failures, c.slow - other.slow}
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
	counts(now time.Duration, good int64) windowCounts
	// begin empties the window, when good is the number of good outcomes so far.
	begin(now time.Duration, good int64)
}

// countWindow holds the last calls. It numbers the calls of a generation and keeps the numbers of the bad ones: after 4 good
// calls between two bad ones it keeps 1 and 6, and if size is 5 only the second is still in the window, calls 2 to 6.
type countWindow struct {
	size      int64        // in calls
	forgotten int64        // the calls up to this number are no longer in it, however large it is
	badCalls  []badCall    // a ring of size
	oldest    int64        // the place of the oldest of them
	held      int64        // how many there are; those that have left the window since the last bad call included
	sums      windowCounts // of those that are held
	bad       int64        // bad calls so far: with the good ones, the number of the last call
}

// badCall is a call that failed, was slow, or both.
type badCall struct {
	number       int64
	failed, slow bool
}

// counts returns the call as what a window counts.
func (b badCall) counts() windowCounts {
	counts := windowCounts{calls: 1}
	if b.failed {
		counts.failures = 1
	}
	if b.slow {
		counts.slow = 1
	}
	return counts
}

func (w *countWindow) advance(time.Duration, int64) {}

func (w *countWindow) record(_ time.Duration, good int64, failed, slow bool) {
	w.bad++
	last := good + w.bad
	for w.held > 0 && w.badCalls[w.oldest].number <= last-w.size {
		w.sums = w.sums.minus(w.badCalls[w.oldest].counts())
		w.oldest = (w.oldest + 1) % w.size
		w.held--
	}
	// There is room: at most size-1 of the calls before this one are still in the window.
	added := badCall{last, failed, slow}
	w.badCalls[(w.oldest+w.held)%w.size] = added
	w.held++
	w.sums = w.sums.plus(added.counts())
}

func (w *countWindow) counts(_ time.Duration, good int64) windowCounts {
	last := good + w.bad
	sums := w.sums
	for i := range w.held {
		left := w.badCalls[(w.oldest+i)%w.size]
		if left.number > last-w.size {
			break
		}
		sums = sums.minus(left.counts())
	}
	sums.calls = min(last-w.forgotten, w.size)
	return sums
}

func (w *countWindow) begin(_ time.Duration, good int64) {
	*w = countWindow{size: w.size, badCalls: w.badCalls, forgotten: good}
}

// resized returns a window of another size that holds the same calls, or the last of them.
func (w *countWindow) resized(size, good int64) *countWindow {
	last := good + w.bad
	resized := &countWindow{size: size, badCalls: make([]badCall, size), forgotten: max(w.forgotten, last-w.size), bad: w.bad}
	for i := range w.held {
		call := w.badCalls[(w.oldest+i)%w.size]
		if call.number > last-min(size, w.size) {
			resized.badCalls[resized.held] = call
			resized.held++
			resized.sums = resized.sums.plus(call.counts())
		}
	}
	return resized
}

// timeWindow holds the calls of the last buckets, the current one included. It keeps the totals as they were at the
// start of each bucket; what is in the window is the difference between now and the start of the oldest. Nothing is
// ever added up or taken away, so nothing can drift.
type timeWindow struct {
	width   time.Duration  // of a bucket
	totals  []windowCounts // a ring: the total at the start of each bucket that the window has
	current int64          // the place of the current bucket in the ring
	start   time.Duration  // when the current bucket began
	bad     windowCounts   // the bad calls so far
}

// total returns all calls so far, the good ones included.
func (w *timeWindow) total(good int64) windowCounts {
	total := w.bad
	total.calls += good
	return total
}

// age returns how many buckets after the current one now lies. A time before the current bucket means that the clock
// was replaced, and counts as infinitely late: better forget than freeze.
func (w *timeWindow) age(now time.Duration) int64 {
	if now < w.start {
		return int64(len(w.totals))
	}
	return int64((now - w.start) / w.width)
}

func (w *timeWindow) advance(now time.Duration, good int64) {
	age := w.age(now)
	if age == 0 {
		return
	}
	total := w.total(good)
	for i := range min(age, int64(len(w.totals))) {
		w.totals[(w.current+1+i)%int64(len(w.totals))] = total
	}
	if now < w.start {
		w.current, w.start = 0, now
		return
	}
	w.current = (w.current + age) % int64(len(w.totals))
	w.start += time.Duration(age) * w.width
}

func (w *timeWindow) record(now time.Duration, good int64, failed, slow bool) {
	w.advance(now, good)
	w.bad = w.bad.plus(badCall{failed: failed, slow: slow}.counts())
}

func (w *timeWindow) counts(now time.Duration, good int64) windowCounts {
	age := w.age(now)
	if age >= int64(len(w.totals)) {
		return windowCounts{}
	}
	oldest := (w.current + 1 + age) % int64(len(w.totals))
	return w.total(good).minus(w.totals[oldest])
}

func (w *timeWindow) begin(now time.Duration, good int64) {
	*w = timeWindow{width: w.width, totals: w.totals, start: now}
	for i := range w.totals {
		w.totals[i] = windowCounts{calls: good}
	}
}

// reshaped returns a window of other buckets that holds the same calls. A call counts as old as the bucket that it was
// in, so it leaves the new window at most one old bucket too early, and never too late.
//
// Say 4 buckets of 1 s, the current one since 3 s, become 2 of 2 s. The new current bucket begins at 3 s too, and the one
// before it at 1 s. So it has the totals that the old window had at 3 s and at 1 s, and holds the calls since 1 s.
func (w *timeWindow) reshaped(width time.Duration, buckets int, now time.Duration, good int64) *timeWindow {
	w.advance(now, good)
	size := int64(len(w.totals))
	reshaped := &timeWindow{width: width, totals: make([]windowCounts, buckets), start: w.start, bad: w.bad}
	for back := range int64(buckets) {
		// The oldest of the old buckets that began no earlier than this many new ones ago.
		old := min(int64(time.Duration(back)*width/w.width), size-1)
		reshaped.totals[(int64(buckets)-back)%int64(buckets)] = w.totals[(w.current+size-old)%size]
	}
	reshaped.advance(now, good)
	return reshaped
}
