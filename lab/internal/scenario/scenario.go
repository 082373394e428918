package scenario

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
)

// Scenario is one lesson.
type Scenario struct {
	Name     string // "L9"
	Page     string // the name of its page and its pictures, such as "composition-order"
	Question string
	Answer   string   // in a sentence, with the number to remember
	Setup    []string // what is on; everything else is off
	Advice   []string // with numbers
	Limits   []string // where the advice ends
	Sources  []string
	Params   []Param
	Run      func(*Lab)
}

// Param is a number of a scenario that can be changed.
type Param struct {
	Name, What, Unit   string
	Default, Low, High float64
	Whole              bool // a whole number
}

// Validate returns an error if value is outside of the range.
func (p *Param) Validate(value float64) error {
	if !(value >= p.Low && value <= p.High) || p.Whole && value != math.Trunc(value) {
		kind := "a number"
		if p.Whole {
			kind = "a whole number"
		}
		return fmt.Errorf("%s=%v: must be %s from %v to %v", p.Name, value, kind, p.Low, p.High)
	}
	return nil
}

// All returns every scenario, in order.
func All() []*Scenario {
	return []*Scenario{
		&amplification, &budgets, &jitter, &loops, &storm, &tripping, &halfOpen, &blastRadius, &order, &sizing, &hedging, &limiting,
	}
}

// Result is what running a scenario has shown.
type Result struct {
	*Scenario
	Seed    uint64
	Size    Size
	Set     map[string]float64 // the parameters that had another value than their default
	Checks  []Check
	Figures []*plot.Figure
	Hash    uint64 // of everything that happened in all its worlds, and what was measured
	Worlds  int
	Events  int64
	Err     error // the simulation itself went wrong
}

// Changed returns the parameters that had another value than their default, such as "p=0.2, rate=200". What the scenario
// answers and advises is about the defaults.
func (r *Result) Changed() string {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(r.Set)) {
		changed = append(changed, fmt.Sprintf("%s=%v", name, r.Set[name]))
	}
	return strings.Join(changed, ", ")
}

// Passed reports whether everything was as expected.
func (r *Result) Passed() bool {
	return r.Err == nil && len(r.Checks) > 0 && !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Passed })
}

// Size says how much a scenario runs: how many seeds, and for how long. What it expects is the same for every size.
type Size int

const (
	// Usual is what the pages show.
	Usual Size = iota
	// Quick is for tests: a second or less for each scenario, and no more than its expectations need.
	Quick
	// Full is the seeds and horizons of the published experiments.
	Full
)

// Options says how to run a scenario.
type Options struct {
	Seed     uint64
	Size     Size
	Progress func(done, total int) // worlds; nil for none
	Set      map[string]float64    // parameters that have another value

	mutants map[string]float64 // parameters that the worlds have changed by a factor, and the references have not

	seeds int // at most so many for each variant; 0: as many as the scenario wants

	untilFailure bool // the first check that fails is the last
}

// Lab is where a scenario runs.
type Lab struct {
	options Options
	result  *Result
	total   int
	done    int
	mu      sync.Mutex
}

// Play runs a scenario. The same options give the same result, on any number of cores and any machine of the same
// architecture: on others, floating-point numbers may be rounded in other places.
func Play(s *Scenario, options Options) *Result {
	options.Set = maps.Clone(options.Set)
	maps.DeleteFunc(options.Set, func(name string, value float64) bool {
		return slices.ContainsFunc(s.Params, func(p Param) bool { return p.Name == name && p.Default == value })
	})
	lab := &Lab{options: options, result: &Result{Scenario: s, Seed: options.Seed, Size: options.Size, Set: options.Set}}
	lab.result.Err = guard(func() { s.Run(lab) })
	if lab.result.Err == nil && len(lab.result.Checks) == 0 {
		lab.result.Err = errors.New("nothing was expected, so nothing is shown: see Lab.Expect")
	}
	if lab.result.Err != nil {
		lab.result.Err = fmt.Errorf("%s: %w", lab.called(), lab.result.Err)
	}
	of := s.Name
	if changed := lab.result.Changed(); changed != "" {
		of += " with " + changed
	}
	for _, figure := range lab.result.Figures {
		figure.Footer = fmt.Sprintf("%s · seed %d · %d worlds, %d events in virtual time · the library's own policies", of, options.Seed, lab.result.Worlds, lab.result.Events)
	}
	return lab.result
}

// guard runs f, and returns its panic as an error: scenarios come from outside, too.
func guard(f func()) (err error) {
	defer func() {
		switch recovered := recover().(type) {
		case nil:
		case *failed:
			err = recovered.err
		default:
			err = fmt.Errorf("panic: %v\n\n%s", recovered, debug.Stack())
		}
	}()
	f()
	return nil
}

// called says how the scenario was called, with all its parameters, such as "L9, seed 1, p=0.2, rate=200".
func (l *Lab) called() string {
	called := fmt.Sprintf("%s, seed %d", l.result.Name, l.options.Seed)
	for _, p := range l.result.Params {
		called += fmt.Sprintf(", %s=%v", p.Name, l.Param(p.Name))
	}
	return called
}

// Param returns a parameter. References and pictures use it.
func (l *Lab) Param(name string) float64 {
	for _, p := range l.result.Params {
		if p.Name == name {
			if value, ok := l.options.Set[name]; ok {
				return value
			}
			return p.Default
		}
	}
	panic("scenario: no parameter " + name)
}

// In returns a parameter as it is in the worlds: the same, except in tests that change it to see a check fail.
func (l *Lab) In(name string) float64 {
	value := l.Param(name)
	if factor, ok := l.options.mutants[name]; ok {
		value *= factor
	}
	return value
}

// remembered is what has been computed already, for other seeds of the same experiment.
var remembered sync.Map

// remember returns what compute does, which the key and the parameters decide, and not the seed.
func remember[T any](l *Lab, key string, compute func() T) T {
	key = fmt.Sprint(l.result.Name, l.options.Size, l.options.Set, key)
	value, ok := remembered.Load(key)
	if !ok {
		value, _ = remembered.LoadOrStore(key, compute())
	}
	return value.(T)
}

// two is a pair of numbers that come from one computation.
type two struct{ a, b reference.Number }

func pair(a, b reference.Number) two { return two{a, b} }

// failed carries an error of the simulation out of a scenario, which has nothing to do about it, or ends the scenario where
// it is nil.
type failed struct{ err error }

// Pick returns how much of something the run uses, such as seeds or calls: one of the three, by its size.
func Pick[T any](l *Lab, quick, usual, full T) T {
	switch l.options.Size {
	case Quick:
		return quick
	case Full:
		return full
	}
	return usual
}

// quick reports whether the run is a quick one.
func (l *Lab) quick() bool { return l.options.Size == Quick }

// Runs makes a world for each variant and each seed and returns what they show, by variant and seed. Worlds of the
// same seed have the same arrivals and the same luck, whatever the variant. model sets a world up; what it returns is
// called after the end.
func Runs[T any](l *Lab, variants, seeds int, model func(w *sim.World, variant int) func() T) [][]T {
	if most := l.options.seeds; most > 0 {
		seeds = min(seeds, most)
	}
	type job struct{ variant, seed int }
	results := make([][]T, variants)
	records := make([][]sim.Record, variants)
	jobs := make(chan job)
	errs := make(chan error, variants*seeds)
	var workers sync.WaitGroup
	for i := range variants {
		results[i], records[i] = make([]T, seeds), make([]sim.Record, seeds)
	}
	l.progress(0, variants*seeds)
	for range min(runtime.GOMAXPROCS(0), variants*seeds) {
		workers.Go(func() {
			for j := range jobs {
				var show func() T
				record, err := sim.Run(l.options.Seed<<20+uint64(j.seed), func(w *sim.World) { show = model(w, j.variant) })
				var result T
				if err == nil {
					err = guard(func() { result = show() })
				}
				if err != nil {
					errs <- fmt.Errorf("variant %d, run %d: %w", j.variant, j.seed, err)
					continue
				}
				numbers := fnv.New64a()
				fmt.Fprintf(numbers, "%v", result)
				record.Hash ^= numbers.Sum64()
				results[j.variant][j.seed], records[j.variant][j.seed] = result, record
				l.progress(1, 0)
			}
		})
	}
	for seed := range seeds {
		for variant := range variants {
			jobs <- job{variant, seed}
		}
	}
	close(jobs)
	workers.Wait()
	close(errs)
	for err := range errs {
		panic(&failed{err})
	}
	for _, variant := range records {
		for _, record := range variant {
			l.result.Hash = l.result.Hash*1099511628211 ^ record.Hash
			l.result.Worlds++
			l.result.Events += record.Events
		}
	}
	return results
}

func (l *Lab) progress(done, more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += done
	l.total += more
	if l.options.Progress != nil {
		l.options.Progress(l.done, l.total)
	}
}

// Draw adds a figure to the result. Its name is that of the scenario's page, followed by the name it was given.
func (l *Lab) Draw(figure *plot.Figure) {
	figure.Name = strings.TrimSuffix(l.result.Page+"-"+figure.Name, "-")
	l.result.Figures = append(l.result.Figures, figure)
}

// column returns one number of each run.
func column[T any](runs []T, number func(T) float64) []float64 {
	numbers := make([]float64, len(runs))
	for i, run := range runs {
		numbers[i] = number(run)
	}
	return numbers
}

// series returns a line over xs, with one point for each variant from first on: the mean of the runs, and a band from
// the smallest to the largest.
func series[T any](name string, xs []float64, runs [][]T, number func(T) float64) plot.Series {
	s := plot.Series{Name: name, X: xs}
	for _, run := range runs {
		numbers := column(run, number)
		s.Y = append(s.Y, mean(numbers))
		s.Low = append(s.Low, slices.Min(numbers))
		s.High = append(s.High, slices.Max(numbers))
	}
	return s
}

// Column, Line and Theory are what scenarios outside this package make their numbers and pictures with.
func Column[T any](runs []T, number func(T) float64) []float64 { return column(runs, number) }

// Line is a line of means, with a band.
func Line[T any](name string, xs []float64, runs [][]T, number func(T) float64) plot.Series {
	return series(name, xs, runs, number)
}

// Theory is a dashed line.
func Theory(name string, xs []float64, f func(x float64) float64) plot.Series {
	return theoryLine(name, xs, f)
}

// theoryLine returns a dashed line of f over xs.
func theoryLine(name string, xs []float64, f func(x float64) float64) plot.Series {
	s := plot.Series{Name: name, Style: plot.Theory, Colour: plot.Black, X: xs}
	for _, x := range xs {
		s.Y = append(s.Y, f(x))
	}
	return s
}

// theorySteps is theoryLine for what only exists at the xs.
func theorySteps(name string, xs []float64, f func(x float64) float64) plot.Series {
	s := theoryLine(name, xs, f)
	s.Style = plot.TheorySteps
	return s
}

// over returns n+1 numbers from low to high.
func over(low, high float64, n int) []float64 {
	xs := make([]float64, n+1)
	for i := range xs {
		xs[i] = low + (high-low)*float64(i)/float64(n)
	}
	return xs
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// quantile returns the smallest number that a share q of all is not above. It sorts xs.
func quantile(xs []float64, q float64) float64 {
	slices.Sort(xs)
	return xs[min(len(xs)-1, int(q*float64(len(xs))))]
}
