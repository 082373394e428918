package replay

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/go-resilience/resilience/lab/internal/minheap"
)

// Measured is what became of the calls of a log, as they were recorded or with a candidate.
type Measured struct {
	Calls     int
	Succeeded int
	Failed    int // attempts were made, and the call failed
	Refused   int // nothing was sent
	Lost      int // calls that succeeded when they were recorded, and did not now
	Gained    int // calls that succeed now, and did not when they were recorded
	Kinds     []Count
	Refusals  []Count // by policy and code

	Attempts int           // that reached the dependency
	Busy     time.Duration // that the dependency was busy with them, as those saw it who waited
	Waited   time.Duration // by all callers together

	P50, P95, P99   time.Duration // of the calls that succeeded, 0 if none did
	P99Low, P99High time.Duration // where the p99 of so many calls is, give or take three standard errors
	Worst           Window        // the ten seconds with the lowest share of successes

	PeakRate   int // the most attempts that began in one second
	PeakFlight int // the most attempts that were under way at once

	Imputed int // attempts whose end was made up, because a policy had cut them short when they were recorded
	States  []Track
	Limits  []Limit
	Seconds []Second

	Hash uint64        // of everything that happened, equal for equal runs
	Took time.Duration // in real time
}

// Count is how often something happened.
type Count struct {
	What string
	N    int
}

// Window is a stretch of ten seconds.
type Window struct {
	From             time.Duration
	Calls, Succeeded int
}

// Second is the calls that came in one second, and what became of them.
type Second struct{ Calls, Succeeded, Refused, Attempts int32 }

// Track is the states of a layer over time.
type Track struct {
	Layer string
	Spans []Span
}

// Span is a time in a state.
type Span struct {
	From, Until time.Duration
	State       string
}

// Limit is a limit of a layer, beside the peak of what it limits.
type Limit struct {
	Layer string
	What  string  // is limited
	Limit float64 // 0 for a peak without a limit
	Peak  float64
}

// Success returns the share of calls that succeeded.
func (m *Measured) Success() float64 { return share(m.Succeeded, m.Calls) }

func share(n, of int) float64 { return float64(n) / float64(max(1, of)) }

// meter measures calls one by one.
type meter struct {
	m        Measured
	log      *Log
	kinds    map[string]int
	refusals map[string]int
	took     []time.Duration // of successes
	flight   int
}

func newMeter(l *Log) *meter {
	return &meter{
		log: l, kinds: map[string]int{}, refusals: map[string]int{}, took: make([]time.Duration, 0, len(l.calls)),
		m: Measured{Seconds: make([]Second, l.Span/time.Second+1)},
	}
}

// ended notes how a call ended: with a kind of failure, "" for success.
func (t *meter) ended(index int, took time.Duration, kind string, refused bool) {
	c := &t.log.calls[index]
	t.m.Calls++
	t.m.Waited += took
	second := &t.m.Seconds[c.at/time.Second]
	second.Calls++
	switch {
	case refused:
		t.m.Refused++
		second.Refused++
		t.refusals[kind]++
	case kind != "":
		t.m.Failed++
		t.kinds[kind]++
	default:
		t.m.Succeeded++
		second.Succeeded++
		t.took = append(t.took, took)
	}
	switch before := c.outcome == 0; {
	case before && kind != "":
		t.m.Lost++
	case !before && kind == "":
		t.m.Gained++
	}
}

// began and left note an attempt.
func (t *meter) began(at time.Duration) {
	t.m.Attempts++
	t.flight++
	t.m.PeakFlight = max(t.m.PeakFlight, t.flight)
	if s := int(at / time.Second); s < len(t.m.Seconds) {
		t.m.Seconds[s].Attempts++
	}
}

func (t *meter) left(took time.Duration) {
	t.flight--
	t.m.Busy += took
}

// finish works out what needs all calls.
func (t *meter) finish() *Measured {
	m := &t.m
	m.Kinds, m.Refusals = counts(t.kinds), counts(t.refusals)
	slices.Sort(t.took)
	m.P50, m.P95, m.P99 = quantile(t.took, .5), quantile(t.took, .95), quantile(t.took, .99)
	scatter := 3 * math.Sqrt(.99*.01/float64(max(1, len(t.took))))
	m.P99Low, m.P99High = quantile(t.took, .99-scatter), quantile(t.took, min(1, .99+scatter))
	t.took = nil
	m.Worst = worst(m.Seconds)
	for _, s := range m.Seconds {
		m.PeakRate = max(m.PeakRate, int(s.Attempts))
	}
	return m
}

func counts(of map[string]int) (list []Count) {
	for what, n := range of {
		list = append(list, Count{what, n})
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(b.N-a.N, cmp.Compare(a.What, b.What)) })
	return list
}

// quantile returns the smallest value that a share q of the sorted values does not exceed (nearest rank), 0 of none.
func quantile[T cmp.Ordered](sorted []T, q float64) (value T) {
	if len(sorted) == 0 {
		return value
	}
	return sorted[min(len(sorted), max(1, int(math.Ceil(q*float64(len(sorted))-1e-9))))-1]
}

// worst returns the ten seconds with the lowest share of successes, the first of equals, of those with at least a tenth of
// the calls that ten seconds have on average.
func worst(seconds []Second) Window {
	const width = 10
	total := 0
	for _, s := range seconds {
		total += int(s.Calls)
	}
	least := max(1, total/len(seconds)*min(width, len(seconds))/10)
	var now, found Window
	for i, s := range seconds {
		now.Calls += int(s.Calls)
		now.Succeeded += int(s.Succeeded)
		if i >= width {
			now.Calls -= int(seconds[i-width].Calls)
			now.Succeeded -= int(seconds[i-width].Succeeded)
		}
		if i < min(width, len(seconds))-1 || now.Calls < least {
			continue
		}
		now.From = time.Duration(max(0, i-width+1)) * time.Second
		if found.Calls == 0 || now.Succeeded*found.Calls < found.Succeeded*now.Calls {
			found = now
		}
	}
	return found
}

// Recorded measures what was recorded.
func (l *Log) Recorded() *Measured {
	t := newMeter(l)
	var ends minheap.Heap[time.Duration]
	for i := range l.attempts {
		a := &l.attempts[i]
		ends.Drop(a.at)
		t.flight = len(ends)
		ends.Push(a.end())
		t.began(a.at)
		t.m.Busy += a.took
	}
	for i := range l.calls {
		c := &l.calls[i]
		t.ended(i, c.took, l.kinds[c.outcome], c.refused())
	}
	return t.finish()
}
