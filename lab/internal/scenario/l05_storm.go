package scenario

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var storm = Scenario{
	Name:     "L5",
	Page:     "retry-storm",
	Question: "What ends a retry storm?",
	Answer:   "A bounded queue, last come first served, or a breaker. 280 calls/s with one retry on a server for 300/s never recover from a freeze of 10 s; a budget of 10 % does not help, since 308/s is still too much.",
	Setup: []string{
		"One server, one request at a time, 1/300 s each, first come first served, unbounded queue; it works on requests whose caller has gone. 280 calls/s, Poisson, open loop. The server is frozen from t = 30 s to 40 s.",
		"On: timeout.PerAttempt(1 s); one retry at once where it says so. Off: jitter, budget except where named. The breaker: FailureRate(0.5, 20) over 10 s, open for 5 s, no jitter.",
		"Recovered: the first second after which the goodput averages 90 % of the load over 5 s. Goodput is booked at the second in which the call came.",
	},
	Advice: []string{
		"Bound every queue to less work than the callers' timeout. A queue of 150, half a second of work, has no bad second after the freeze.",
		"Put a breaker before a dependency that queues. It stops sending while nothing comes back, and that empties the queue.",
		"Know the hidden capacity: with r retries a server for C is safe below C / (1 + r). Here that is 150/s. Between it and C the system is healthy until the first trigger.",
		"A budget needs load × (1 + ratio) below the capacity, with room: at 5 % it is 294 of 300, and takes seven minutes to recover.",
	},
	Limits: []string{
		"The recovery with a budget of 5 % is widely spread (391 to 604 s in 30 runs): it drains 6/s.",
		"Last come, first served recovers too, but starves whoever is at the bottom.",
		"A server that only drops requests whose caller has gone recovers, but takes a minute: first come first served, it always works on the one that is about to leave.",
	},
	Sources: []string{
		"N. Bronson et al., Metastable failures in distributed systems, HotOS 2021. L. Huang et al., Metastable failures in the wild, OSDI 2022.",
		"Fluid model: recovery at 40 s + (B − 300) / (300 − s), for a backlog of B and s sent per second; never if s ≥ 300.",
		"M. Brooker's stability simulator (goodput collapse) and simple_collapse_sim (spike).",
	},
	Run: runStorm,
}

type stormy struct {
	goodput, sent, queue []float64 // by second
	recovery             float64   // NaN: never
}

func runStorm(lab *Lab) {
	const frozenFrom, frozenUntil = 30 * time.Second, 40 * time.Second
	again := func(option retry.Option) policy.Layer {
		return retry.New(retry.Attempts(2), retry.Constant(0), option)
	}
	once := func() []policy.Layer { return []policy.Layer{again(retry.NoBudget())} }
	variants := []struct {
		name    string
		rate    float64
		quick   int // seconds of a quick run; 0: it is left out
		seconds int // usually; with -full 600, or 900
		layers  func() []policy.Layer
		server  func(*sim.Server)
	}{
		{"no retry", 280, 0, 260, func() []policy.Layer { return nil }, nil},
		{"1 retry", 280, 75, 200, once, nil},
		{"140 calls/s, 1 retry", 140, 0, 260, once, nil},
		{"1 retry, budget 5 %", 280, 0, 720, func() []policy.Layer { return []policy.Layer{again(retry.WithBudget(retry.NewBudget(.05, 0)))} }, nil},
		{"1 retry, budget 10 %", 280, 0, 240, func() []policy.Layer { return []policy.Layer{again(retry.WithBudget(retry.NewBudget(.1, 0)))} }, nil},
		{"1 retry, queue of 150", 280, 60, 120, once, func(s *sim.Server) { s.Queue = 150 }},
		{"1 retry, breaker", 280, 60, 120, func() []policy.Layer {
			return append(once(), breaker.New(breaker.FailureRate(.5, 20), breaker.OpenFor(5*time.Second), breaker.Jitter(0)))
		}, nil},
		{"1 retry, last come first served", 280, 60, 120, once, func(s *sim.Server) { s.LastFirst = true }},
		{"1 retry, server drops work of callers who have gone", 280, 0, 240, once, func(s *sim.Server) { s.SkipGone = true }},
	}
	const (
		none, one, slow, five, ten, bounded, gated, lifo, skipping = 0, 1, 2, 3, 4, 5, 6, 7, 8
	)
	model := func(w *sim.World, rate float64, seconds int, layers []policy.Layer, adapt func(*sim.Server)) func() stormy {
		s := stormy{goodput: make([]float64, seconds), sent: make([]float64, seconds), queue: make([]float64, seconds)}
		server := &sim.Server{Service: sim.Fixed(time.Second / 300), Slots: 1, Queue: sim.Unbounded, FrozenFrom: frozenFrom, FrozenUntil: frozenUntil}
		if adapt != nil {
			adapt(server)
		}
		server.Attempted = func(at time.Duration) {
			if second := int(at / time.Second); second < seconds {
				s.sent[second]++
			}
		}
		w.Every(time.Second, func(at time.Duration) {
			if second := int(at/time.Second) - 1; second < seconds {
				s.queue[second] = float64(server.Waiting())
			}
		})
		pipeline := compose(append(layers, timeout.PerAttempt(time.Second))...)
		tally := w.Open(sim.Poisson(rate), time.Duration(seconds)*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		tally.Ended = func(came, _ time.Duration, err error) {
			if err == nil {
				s.goodput[int(came/time.Second)]++
			}
		}
		return func() stormy {
			s.recovery = recovery(s.goodput, rate)
			return s
		}
	}
	runs := Runs(lab, len(variants), Pick(lab, 1, 2, 20), func(w *sim.World, variant int) func() stormy {
		v := variants[variant]
		seconds := Pick(lab, v.quick, v.seconds, 600)
		if variant == five {
			seconds = Pick(lab, v.quick, v.seconds, 900)
		}
		return model(w, v.rate, seconds, v.layers(), v.server)
	})
	runsOf := func(wanted ...int) []int { // those of them that this run does not leave out
		return slices.DeleteFunc(wanted, func(v int) bool { return len(runs[v][0].goodput) == 0 })
	}
	recovered := func(s stormy) float64 { return s.recovery }
	between := func(values func(stormy) []float64, from, until int) func(stormy) float64 {
		return func(s stormy) float64 { return mean(values(s)[from:min(until, len(values(s)))]) }
	}
	goodput := func(s stormy) []float64 { return s.goodput }
	sent := func(s stormy) []float64 { return s.sent }

	for _, v := range runsOf(none, slow, five) {
		at := map[int]float64{none: 165, slow: 158, five: 478}[v]
		within := map[int]Tolerance{none: Relative(.15), slow: Relative(.15), five: Relative(.25)}[v]
		fluid := map[int]string{none: "40 + 2500/20", slow: "40 + 2360/20", five: "40 + 2626/6"}[v]
		lab.Expect("recovery at s, "+variants[v].name, column(runs[v], recovered), at, within, fluid)
	}
	for _, v := range runsOf(one, ten) {
		lab.ExpectThat("recovery, "+variants[v].name, never(runs[v]), describeRecovery(runs[v]), "never", "s ≥ 300")
		lab.ExpectWithin("goodput/s from 60 s on, "+variants[v].name, column(runs[v], between(goodput, 60, math.MaxInt)), 0, 0, "everything served is stale")
	}
	for _, v := range runsOf(one, ten) {
		load := map[int]float64{one: 560, ten: 308}[v]
		factor := map[int]string{one: "280 · 2", ten: "280 · 1.1"}[v]
		lab.Expect("sent/s in the storm, "+variants[v].name, column(runs[v], between(sent, 60, math.MaxInt)), load, Relative(.02), factor)
	}
	lab.Expect("goodput/s from 45 to 60 s, queue of 150", column(runs[bounded], between(goodput, 45, 60)), 280, Relative(.05), "at once")
	for _, v := range runsOf(skipping) {
		lab.ExpectThat("recovery, "+variants[v].name, !never(runs[v]), describeRecovery(runs[v]), "yes, but not at once", "it serves those who are about to leave")
	}
	for _, v := range []int{bounded, lifo} {
		lab.ExpectWithin("recovery at s, "+variants[v].name, column(runs[v], recovered), 40, 45, "at once")
	}
	lab.ExpectWithin("recovery at s, 1 retry, breaker", column(runs[gated], recovered), 40, 52, "two open times and a timeout")

	rates := Pick(lab, []float64{80, 165}, []float64{80, 120, 165}, []float64{80, 120, 165})
	seconds := Pick(lab, 100, 150, 150)
	sweep := Runs(lab, len(rates), Pick(lab, 1, 1, 3), func(w *sim.World, variant int) func() stormy {
		return model(w, rates[variant], seconds, once(), nil)
	})
	for i, rate := range rates {
		what := "recovery within " + strconv.Itoa(seconds) + " s, 1 retry, " + short(rate) + " calls/s"
		if rate > 150 {
			lab.ExpectThat(what, never(sweep[i]), describeRecovery(sweep[i]), "never", "above 300/2")
		} else if rate < 130 {
			lab.ExpectThat(what, !never(sweep[i]), describeRecovery(sweep[i]), "yes", "below 300/2")
		}
	}

	panel := func(title, label string, values func(stormy) []float64, until int, chosen ...int) plot.Panel {
		p := plot.Panel{Title: title, X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: label, Min: plot.At(0)}}
		for i, v := range runsOf(chosen...) {
			ys := values(runs[v][0])
			ys = ys[:min(until, len(ys))]
			p.Series = append(p.Series, plot.Series{Name: variants[v].name, X: over(0, float64(len(ys)-1), len(ys)-1), Y: ys, Colour: v%8 + 1, Width: 4 - float64(i)/2})
		}
		return p
	}
	queue := func(s stormy) []float64 { return s.queue }
	lab.Draw(&plot.Figure{Title: "The server freezes from 30 s to 40 s. The freeze ends; the storm stays", Columns: 2, Panels: []plot.Panel{
		panel("Goodput: late or never", "successful calls per second", goodput, 240, one, ten, none, slow),
		panel("Goodput: what ends the storm", "successful calls per second", goodput, 110, bounded, gated, lifo, skipping),
		panel("Sent", "attempts per second", sent, 240, none, one, slow, ten, bounded, gated),
		panel("Requests that wait", "requests", queue, 240, none, slow, ten, bounded, gated),
	}})
	collapse(lab)
}

// recovery returns the first second after the freeze from which the goodput averages at least 90 % of rate over 5 s, or
// NaN.
func recovery(goodput []float64, rate float64) float64 {
	for second := 40; second+5 <= len(goodput); second++ {
		if mean(goodput[second:second+5]) >= .9*rate {
			return float64(second)
		}
	}
	return math.NaN()
}

func never(runs []stormy) bool {
	for _, s := range runs {
		if !math.IsNaN(s.recovery) {
			return false
		}
	}
	return true
}

func describeRecovery(runs []stormy) string {
	if never(runs) {
		return "never"
	}
	return "at " + short(mean(column(runs, func(s stormy) float64 { return s.recovery }))) + " s"
}
