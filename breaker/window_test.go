package breaker

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// call is what a window should hold: a list of these, obviously right.
type call struct {
	at           time.Duration
	failed, slow bool
}

// list is the reference model of a window.
type list []call

func (l list) counts() (c windowCounts) {
	for _, call := range l {
		c = c.plus(badCall{failed: call.failed, slow: call.slow}.counts())
	}
	return c
}

// last returns the last n calls.
func (l list) last(n int) list { return l[max(0, len(l)-n):] }

// since returns the calls at t or later.
func (l list) since(t time.Duration) list {
	i := slices.IndexFunc(l, func(c call) bool { return c.at >= t })
	if i < 0 {
		return nil
	}
	return l[i:]
}

// The examples in the comments of countWindow and reshaped.
func TestTheExamplesOfTheWindows(t *testing.T) {
	count := &countWindow{size: 5, badCalls: make([]badCall, 5)}
	count.record(0, 0, true, false)
	require.Equal(t, windowCounts{calls: 5, failures: 1}, count.counts(0, 4))
	count.record(0, 4, true, false)
	require.EqualValues(t, 6, count.badCalls[count.oldest].number, "the first is forgotten")
	require.Equal(t, windowCounts{calls: 5, failures: 1}, count.counts(0, 4))

	w := &timeWindow{width: time.Second, totals: make([]windowCounts, 4)}
	for second := range 4 { // a failure in each second
		w.record(time.Duration(second)*time.Second, 0, true, false)
	}
	now := 3500 * time.Millisecond
	require.Equal(t, windowCounts{calls: 4, failures: 4}, w.counts(now, 0))
	require.Equal(t, windowCounts{calls: 3, failures: 3}, w.reshaped(2*time.Second, 2, now, 0).counts(now, 0))
}

func TestFault025_033_TheCountWindowIsAListOfCalls(t *testing.T) { rapid.Check(t, countWindowIsAList) }
func FuzzCountWindow(f *testing.F)                               { f.Fuzz(rapid.MakeFuzz(countWindowIsAList)) }

func countWindowIsAList(t *rapid.T) {
	size := rapid.IntRange(1, 30).Draw(t, "size")
	w := &countWindow{size: int64(size), badCalls: make([]badCall, size)}
	var model list
	var good int64
	t.Repeat(map[string]func(*rapid.T){
		"good": func(t *rapid.T) {
			n := rapid.IntRange(1, 40).Draw(t, "n")
			good += int64(n)
			model = append(model, make(list, n)...)
		},
		"bad": func(t *rapid.T) {
			kind := rapid.IntRange(1, 3).Draw(t, "kind")
			failed, slow := kind&1 != 0, kind&2 != 0
			w.record(0, good, failed, slow)
			model = append(model, call{0, failed, slow})
		},
		"clear": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
				w.begin(0, 0)
				good, model = 0, nil
			}
		},
		"": func(t *rapid.T) {
			if got, want := w.counts(0, good), model.last(size).counts(); got != want {
				t.Fatalf("counts %+v, want %+v", got, want)
			}
		},
	})
}

func TestFault027_033_TheTimeWindowIsAListOfCalls(t *testing.T) { rapid.Check(t, timeWindowIsAList) }
func FuzzTimeWindow(f *testing.F)                               { f.Fuzz(rapid.MakeFuzz(timeWindowIsAList)) }

func timeWindowIsAList(t *rapid.T) {
	buckets := rapid.IntRange(1, 6).Draw(t, "buckets")
	width := time.Duration(rapid.IntRange(1, 7).Draw(t, "width"))
	window := width * time.Duration(buckets)
	start := time.Duration(rapid.IntRange(-100, 100).Draw(t, "start"))
	now := start
	w := &timeWindow{width: width, totals: make([]windowCounts, buckets), start: start}
	var model list
	var good int64
	t.Repeat(map[string]func(*rapid.T){
		"good": func(t *rapid.T) {
			w.advance(now, good) // as a success that finds its bucket over does
			good++
			model = append(model, call{at: now})
		},
		"bad": func(t *rapid.T) {
			kind := rapid.IntRange(1, 3).Draw(t, "kind")
			failed, slow := kind&1 != 0, kind&2 != 0
			w.record(now, good, failed, slow)
			model = append(model, call{now, failed, slow})
		},
		"wait":       func(t *rapid.T) { now += time.Duration(rapid.IntRange(0, int(width)).Draw(t, "a little")) },
		"wait long":  func(t *rapid.T) { now += time.Duration(rapid.IntRange(0, 4*int(window)).Draw(t, "long")) },
		"wait edges": func(t *rapid.T) { now += width * time.Duration(rapid.IntRange(1, 3*buckets).Draw(t, "buckets")) },
		"": func(t *rapid.T) {
			got := w.counts(now, good)
			// The current bucket and the others before it: exact, once one knows where the buckets begin.
			current := start + (now-start)/width*width
			if want := model.since(current - window + width).counts(); got != want {
				t.Fatalf("at %d: counts %+v, want %+v", now, got, want)
			}
			// And so, without knowing it, within one bucket of the window.
			least, most := model.since(now-window+width).counts(), model.since(now-window+1).counts()
			if got.calls < least.calls || got.calls > most.calls || got.failures < least.failures || got.failures > most.failures {
				t.Fatalf("at %d: counts %+v, want between %+v and %+v", now, got, least, most)
			}
		},
	})
}

// Every gap of k windows and j buckets, and one nanosecond more or less.
func TestFault027_NoOldBucketComesBack(t *testing.T) {
	const buckets, width = 5, 10
	for gap := time.Duration(0); gap <= 4*buckets*width; gap++ {
		w := &timeWindow{width: width, totals: make([]windowCounts, buckets)}
		for at := time.Duration(0); at < buckets*width; at += width {
			w.record(at, 0, true, false)
		}
		last := time.Duration((buckets - 1) * width)
		now := last + gap
		want := max(0, buckets-int64(gap/width))
		require.Equal(t, want, w.counts(now, 0).failures, "gap %d", gap)
		w.advance(now, 0)
		require.Equal(t, want, w.counts(now, 0).failures, "gap %d, advanced", gap)
		w.record(now, 0, true, true)
		require.Equal(t, want+1, w.counts(now, 0).failures, "gap %d, one more", gap)
		require.EqualValues(t, 1, w.counts(now, 0).slow)
	}
}

func TestFault180_TheTimeWindowDoesNotOverflow(t *testing.T) {
	const end = 1<<63 - 1
	w := &timeWindow{width: end / 3, totals: make([]windowCounts, 3)}
	for _, now := range []time.Duration{0, 1, end / 2, end - 1, end} {
		w.record(now, 0, true, false)
		require.Positive(t, w.counts(now, 0).failures)
	}
	w = &timeWindow{width: 1, totals: make([]windowCounts, 2)}
	w.record(0, 0, true, false)
	w.record(end, 0, true, false)
	require.EqualValues(t, 1, w.counts(end, 0).failures)
}

func TestAClockThatWasReplacedEmptiesTheTimeWindow(t *testing.T) {
	w := &timeWindow{width: 10, totals: make([]windowCounts, 3), start: 1000}
	w.record(1015, 2, true, false)
	require.EqualValues(t, 3, w.counts(1015, 2).calls)
	require.Zero(t, w.counts(-500, 2))
	w.record(-500, 2, true, false)
	require.Equal(t, windowCounts{calls: 1, failures: 1}, w.counts(-500, 2))
	require.Equal(t, windowCounts{calls: 1, failures: 1}, w.counts(-471, 2))
	require.Zero(t, w.counts(-470, 2))
}

// Windows of another size hold the same calls, as far as they can.
func TestAResizedCountWindowIsAListOfCalls(t *testing.T) { rapid.Check(t, resizedIsAList) }
func FuzzResizedCountWindow(f *testing.F)                { f.Fuzz(rapid.MakeFuzz(resizedIsAList)) }

func resizedIsAList(t *rapid.T) {
	size := rapid.Int64Range(1, 8).Draw(t, "size")
	w := &countWindow{size: size, badCalls: make([]badCall, size)}
	good := rapid.Int64Range(0, 5).Draw(t, "good before")
	w.begin(0, good)
	var calls list
	for range rapid.IntRange(0, 60).Draw(t, "steps") {
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0:
			size = rapid.Int64Range(1, 8).Draw(t, "size")
			w = w.resized(size, good)
		case 1, 2:
			good++
			calls = append(calls, call{})
		default:
			c := call{failed: rapid.Bool().Draw(t, "failed"), slow: rapid.Bool().Draw(t, "slow")}
			w.record(0, good, c.failed, c.slow)
			calls = append(calls, c)
		}
		calls = calls.last(int(size)) // what has left a window does not come back when it grows
		if got, want := w.counts(0, good), calls.counts(); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
}

// A time window of another shape holds no call that is too old, and every call that is young enough by one old bucket.
func TestAReshapedTimeWindowIsAListOfCalls(t *testing.T) { rapid.Check(t, reshapedIsAList) }
func FuzzReshapedTimeWindow(f *testing.F)                { f.Fuzz(rapid.MakeFuzz(reshapedIsAList)) }

func reshapedIsAList(t *rapid.T) {
	shape := func() (time.Duration, int) {
		return time.Duration(rapid.Int64Range(1, 10).Draw(t, "width")), rapid.IntRange(1, 8).Draw(t, "buckets")
	}
	width, buckets := shape()
	now := time.Duration(rapid.Int64Range(0, 100).Draw(t, "start"))
	w := &timeWindow{width: width, totals: make([]windowCounts, buckets)}
	good := rapid.Int64Range(0, 5).Draw(t, "good before")
	w.begin(now, good)
	var calls list
	for range rapid.IntRange(0, 40).Draw(t, "calls") {
		now += time.Duration(rapid.Int64Range(0, 12).Draw(t, "gap"))
		c := call{at: now, failed: rapid.Bool().Draw(t, "failed"), slow: rapid.Bool().Draw(t, "slow")}
		if c.failed || c.slow {
			w.record(now, good, c.failed, c.slow)
		} else {
			w.advance(now, good)
			good++
		}
		calls = append(calls, c)
	}
	before := w.counts(now, good)
	oldWidth, oldSpan := width, width*time.Duration(buckets)
	width, buckets = shape()
	w = w.reshaped(width, buckets, now, good)
	span := width * time.Duration(buckets)
	for range 10 {
		got := w.counts(now, good)
		least := calls.since(now - min(span-width, oldSpan-oldWidth) + oldWidth).counts()
		if got.calls > before.calls || got.failures > before.failures {
			t.Fatalf("%+v are more than there were: %+v", got, before)
		}
		if got.calls > calls.since(now-span+1).counts().calls {
			t.Fatalf("%+v at %v: too old", got, now)
		}
		if got.calls < least.calls || got.failures < least.failures || got.slow < least.slow {
			t.Fatalf("%+v at %v, want at least %+v", got, now, least)
		}
		now += time.Duration(rapid.Int64Range(0, 12).Draw(t, "later"))
	}
}
