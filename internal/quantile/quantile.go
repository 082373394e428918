// Package quantile estimates a quantile of recent durations in bounded memory.
package quantile

import (
	"math"
	"math/bits"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
)

// The buckets are log-linear: each power of two of nanoseconds is cut into equal parts. So the width of a bucket is at
// most 1/32 of the durations in it.
const (
	partBits   = 5
	parts      = 1 << partBits
	lowest     = 13 // 2^13 ns, about 8 µs: everything below is one bucket
	highest    = 43 // 2^43 ns, about 2.4 h: everything above is one bucket
	buckets    = (highest-lowest)*parts + 2
	renewal    = 30 * time.Second
	minBeyond  = 10 // observations beyond the quantile that an estimate needs
	minSamples = 100
)

// Estimator estimates one quantile of the durations that it was told of lately.
//
// It is a histogram, so an estimate and the true quantile of the same observations lie in one bucket: they differ by
// at most 1/32 (3.1 %) of the value, and by less where the distribution is smooth, because the estimate is
// interpolated. Durations below 8 µs and above 2.4 h are not told apart.
//
// It remembers two periods, the current and the previous one. A period is over after 30 seconds, or later when there
// were too few observations for an estimate. So a change of the durations shows fully after one to two periods, and a
// quantile is not forgotten while there is no traffic. The two histograms take 7.7 KB.
//
// An Estimator is not safe for concurrent use.
type Estimator struct {
	q        float64
	clock    stopwatch.Stopwatch
	current  histogram
	previous histogram
	began    time.Duration // of the current period

	estimate time.Duration
	known    bool
	fresh    uint64 // observations since the estimate was made
}

// New returns an estimator of quantile q, which must lie between 0 and 1.
func New(q float64) *Estimator {
	return &Estimator{q: q, clock: stopwatch.Start()}
}

// SetQuantile changes the quantile that is estimated, from what was observed already.
func (e *Estimator) SetQuantile(q float64) {
	e.q, e.known, e.estimate = q, false, 0
	e.renew()
}

// Samples returns how many observations an estimate needs: at least 100, and 10 beyond the quantile.
func Samples(q float64) int {
	return max(minSamples, int(math.Ceil(minBeyond/(1-q)-1e-9)))
}

// Observe adds a duration. One that was cut short counts correctly when it is known to be above the quantile: its
// exact value does not matter then.
func (e *Estimator) Observe(d time.Duration) {
	if now := e.clock.Elapsed(); now-e.began >= renewal && e.current.total >= e.samples() {
		e.previous = e.current
		e.current = histogram{}
		e.began = now
	}
	e.current.add(d)
	e.fresh++
	if total := e.current.total + e.previous.total; !e.known || e.fresh*64 >= total { // so it stays cheap on average
		e.renew()
	}
}

func (e *Estimator) samples() uint64 { return uint64(Samples(e.q)) }

func (e *Estimator) renew() {
	e.fresh = 0
	if e.current.total+e.previous.total < e.samples() {
		return
	}
	e.known = true
	e.estimate = e.current.quantile(&e.previous, e.q)
}

// Estimate returns the quantile, and false when there were too few observations. It is at most 1/64 of the
// observations old.
func (e *Estimator) Estimate() (time.Duration, bool) { return e.estimate, e.known }

// histogram counts durations.
type histogram struct {
	counts [buckets]uint32
	total  uint64
}

func (h *histogram) add(d time.Duration) {
	if count := &h.counts[bucket(d)]; *count < math.MaxUint32 {
		*count++
		h.total++
	}
}

// quantile returns quantile q of the observations of both histograms together, of which there must be at least one.
func (h *histogram) quantile(other *histogram, q float64) time.Duration {
	rank := q * float64(h.total+other.total)
	below := 0.0
	for i := range h.counts {
		in := float64(h.counts[i]) + float64(other.counts[i])
		if in > 0 && below+in >= rank {
			low, high := bounds(i)
			return low + time.Duration((rank-below)/in*float64(high-low))
		}
		below += in
	}
	_, high := bounds(buckets - 1)
	return high
}

// bucket returns the bucket of d: 0 for what is below the lowest power of two, the last one for what is too high.
func bucket(d time.Duration) int {
	if d < 1<<lowest {
		return 0
	}
	if d >= 1<<highest {
		return buckets - 1
	}
	power := bits.Len64(uint64(d)) - 1
	part := int(d>>(power-partBits)) & (parts - 1)
	return 1 + (power-lowest)*parts + part
}

// bounds returns the durations between which bucket i lies. The ends count as single points.
func bounds(i int) (low, high time.Duration) {
	switch i {
	case 0:
		return 0, 1 << lowest
	case buckets - 1:
		return 1 << highest, 1 << highest
	}
	power, part := lowest+(i-1)/parts, (i-1)%parts
	width := time.Duration(1) << (power - partBits)
	low = time.Duration(1)<<power + time.Duration(part)*width
	return low, low + width
}
