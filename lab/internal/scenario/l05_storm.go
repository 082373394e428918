package scenario

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
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
		"Recovered: the first second after which the goodput averages 90 % of the load over 5 s. Goodput is counted in the second in which the call came.",
	},
	Advice: []string{
		"Bound every queue to less work than the callers' timeout. A queue of 150, half a second of work, has no bad second after the freeze.",
		"Put a breaker in front of a dependency that queues. It stops sending while nothing comes back, and that empties the queue.",
		"Know the hidden capacity: with r retries, a server with capacity C is safe below C / (1 + r). Here that is 150/s. Between that and C the system is healthy until the first trigger.",
		"A budget needs load × (1 + ratio) below the capacity, with room: at 5 % it is 294 of 300, and takes seven minutes to recover.",
	},
	Limits: []string{
		"The time to recover with a budget of 5 % varies widely (400 to 650 s), because the queue drains at 6/s.",
		"Last come, first served recovers too, but starves the requests at the bottom.",
		"A server that only drops requests whose caller has gone recovers, but takes a minute: first come, first served, it always works on the request whose caller is about to leave.",
	},
	Sources: []string{
		"N. Bronson et al., Metastable failures in distributed systems, HotOS 2021. L. Huang et al., Metastable failures in the wild, OSDI 2022.",
		"Fluid model: recovery at 40 s + (B − 300) / (300 − s), for a backlog of B and s sent per second; never if s ≥ 300.",
		"M. Brooker's stability simulator (goodput collapse) and simple_collapse_sim (spike).",
	},
	Params: []Param{
		{"rate", "calls", "per second", 280, 50, 1000, false},
		{"capacity", "of the server", "per second", 300, 50, 1000, false},
		{"timeout", "of an attempt", "s", 1, .1, 5, false},
		{"slowrate", "calls of the slow time, on a server for 100", "per second", 90, 10, 95, false},
		{"queue", "bound of the server's queue, where it has one", "requests", 150, 1, 10_000, true},
	},
	Run: runStorm,
}

type stormy struct {
	goodput, sent, queue []float64 // by second
	recovery             float64   // NaN: never
}

func runStorm(lab *Lab) {
	const frozenFrom, frozenUntil = 30 * time.Second, 40 * time.Second
	rate := lab.In("rate")
	again := func(option retry.Option) policy.Layer {
		return retry.New(retry.Attempts(2), retry.Constant(0), option)
	}
	once := func() []policy.Layer { return []policy.Layer{again(retry.NoBudget())} }
	variants := []struct {
		name    string
		rate    float64
		quick   int // seconds of a quick run; 0: it is left out
		seconds int // otherwise
		layers  func() []policy.Layer
		server  func(*sim.Server)
	}{
		{"no retry", rate, 0, 260, func() []policy.Layer { return nil }, nil},
		{"1 retry", rate, 70, 200, once, nil},
		{"half the calls, 1 retry", rate / 2, 0, 260, once, nil},
		{"1 retry, budget 5 %", rate, 0, 900, func() []policy.Layer { return []policy.Layer{again(retry.WithBudget(retry.NewBudget(.05, 0)))} }, nil},
		{"1 retry, budget 10 %", rate, 0, 240, func() []policy.Layer { return []policy.Layer{again(retry.WithBudget(retry.NewBudget(.1, 0)))} }, nil},
		{"1 retry, queue of " + short(lab.Param("queue")), rate, 60, 120, once, func(s *sim.Server) { s.Queue = int(lab.In("queue")) }},
		{"1 retry, breaker", rate, 60, 120, func() []policy.Layer {
			return append(once(), breaker.New(breaker.FailureRate(.5, 20), breaker.OpenFor(5*time.Second), breaker.Jitter(0)))
		}, nil},
		{"1 retry, last come first served", rate, 60, 120, once, func(s *sim.Server) { s.LastFirst = true }},
		{"1 retry, server drops work of callers who have gone", rate, 0, 240, once, func(s *sim.Server) { s.SkipGone = true }},
	}
	const (
		none, one, slow, five, ten, bounded, gated, lifo, skipping = 0, 1, 2, 3, 4, 5, 6, 7, 8
	)
	model := func(w *sim.World, rate float64, seconds int, layers []policy.Layer, adapt func(*sim.Server)) func() stormy {
		s := stormy{goodput: make([]float64, seconds), sent: make([]float64, seconds), queue: make([]float64, seconds)}
		server := &sim.Server{Service: sim.Fixed(gap(1, lab.In("capacity"))), Slots: 1, Queue: sim.Unbounded, FrozenFrom: frozenFrom, FrozenUntil: frozenUntil}
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
		pipeline := compose(append(layers, timeout.PerAttempt(gap(lab.In("timeout"), 1)))...)
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
	runs := Runs(lab, len(variants), Pick(lab, 1, 1, 20), func(w *sim.World, variant int) func() stormy {
		v := variants[variant]
		return model(w, v.rate, Pick(lab, v.quick, v.seconds, v.seconds), v.layers(), v.server)
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

	byHand := func(v int) reference.StormSetup {
		setup := reference.StormSetup{Rate: lab.Param("rate"), Capacity: lab.Param("capacity"), Timeout: lab.Param("timeout"),
			From: frozenFrom.Seconds(), Until: frozenUntil.Seconds(), Seconds: float64(len(runs[v][0].goodput)), Retry: v != none}
		switch v {
		case slow:
			setup.Rate /= 2
		case five:
			setup.Budget = .05
		case ten:
			setup.Budget = .1
		}
		return setup
	}
	const source = "the same server, by hand"
	for _, v := range runsOf(none, one, slow, five, ten) {
		by := remember(lab, variants[v].name, func() two { return pair(reference.Storm(byHand(v), 20)) })
		back, load := by.a, by.b
		what := "recovery at s, " + variants[v].name
		if math.IsNaN(back.Mean) {
			lab.ExpectThat(what, never(runs[v]), describeRecovery(runs[v]), "never", source+"; fluid")
			lab.ExpectWithin("goodput/s from 60 s on, "+variants[v].name, column(runs[v], between(goodput, 60, math.MaxInt)), 0, 0, "everything served is stale")
		} else {
			lab.Expect(what, column(runs[v], recovered), back, source+"; fluid")
		}
		lab.Expect("sent/s from 60 s on, "+variants[v].name, column(runs[v], between(sent, 60, math.MaxInt)), load, source)
	}
	come := reference.Count(lab.Param("rate") * 15).Times(1. / 15)
	for _, v := range []int{bounded, gated, lifo} {
		from := 45
		if v == gated {
			from = 53 // two open times and a timeout after the freeze
		}
		if len(runs[v][0].goodput) >= from+7 {
			n := float64(min(15, len(runs[v][0].goodput)-from))
			lab.Expect("goodput/s from "+strconv.Itoa(from)+" s on, "+variants[v].name, column(runs[v], between(goodput, from, from+15)), come.Of(n/15), "all that come")
		}
	}
	for _, v := range runsOf(skipping) {
		lab.ExpectThat("recovery, "+variants[v].name, !never(runs[v]), describeRecovery(runs[v]), "yes, but not at once", "it serves those who are about to leave")
	}
	longest := func(s stormy) float64 { return slices.Max(s.queue) }
	lab.ExpectWithin("most that wait, "+variants[bounded].name, column(runs[bounded], longest), lab.Param("queue"), lab.Param("queue"), "the bound")
	for _, v := range []int{bounded, lifo} {
		lab.ExpectWithin("recovery at s, "+variants[v].name, column(runs[v], recovered), 40, 45, "at once")
	}
	lab.ExpectWithin("recovery at s, 1 retry, breaker", column(runs[gated], recovered), 40, 52, "two open times and a timeout")

	hidden := lab.Param("capacity") / 2
	shares := Pick(lab, []float64{1.1}, []float64{.53, .8, 1.1}, []float64{.53, .8, 1.1})
	seconds := Pick(lab, 60, 150, 150)
	sweep := Runs(lab, len(shares), Pick(lab, 1, 1, 3), func(w *sim.World, variant int) func() stormy {
		return model(w, shares[variant]*lab.In("capacity")/2, seconds, once(), nil)
	})
	for i, share := range shares {
		what := "recovery within " + strconv.Itoa(seconds) + " s, 1 retry, " + short(math.Round(share*hidden)) + " calls/s"
		if share > 1 {
			lab.ExpectThat(what, never(sweep[i]), describeRecovery(sweep[i]), "never", "above half the capacity")
		} else if share < .85 {
			lab.ExpectThat(what, !never(sweep[i]), describeRecovery(sweep[i]), "yes", "below half the capacity")
		}
	}

	panel := func(title, label string, values func(stormy) []float64, until int, chosen ...int) plot.Panel {
		p := plot.Panel{Title: title, X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: label, Min: plot.At(0)},
			Shades: []plot.Span{{From: frozenFrom.Seconds(), To: frozenUntil.Seconds(), Kind: "frozen"}}}
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
