package replay

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/go-resilience/resilience/lab/internal/minheap"
)

// fit is a server with slots, first come first served, that would have answered as the log says: what each attempt asked of
// it, without the wait for a slot, and how slow it was at which time.
type fit struct {
	log      *Log
	flight   []int32 // attempts under way when each began, itself not counted
	load     []int32 // and at the beginning of that tick of the log's clock
	most     int     // attempts under way at once
	byFlight []int32 // attempts in the order of flight

	slots  int // 0: load shows nothing, or no number of slots fits
	queue  int // how many may wait, -1: no bound was seen
	full   []bool
	demand []time.Duration
	slow   []float64 // the median demand, in seconds, by half seconds in which service began

	growth     float64 // t of latency on load, within seconds
	failGrowth float64 // t of failure on load
	residual   float64 // t of demand on load: what the slots do not explain
	waited     float64 // share of attempts that found all slots taken
}

// The bounds of the fit. They were found by experiment; see docs/replay.md.
const (
	mostEarly    = .002 // of the attempts may end before they begin
	leastFull    = 20   // instant failures that make a bound
	significant  = 4.0  // t
	leastWaited  = .005 // of the attempts, for slots to show
	leastService = 10 * time.Microsecond
)

func newFit(l *Log) *fit {
	f := &fit{log: l, queue: -1, full: make([]bool, len(l.attempts))}
	f.count()
	level := f.bound()
	f.growth = f.regress(func(i int) (float64, bool) {
		a := &l.attempts[i]
		return math.Log(max(a.took, leastService).Seconds()), !f.full[i] && a.outcome == 0
	})
	slots := f.fewest()
	queued := 0
	for _, n := range f.flight {
		if int(n) >= slots {
			queued++
		}
	}
	f.waited = share(queued, len(f.flight))
	if (f.growth > significant || slots <= f.most/4) && f.waited > leastWaited {
		f.slots = slots
	}
	if f.slots > 0 {
		f.demand = f.demands(f.slots)
		if level >= 0 {
			f.queue = max(0, level-f.slots)
		}
	} else {
		clear(f.full)
		f.demand = make([]time.Duration, len(l.attempts))
		for i := range l.attempts {
			f.demand[i] = l.attempts[i].took
		}
	}
	for i := range f.demand {
		f.demand[i] = max(f.demand[i], leastService)
	}
	f.failGrowth = f.regress(func(i int) (float64, bool) {
		if a := &l.attempts[i]; a.outcome != 0 && a.cut == whole {
			return 1, !f.full[i]
		}
		return 0, !f.full[i]
	})
	f.residual = f.regress(func(i int) (float64, bool) {
		return math.Log(f.demand[i].Seconds()), !f.full[i] && l.attempts[i].cut == whole
	})
	f.curve()
	return f
}

// count counts the attempts that were under way when each began.
func (f *fit) count() {
	attempts := f.log.attempts
	f.flight, f.byFlight = make([]int32, len(attempts)), make([]int32, len(attempts))
	var ends minheap.Heap[time.Duration]
	for i := range attempts {
		a := &attempts[i]
		ends.Drop(a.at)
		f.flight[i], f.byFlight[i] = int32(len(ends)), int32(i)
		f.most = max(f.most, len(ends)+1)
		ends.Push(a.end())
	}
	slices.SortStableFunc(f.byFlight, func(a, b int32) int { return int(f.flight[a] - f.flight[b]) })
	f.load = f.flight
	if tick := max(1, f.log.Notes.Resolution); tick > 1 {
		f.load = f.atTicks(tick)
	}
}

// atTicks counts the attempts that were under way at the beginning of the tick in which each began. Those that began in the
// same tick stand in the order of the log, which is mostly that in which they ended: the later of them took longer, and has
// more of them before itself. That is no sign of load.
func (f *fit) atTicks(tick time.Duration) []int32 {
	attempts := f.log.attempts
	load := make([]int32, len(attempts))
	var ends minheap.Heap[time.Duration]
	into := time.Duration(f.log.Begin.UnixNano() % int64(tick))
	for i := 0; i < len(attempts); {
		now := (attempts[i].at+into)/tick*tick - into
		ends.Drop(now)
		under := int32(len(ends))
		for ; i < len(attempts) && attempts[i].at < now+tick; i++ {
			load[i] = under
			ends.Push(attempts[i].end())
		}
	}
	return load
}

// bound finds failures that came at once, all at one number of attempts under way: those that a full queue refused. It
// returns that number, -1 if there is none.
func (f *fit) bound() int {
	var fine []time.Duration
	for i := range f.log.attempts {
		if a := &f.log.attempts[i]; a.outcome == 0 {
			fine = append(fine, a.took)
		}
	}
	if len(fine) == 0 {
		return -1
	}
	slices.Sort(fine)
	quick := max(fine[len(fine)/100]/4, 1100*time.Microsecond)
	var levels []int
	for i := range f.log.attempts {
		if a := &f.log.attempts[i]; a.outcome != 0 && a.cut == whole && a.took < quick {
			f.full[i] = true
			levels = append(levels, int(f.flight[i]))
		}
	}
	if len(levels) >= leastFull {
		slices.Sort(levels)
		if level := levels[len(levels)/2]; levels[len(levels)/10] >= level-2 {
			return level
		}
	}
	clear(f.full) // failures that are fast, and no level
	return -1
}

// fewest returns the fewest slots with which hardly an attempt ends before it begins.
func (f *fit) fewest() int {
	low, high := 1, f.most+1
	for low < high {
		c := (low + high) / 2
		if f.early(f.demands(c)) > mostEarly {
			low = c + 1
		} else {
			high = c
		}
	}
	return low
}

// demands returns how long each attempt was served if there were so many slots. It is not positive for one that ended before
// it could begin.
func (f *fit) demands(slots int) []time.Duration {
	attempts := f.log.attempts
	demands := make([]time.Duration, len(attempts))
	free := make(minheap.Heap[time.Duration], slots) // when each slot is
	for i := range attempts {
		if f.full[i] {
			continue
		}
		a := &attempts[i]
		begin := max(a.at, free[0])
		demands[i] = a.end() - begin
		free.Replace(max(a.end(), begin))
	}
	return demands
}

// early returns the share of attempts that would have ended before they began, by more than the clock of the log can tell.
func (f *fit) early(demands []time.Duration) float64 {
	n, of := 0, 0
	tick := max(1, f.log.Notes.Resolution)
	for i, d := range demands {
		if f.full[i] || f.log.attempts[i].cut != whole {
			continue
		}
		of++
		if d <= 0 && (tick == 1 || d < -tick) {
			n++
		}
	}
	return share(n, of)
}

// regress returns the t statistic of the slope of y on the logarithm of load, within windows of a second: what is slow for
// longer is no sign of load.
func (f *fit) regress(y func(i int) (value float64, counts bool)) float64 {
	var sxy, sxx, syy, n float64
	attempts := f.log.attempts
	for i := 0; i < len(attempts); {
		second := attempts[i].at / time.Second
		var k, x, xx, yy, xy, ys float64
		for ; i < len(attempts) && attempts[i].at/time.Second == second; i++ {
			value, counts := y(i)
			if !counts {
				continue
			}
			load := math.Log(1 + float64(f.load[i]))
			k, x, ys, xx, yy, xy = k+1, x+load, ys+value, xx+load*load, yy+value*value, xy+load*value
		}
		if k < 10 {
			continue
		}
		sxy += xy - x*ys/k
		sxx += xx - x*x/k
		syy += yy - ys*ys/k
		n += k - 1
	}
	if sxx <= 1e-9 || syy <= 1e-9 || n < 10 {
		return 0
	}
	slope := sxy / sxx
	rest := (syy - slope*sxy) / (n - 1)
	if rest <= 0 {
		return math.Copysign(1e6, slope)
	}
	return slope / math.Sqrt(rest/sxx)
}

// curve works out how slow service was that began at a time.
func (f *fit) curve() {
	attempts := f.log.attempts
	bins := make([][]float64, int((f.log.Span+time.Minute)/halfSecond)+2)
	for i := range attempts {
		if b := int(f.begin(i) / halfSecond); b >= 0 && b < len(bins) && !f.full[i] {
			bins[b] = append(bins[b], f.demand[i].Seconds())
		}
	}
	f.slow = make([]float64, len(bins))
	now := 0.0
	var around []float64
	for b := range bins {
		around = around[:0]
		for k := max(0, b-1); k <= min(len(bins)-1, b+1); k++ {
			around = append(around, bins[k]...)
		}
		if len(around) >= 10 {
			slices.Sort(around)
			now = around[len(around)/2]
		}
		f.slow[b] = now
	}
	first := leastService.Seconds()
	if i := slices.IndexFunc(f.slow, func(s float64) bool { return s > 0 }); i >= 0 {
		first = f.slow[i]
	}
	for b := range f.slow {
		if f.slow[b] == 0 {
			f.slow[b] = first
		}
	}
}

// begin returns when the service of an attempt began.
func (f *fit) begin(i int) time.Duration { return f.log.attempts[i].end() - f.demand[i] }

// slowness returns the median demand, in seconds, of what began around a moment.
func (f *fit) slowness(at time.Duration) float64 {
	return f.slow[max(0, min(len(f.slow)-1, int(at/halfSecond)))]
}

// like returns the attempts, as a range of byFlight, that began with about so many under way: 50 at least.
func (f *fit) like(flight int) (low, high int) {
	tolerance := max(2, flight/5)
	low = sort.Search(len(f.byFlight), func(k int) bool { return int(f.flight[f.byFlight[k]]) >= flight-tolerance })
	high = sort.Search(len(f.byFlight), func(k int) bool { return int(f.flight[f.byFlight[k]]) > flight+tolerance })
	for high-low < 50 && (low > 0 || high < len(f.byFlight)) {
		low, high = max(0, low-10), min(len(f.byFlight), high+10)
	}
	return low, high
}
