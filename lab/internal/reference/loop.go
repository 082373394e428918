package reference

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// Number is what an experiment is expected to show.
type Number struct {
	Mean      float64
	Deviation float64 // the standard deviation of one run of the experiment
	Error     float64 // the standard error of Mean; 0 if it is known exactly
	Grain     float64 // what one thing more changes in one run, where things are counted that may be rare; otherwise 0
}

// Exactly is a number that does not depend on chance.
func Exactly(v float64) Number { return Number{Mean: v} }

// Share is a share of n things of which each is counted with probability p.
func Share(p, n float64) Number { return Number{Mean: p, Deviation: math.Sqrt(p * (1 - p) / n)} }

// Count is the number of things that come by chance, mean of them on average.
func Count(mean float64) Number { return Number{Mean: mean, Deviation: math.Sqrt(mean)} }

// Each is a mean of n things that have a mean and a standard deviation of their own.
func Each(mean, deviation, n float64) Number {
	return Number{Mean: mean, Deviation: deviation / math.Sqrt(n)}
}

// Times is the number in another unit.
func (n Number) Times(factor float64) Number {
	return Number{n.Mean * factor, n.Deviation * math.Abs(factor), n.Error * math.Abs(factor), n.Grain * math.Abs(factor)}
}

// Of is the number for a run that is a mean of k of these runs.
func (n Number) Of(k float64) Number { n.Deviation /= math.Sqrt(k); return n }

// runs calls so many runs, each with random numbers of its own and on all cores, and returns the mean of each of their
// results.
func runs(n int, run func(r *rand.Rand) []float64) []Number {
	all := make([][]float64, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				all[i] = run(rand.New(rand.NewPCG(uint64(i), 20261127)))
			}
		})
	}
	workers.Wait()
	var sums, squares []float64
	for _, results := range all {
		if sums == nil {
			sums, squares = make([]float64, len(results)), make([]float64, len(results))
		}
		for j, result := range results {
			sums[j] += result
			squares[j] += result * result
		}
	}
	numbers := make([]Number, len(sums))
	for j := range sums {
		mean := sums[j] / float64(n)
		variance := max(0, squares[j]/float64(n)-mean*mean)
		deviation := math.Sqrt(variance * float64(n) / float64(max(1, n-1)))
		// Few runs say little of their own scatter: by two standard errors of it, it is not underrated.
		deviation *= 1 + 2/math.Sqrt(2*float64(max(1, n-1)))
		numbers[j] = Number{Mean: mean, Deviation: deviation, Error: deviation / math.Sqrt(float64(n))}
	}
	return numbers
}

// loop does what is due, in the order of time.
type loop struct {
	now    float64 // seconds
	events []event // a heap
	number int
}

type event struct {
	at     float64
	number int
	do     func()
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.number < other.number
}

func (l *loop) after(d float64, do func()) {
	l.number++
	l.events = append(l.events, event{l.now + d, l.number, do})
	heap := l.events
	for i := len(heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !heap[i].before(&heap[parent]) {
			break
		}
		heap[i], heap[parent] = heap[parent], heap[i]
		i = parent
	}
}

func (l *loop) run() {
	for len(l.events) > 0 {
		e := l.first()
		l.now = e.at
		e.do()
	}
}

// first takes out what is due first.
func (l *loop) first() event {
	last := len(l.events) - 1
	first := l.events[0]
	l.events[0], l.events[last] = l.events[last], event{}
	l.events = l.events[:last]
	heap := l.events
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && heap[child+1].before(&heap[child]) {
			child++
		}
		if !heap[child].before(&heap[i]) {
			return first
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}

// arrivals calls come at a rate, until the horizon.
func (l *loop) arrivals(r *rand.Rand, rate, horizon float64, come func()) {
	var next func()
	next = func() {
		come()
		if d := r.ExpFloat64() / rate; l.now+d < horizon {
			l.after(d, next)
		}
	}
	if d := r.ExpFloat64() / rate; d < horizon {
		l.after(d, next)
	}
}
