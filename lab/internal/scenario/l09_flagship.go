package scenario

import (
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/retry"
)

// The flagship run: a dependency that is healthy, then fails 30 %, then dies, then is well again.
const (
	failingFrom = 30 * time.Second
	deadFrom    = 75 * time.Second
	wellFrom    = 120 * time.Second
	flagshipEnd = 150 * time.Second
)

// lived is what happened in each second, and the states of the breaker.
type lived struct {
	attempts, calls, succeeded, wasted []float64 // wasted: milliseconds of calls that did not succeed
	states                             []plot.Span
}

func flagship(lab *Lab) {
	failing := func(at time.Duration) float64 {
		switch {
		case at < failingFrom || at >= wellFrom:
			return 0
		case at < deadFrom:
			return 0.3
		}
		return 1
	}
	seconds := int(flagshipEnd / time.Second)
	rate := Pick(lab, 50.0, 100, 100)
	runs := Runs(lab, len(pipelines)+1, Pick(lab, 1, 2, 20), func(w *sim.World, variant int) func() lived {
		l := lived{make([]float64, seconds), make([]float64, seconds), make([]float64, seconds), make([]float64, seconds), nil}
		server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond), Fails: failing}
		server.Attempted = func(at time.Duration) { l.attempts[min(seconds-1, int(at/time.Second))]++ }
		state, since := breaker.Closed, 0.0
		colours := map[breaker.State]int{breaker.Closed: plot.Green, breaker.Open: plot.Vermilion, breaker.HalfOpen: plot.Orange}
		enter := func(next breaker.State) {
			now := w.Now().Seconds()
			l.states = append(l.states, plot.Span{From: since, To: now, Kind: state.String(), Colour: colours[state]})
			state, since = next, now
		}
		again := retry.New(retry.Attempts(3), retry.Exponential(100*time.Millisecond, 10*time.Second), retry.FullJitter(), retry.NoBudget(), retry.Rand(w.Source("jitter")))
		// With a window of 100, half of it fails by chance about once in a hundred runs; of 200, never.
		circuit := breaker.New(breaker.FailureRate(.5, 20), breaker.CountWindow(200), breaker.OpenFor(5*time.Second), breaker.Jitter(0),
			breaker.OnChange(func(c breaker.Change) { enter(c.To) }))
		call := compose(again).Run
		if variant != alone {
			call = pipelines[variant].compose(again, circuit)
		}
		tally := w.Open(sim.Poisson(rate), flagshipEnd, func(a *sim.Actor) error { return call(a, server.Call) })
		tally.Ended = func(came, took time.Duration, err error) {
			second := int(came / time.Second)
			l.calls[second]++
			if err == nil {
				l.succeeded[second]++
			} else {
				l.wasted[second] += took.Seconds() * 1000
			}
		}
		return func() lived {
			l.states = append(l.states, plot.Span{From: since, To: flagshipEnd.Seconds(), Kind: state.String(), Colour: colours[state]})
			return l
		}
	})
	sum := func(values []float64, from, until time.Duration) (sum float64) {
		for _, v := range values[int(from/time.Second):int(until/time.Second)] {
			sum += v
		}
		return sum
	}
	success := func(l lived) float64 {
		return 100 * sum(l.succeeded, failingFrom, deadFrom) / sum(l.calls, failingFrom, deadFrom)
	}
	dead := func(l lived) float64 { return sum(l.attempts, deadFrom, wellFrom) }
	wasted := func(l lived) float64 { return sum(l.wasted, deadFrom, wellFrom) / sum(l.calls, deadFrom, wellFrom) }
	calls := rate * (deadFrom - failingFrom).Seconds()
	for i, pipeline := range pipelines {
		lab.Expect("flagship: success % while 30 % fail, "+pipeline.name, column(runs[i], success), reference.Share(theory.Success(.3, 3), calls).Times(100), "1−p³")
	}
	// Both waits of a call: U(0, 100 ms) and U(0, 200 ms), whose deviation is 65 ms. Some calls are on the way as it dies.
	waits := reference.Each(150, 65, rate*(wellFrom-deadFrom).Seconds())
	waits.Error = .4
	lab.Expect("flagship: ms wasted per call while dead, "+pipelines[blind].name, column(runs[blind], wasted), waits, "50 + 100 ms")
	lab.ExpectWithin("flagship: ms wasted per call while dead, "+pipelines[aware].name, column(runs[aware], wasted), 0, 5, "refused at once")
	fewer := mean(column(runs[outside], dead)) / mean(column(runs[aware], dead))
	lab.ExpectWithin("flagship: attempts at the dead dependency, breaker (retry) ÷ Compose", []float64{fewer}, 2, 8, "at least 3 attempts for 1, less those in flight")

	seen := func(l lived) float64 { return sum(l.attempts, deadFrom, wellFrom) }
	three := reference.Count(rate * (wellFrom - deadFrom).Seconds()).Times(3)
	three.Error = 5 // retries across the borders
	lab.Expect("flagship: attempts at the dead dependency, retry alone", column(runs[alone], seen), three, "3 per call")

	x := plot.Axis{Label: "seconds"}
	trouble := []plot.Span{{From: failingFrom.Seconds(), To: deadFrom.Seconds(), Kind: "30 % fail"}, {From: deadFrom.Seconds(), To: wellFrom.Seconds(), Kind: "dead"}}
	load := plot.Panel{Title: "Load on the dependency", X: x, Y: plot.Axis{Label: "attempts per second", Min: plot.At(0)}}
	total := plot.Panel{Title: "Attempts at the dead dependency so far", X: plot.Axis{Label: "seconds", Min: plot.At(75), Max: plot.At(120)}, Y: plot.Axis{Label: "attempts since 75 s", Log: true, Min: plot.At(10)}}
	good := plot.Panel{Title: "Success", X: x, Y: plot.Axis{Label: "calls that succeed, %", Min: plot.At(0)}}
	waste := plot.Panel{Title: "Time wasted by calls that fail", X: x, Y: plot.Axis{Label: "ms per call", Min: plot.At(0)}}
	states := plot.Panel{Title: "State of the breaker", X: x}
	for i, name := range append([]string{"retry alone"}, names()...) {
		variant := []int{alone, blind, aware, outside}[i]
		l := runs[variant][0]
		share, lost, so := make([]float64, seconds), make([]float64, seconds), make([]float64, seconds)
		for j := range seconds {
			share[j], lost[j] = 100*l.succeeded[j]/l.calls[j], l.wasted[j]/l.calls[j]
			so[j] = sum(l.attempts, deadFrom, max(deadFrom, time.Duration(j)*time.Second))
		}
		line := func(ys []float64, style plot.Style) plot.Series {
			return plot.Series{Name: name, Style: style, Colour: []int{plot.Silver, plot.Vermilion, plot.Blue, plot.Green}[i],
				Width: []float64{6, 5, 3.5, 1.5}[i], X: over(0, float64(seconds-1), seconds-1), Y: ys}
		}
		load.Series = append(load.Series, line(l.attempts, plot.Line))
		total.Series = append(total.Series, line(so, plot.Step))
		good.Series = append(good.Series, line(share, plot.Line))
		waste.Series = append(waste.Series, line(lost, plot.Line))
		if variant != alone {
			states.Strips = append(states.Strips, plot.Strip{Name: name, Spans: l.states})
		}
	}
	for _, p := range []*plot.Panel{&load, &good, &waste} {
		p.Shades = trouble
	}
	lab.Draw(&plot.Figure{Title: "One retry, one breaker: 30 % of attempts fail from 30 s on, all from 75 s to 120 s", Columns: 2, Panels: []plot.Panel{load, total, good, waste, states}})
}

// alone is the retry without a breaker, for comparison.
const alone = 3

func names() []string {
	var names []string
	for _, pipeline := range pipelines {
		names = append(names, pipeline.name)
	}
	return names
}
