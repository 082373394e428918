package play

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
)

// The bounds of a run. Whoever reaches one sees the run up to there.
const (
	MaxCalls  = 60_000 // calls and attempts together
	MaxActive = 4_000  // calls at a time
)

// Row is what happened in one second. Times are in ms, and NaN where nobody succeeded.
type Row struct {
	Calls, Succeeded, Failed, Rejected int // calls that came; and that ended, by how
	Attempts                           int
	Waiting, Active                    int // requests that wait for the dependency, calls that have not ended, at the end
	P50, P99                           float64

	Breaker [Strip]uint8 // its state, at equal distances
}

// Strip is how often in a second the state of the breaker is looked at.
const Strip = 4

// The states of a breaker in a [Row].
const (
	StateClosed = iota
	StateOpen
	StateHalfOpen
)

// Result is what a run has shown.
type Result struct {
	Rows []Row
	Hash string // of everything that happened, and of all numbers here: equal for equal states
	Calls, Succeeded,
	Failed, Rejected, Attempts int
	P50, P90, P99, P999 float64 // of the calls that succeeded, in ms
	Events              int64
	Cut                 string // why the run ended early; "" if it did not
	Refused             string // what is wrong with the pipeline; nothing has run
	Err                 error  // the simulation went wrong
}

// cut is the answer that every request gets in a run that is over: whoever is under way ends at once.
type cut struct{}

func (cut) Error() string       { return "the run is over" }
func (cut) Class() policy.Class { return policy.Permanent }

// Watcher looks at a run while it lasts.
type Watcher struct {
	Second func(second int, row *Row) // is called with every second as soon as it is over
	Wanted func() bool                // is asked now and then whether to go on: with false the run ends early
}

// Run plays one side, 0 or 1.
func (s *State) Run(side int, watcher Watcher) *Result {
	r := &Result{}
	run := &run{state: s, side: &s.Sides[side], result: r, watcher: watcher}
	if err := resilience.Validate(s.Layers(side)...); err != nil {
		r.Refused = err.Error()
		return r
	}
	record, err := sim.Run(uint64(s.Seed), run.model)
	r.Err, r.Events = err, record.Events
	r.summarize(run.times)
	r.hash(record.Hash)
	return r
}

// run is a run under way.
type run struct {
	state   *State
	side    *Side
	result  *Result
	watcher Watcher

	server  *sim.Server
	breaker *breaker.Breaker
	tally   *sim.Tally
	row     Row
	recent  []float64 // times of the calls that have succeeded in this second
	times   []float64 // and in all of them
	over    bool
}

func (r *run) model(w *sim.World) {
	s := r.state
	d := r.side.draft(func(purpose string) rand.Source { return w.Source(purpose) })
	r.breaker = d.breaker
	pipeline := sim.Compose(d.layers...)
	r.server = &sim.Server{Service: s.service(), Slots: int(s.Slots), Queue: int(s.Queue)}
	if s.Trouble == Slows {
		r.server.Slower = func(at time.Duration) float64 { return 1 + (Slowest-1)*s.trouble(int(at/time.Second)) }
	} else {
		r.server.Fails = func(at time.Duration) float64 { return s.trouble(int(at / time.Second)) }
	}
	r.server.Attempted = func(time.Duration) {
		r.row.Attempts++
		r.result.Attempts++
		r.count()
	}
	operation := sim.Operation(func(a *sim.Actor) error {
		if r.over {
			return cut{}
		}
		return r.server.Serve(a)
	})
	call := func(a *sim.Actor) error {
		if r.over {
			return cut{}
		}
		r.row.Calls++
		r.result.Calls++
		r.count()
		return pipeline.Run(a, operation)
	}
	r.load(w, call)
	r.tally.Ended = r.ended
	for second := range Seconds {
		for i := range Strip {
			at := time.Duration(second)*time.Second + time.Duration(i+1)*time.Second/Strip
			w.At(at, func() { r.look(second, i) })
		}
	}
}

// count stops a run that becomes too large.
func (r *run) count() {
	n := r.result.Calls + r.result.Attempts
	switch {
	case n > MaxCalls:
		r.stop("more than " + strconv.Itoa(MaxCalls) + " calls and attempts")
	case r.tally.InFlight > MaxActive:
		r.stop("more than " + strconv.Itoa(MaxActive) + " calls at a time")
	case n%64 == 0:
		r.ask()
	}
}

// load starts whoever calls.
func (r *run) load(w *sim.World, call func(*sim.Actor) error) {
	s := r.state
	if s.Load != Closed {
		arrivals := sim.Poisson(s.Rate)
		if s.Load == Crowds {
			arrivals = crowds(int(s.Clients))
		}
		r.tally = w.Open(func(source *rand.Rand, at time.Duration) time.Duration {
			if r.over {
				return math.MaxInt64
			}
			return arrivals(source, at)
		}, Seconds*time.Second, call)
		return
	}
	r.tally = w.Tally()
	think := sim.Exponential(ms(s.Think))
	for range int(s.Clients) {
		w.Go(func(a *sim.Actor) {
			luck := a.Rand("think")
			for {
				_ = a.Sleep(max(think(luck), time.Microsecond)) // nobody calls without end in one instant
				if r.over || a.Now() >= Seconds*time.Second {
					return
				}
				_ = r.tally.Call(a, call)
			}
		})
	}
}

// crowds is n calls at one instant, and again every ten seconds, from the fifth on.
func crowds(n int) sim.Arrivals {
	came := 0
	return func(*rand.Rand, time.Duration) time.Duration {
		came++
		return time.Duration(5+10*((came-1)/n)) * time.Second
	}
}

// service returns how long requests take.
func (s *State) service() sim.Distribution {
	mean := ms(s.Service)
	switch s.Shape {
	case Exponential:
		return sim.Exponential(mean)
	case Lognormal:
		return sim.Lognormal(time.Duration(float64(mean)*math.Exp(-.5)), 1)
	}
	return sim.Fixed(mean)
}

func (r *run) ended(_, took time.Duration, err error) {
	switch {
	case err == nil:
		r.row.Succeeded++
		r.result.Succeeded++
		r.recent = append(r.recent, took.Seconds()*1000)
	case isRejection(err):
		r.row.Rejected++
		r.result.Rejected++
	default:
		r.row.Failed++
		r.result.Failed++
	}
}

// isRejection reports whether a policy refused and nothing failed before.
func isRejection(err error) bool {
	outcome := policy.Outcome{Kind: policy.Returned, Err: err}
	return outcome.Verdict(nil) == policy.Neutral
}

// look takes down what there is to see at a part of a second, and at its end the row.
func (r *run) look(second, part int) {
	if r.over {
		return
	}
	if r.breaker != nil {
		switch r.breaker.State() {
		case breaker.Open:
			r.row.Breaker[part] = StateOpen
		case breaker.HalfOpen:
			r.row.Breaker[part] = StateHalfOpen
		}
	}
	if part < Strip-1 {
		return
	}
	r.row.Waiting, r.row.Active = r.server.Waiting(), r.tally.InFlight
	slices.Sort(r.recent)
	r.row.P50, r.row.P99 = quantile(r.recent, .5), quantile(r.recent, .99)
	r.times, r.recent = append(r.times, r.recent...), r.recent[:0]
	r.result.Rows = append(r.result.Rows, r.row)
	if r.watcher.Second != nil {
		r.watcher.Second(second, &r.row)
	}
	r.row = Row{}
	r.ask()
}

// ask asks whether to go on.
func (r *run) ask() {
	if r.watcher.Wanted != nil && !r.watcher.Wanted() {
		r.stop("another one was asked for")
	}
}

// stop ends the run: nobody comes any more, and whoever is under way ends with the next thing that they do.
func (r *run) stop(why string) {
	if !r.over {
		r.over, r.result.Cut = true, why
	}
}

// quantile returns the time that the share q of sorted times do not exceed, NaN if there are none.
func quantile(times []float64, q float64) float64 {
	if len(times) == 0 {
		return math.NaN()
	}
	return times[max(0, int(math.Ceil(q*float64(len(times))))-1)]
}

// summarize fills in the quantiles of the whole run.
func (r *Result) summarize(times []float64) {
	slices.Sort(times)
	r.P50, r.P90, r.P99, r.P999 = quantile(times, .5), quantile(times, .9), quantile(times, .99), quantile(times, .999)
}

// hash fills in the hash, FNV-1a over the numbers of the result and what the world says happened.
func (r *Result) hash(world uint64) {
	h := uint64(14695981039346656037)
	add := func(words ...uint64) {
		for _, word := range words {
			for range 8 {
				h = (h ^ word&0xff) * 1099511628211
				word >>= 8
			}
		}
	}
	add(world, uint64(r.Events))
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, n := range []int{row.Calls, row.Succeeded, row.Failed, row.Rejected, row.Attempts, row.Waiting, row.Active} {
			add(uint64(n))
		}
		add(bits(row.P50), bits(row.P99))
		for _, state := range row.Breaker {
			add(uint64(state))
		}
	}
	for _, q := range []float64{r.P50, r.P90, r.P99, r.P999} {
		add(bits(q))
	}
	r.Hash = strconv.FormatUint(h, 16)
}

// bits returns the bits of a number; all that are NaN have the same.
func bits(v float64) uint64 {
	if math.IsNaN(v) {
		return math.MaxUint64
	}
	return math.Float64bits(v)
}
