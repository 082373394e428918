package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

var order = Scenario{
	Name:     "L9",
	Page:     "composition-order",
	Question: "Retry outside or inside the breaker?",
	Answer:   "Outside, and the retry must ask the breaker before it waits; Compose does both. A breaker around the retry sees p³ instead of p (0.027 at p = 0.3) and lets 91 attempts through before it opens, not 21. A retry that does not ask wastes 150 ms per call against an open circuit.",
	Setup: []string{
		"100 calls a second, Poisson, open loop. An attempt takes Exp(10 ms) and fails with probability p.",
		"On: retry.Attempts(3) with full jitter from 100 ms; breaker.FailureRate(0.2, 20) over a count window of 100, open for 5 s, one probe. Off: budget, jitter of the open time.",
		"Three pipelines: Compose(retry, breaker), which is retry around breaker, and aware; the same order, but blind, where a refusal is just another error that is tried again; and breaker around retry, by policy.At(policy.StageShed, breaker).",
		"Picture over time: p is 0 for 30 s, 0.3 for 45 s, 1 for 45 s, and 0 again. The threshold is 0.5, so that a breaker that sees attempts tolerates p = 0.3.",
	},
	Advice: []string{
		"Use Compose as it is. The order of its arguments does not matter; it puts the retry outside and lets it consult the breaker.",
		"Set the threshold for what the breaker sees. It sees attempts: at p = 0.3 a threshold of 0.2 opens a circuit whose calls would have succeeded 97 times in 100 with three attempts. 0.5 does not.",
		"If a breaker must stand around a retry (somebody else's client that retries inside), lower its threshold to the p³ that it sees, and know that each call that it counts is three attempts, besides those that are still in flight.",
	},
	Limits: []string{
		"Neither order is right by itself: with the threshold below the base error the canonical order loses 97 % of the calls, while breaker around retry loses 3 %. What is compared here is the same breaker in both places.",
		"Failures are independent. In bursts, the two views of the breaker differ less.",
	},
	Sources: []string{
		"Closed forms: the outer breaker sees p³; attempts per call (1 − p³) / (1 − p); a blind retry waits 50 + 100 ms.",
		"Prototype measurements of the same set-up without the library.",
	},
	Run: runOrder,
}

// pipelines are the three ways to compose one retry and one breaker. They return the call's function.
var pipelines = []struct {
	name    string
	compose func(*retry.Retrier, *breaker.Breaker, ...policy.Layer) func(context.Context, func(context.Context) error) error
}{
	{"blind retry (breaker)", func(again *retry.Retrier, circuit *breaker.Breaker, more ...policy.Layer) func(context.Context, func(context.Context) error) error {
		outer, inner := compose(again), compose(append(more, circuit)...)
		return func(ctx context.Context, op func(context.Context) error) error {
			return outer.Run(ctx, func(ctx context.Context) error {
				err := inner.Run(ctx, op)
				if errors.Is(err, policy.ErrRejected) {
					return errors.New(err.Error()) // what a refusal is to a retry that does not know of breakers
				}
				return err
			})
		}
	}},
	{"Compose: retry (breaker)", func(again *retry.Retrier, circuit *breaker.Breaker, more ...policy.Layer) func(context.Context, func(context.Context) error) error {
		return compose(append(more, again, circuit)...).Run
	}},
	{"breaker (retry)", func(again *retry.Retrier, circuit *breaker.Breaker, more ...policy.Layer) func(context.Context, func(context.Context) error) error {
		//resilint:ignore RL9e the scenario shows what this order does
		return compose(append(more, again, policy.At(policy.StageShed, circuit))...).Run
	}},
}

const (
	blind = iota
	aware
	outside
)

type ordered struct {
	attempts, success, rejections, latency float64
	trips                                  float64
	beforeTrip, counted                    float64 // attempts, and failures that the breaker counted, at the first trip
}

// refusals is an observer that counts.
type refusals struct{ n int }

func (r *refusals) Observe(_ context.Context, e policy.Event) {
	if e.Kind == policy.EventRejected {
		r.n++
	}
}

func runOrder(lab *Lab) {
	ps := []float64{.05, .15, .3, .45, .7, 1}
	model := func(w *sim.World, pipeline int, p float64, horizon time.Duration) func() ordered {
		server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond), Fails: func(time.Duration) float64 { return p }}
		result := &ordered{}
		again := retry.New(retry.Attempts(3), retry.Exponential(100*time.Millisecond, 10*time.Second), retry.FullJitter(), retry.NoBudget(), retry.Rand(w.Source("jitter")))
		circuit := breaker.New(breaker.FailureRate(.2, 20), breaker.CountWindow(100), breaker.OpenFor(5*time.Second), breaker.Jitter(0),
			breaker.OnChange(func(c breaker.Change) {
				if c.From == breaker.Closed {
					if result.trips++; result.trips == 1 {
						result.beforeTrip, result.counted = float64(server.Requests), float64(c.Snapshot.CallsFailed)
					}
				}
			}))
		refused := &refusals{}
		call := pipelines[pipeline].compose(again, circuit, resilience.Observe(refused))
		tally := w.Open(sim.Poisson(100), horizon, func(a *sim.Actor) error { return call(a, server.Call) })
		return func() ordered {
			calls := float64(tally.Calls)
			result.attempts, result.success = float64(server.Requests)/calls, tally.Success()
			result.rejections, result.latency = float64(refused.n)/calls, tally.MeanLatency().Seconds()*1000
			return *result
		}
	}
	runs := Runs(lab, len(pipelines)*len(ps), Pick(lab, 3, 1, 20), func(w *sim.World, variant int) func() ordered {
		p := ps[variant%len(ps)]
		horizon := Pick(lab, 30*time.Second, 5*time.Minute, 5*time.Minute)
		if lab.quick() && p != .05 && p != .3 && p != 1 {
			horizon = time.Second // it is only drawn
		}
		return model(w, variant/len(ps), p, horizon)
	})
	// Where the breaker trips for no reason, how often it does varies much from run to run.
	long := Pick(lab, 90*time.Second, 5*time.Minute, 5*time.Minute)
	flapping := Runs(lab, 2, Pick(lab, 5, 10, 60), func(w *sim.World, pipeline int) func() ordered { return model(w, pipeline, .3, long) })
	// The first seconds of an outage, often, since chance decides what is in flight.
	outages := Runs(lab, len(pipelines), Pick(lab, 12, 60, 60), func(w *sim.World, pipeline int) func() ordered { return model(w, pipeline, 1, 4*time.Second) })
	at := func(pipeline int, p float64) []ordered {
		for i := range ps {
			if ps[i] == p {
				return runs[pipeline*len(ps)+i]
			}
		}
		panic("no such p")
	}
	attempts := func(o ordered) float64 { return o.attempts }
	success := func(o ordered) float64 { return 100 * o.success }
	trips := func(o ordered) float64 { return o.trips }
	rejections := func(o ordered) float64 { return o.rejections }
	latency := func(o ordered) float64 { return o.latency }
	const prototype = "prototype of the same set-up"

	for i, pipeline := range pipelines {
		lab.Expect("attempts/call, "+pipeline.name+", p = 0.05", column(at(i, .05), attempts), theory.Attempts(.05, 3), Relative(.03), "(1−p³)/(1−p)")
		lab.ExpectWithin("trips, "+pipeline.name+", p = 0.05", column(at(i, .05), trips), 0, 0, prototype)
	}
	lab.Expect("attempts/call, breaker (retry), p = 0.3", column(at(outside, .3), attempts), theory.Attempts(.3, 3), Relative(.03), "(1−p³)/(1−p)")
	lab.Expect("success %, breaker (retry), p = 0.3", column(at(outside, .3), success), 100*theory.Success(.3, 3), Relative(.03), "1−p³")
	lab.ExpectWithin("trips, breaker (retry), p = 0.3", column(at(outside, .3), trips), 0, 0, "p³ = 0.027 is below 0.2")
	lab.Expect("mean latency ms, breaker (retry), p = 0.3", column(at(outside, .3), latency), 38, Relative(.05), prototype)
	// At p = 0.3 the inner breaker trips for no reason, again and again: after as many attempts as its rule needs, it
	// probes every D + 1/λ + l until a probe succeeds.
	needs := theory.CallsToRate(.3, .2, 20, 100)
	cycle := needs/100 + (5+.01+.01)/(1-.3)
	flaps := long.Seconds() / cycle
	perCall := flaps * (needs + 1.2 + 1/(1-.3)) / (100 * long.Seconds()) // 1.2 are in flight when it trips
	for i := range flapping {
		name := pipelines[i].name + ", p = 0.3"
		lab.Expect("trips, "+name, column(flapping[i], trips), flaps, Absolute(4), "renewal; prototype, one run each: 40 and 43")
		lab.Expect("attempts/call, "+name, column(flapping[i], attempts), perCall, Relative(.12), "renewal; prototype, one run: 0.035")
		lab.Expect("success %, "+name, column(flapping[i], success), 100*.7*perCall, Relative(.12), "renewal; prototype, one run each: 2.44 and 2.40")
	}
	lab.Expect("rejections/call, blind retry, p = 0.3", column(at(blind, .3), rejections), 2.94, Relative(.03), prototype)
	lab.Expect("rejections/call, Compose, p = 0.3", column(at(aware, .3), rejections), .98, Relative(.03), prototype)
	lab.Expect("rejections/call, blind retry, p = 1", column(at(blind, 1), rejections), 3, Relative(.03), "3 attempts, 3 refusals")
	lab.Expect("rejections/call, Compose, p = 1", column(at(aware, 1), rejections), 1, Relative(.03), "one refusal ends the call")
	lab.Expect("rejections/call, breaker (retry), p = 1", column(at(outside, 1), rejections), 1, Relative(.03), "one refusal ends the call")
	lab.Expect("mean latency ms, blind retry, p = 1", column(at(blind, 1), latency), 150, Relative(.03), "50 + 100 ms wasted")
	lab.ExpectWithin("mean latency ms, Compose, p = 1", column(at(aware, 1), latency), 0, 1, prototype)
	counted := func(o ordered) float64 { return o.counted }
	beforeTrip := func(o ordered) float64 { return o.beforeTrip }
	lab.ExpectWithin("calls that must fail before the first trip, Compose, p = 1 (1 attempt each)", column(outages[aware], counted), 20, 20, "the minimum of 20")
	lab.ExpectWithin("calls that must fail before the first trip, breaker (retry), p = 1 (3 attempts each)", column(outages[outside], counted), 20, 20, "the minimum of 20")
	lab.Expect("attempts before the first trip, Compose, p = 1", column(outages[aware], beforeTrip), 21.5, Absolute(2), "20 + about 150/s · 10 ms in flight")
	lab.Expect("attempts before the first trip, breaker (retry), p = 1", column(outages[outside], beforeTrip), 91, Absolute(9), "20·3 + 100/s · (180+120+10) ms in flight")

	panel := func(title, label string, number func(ordered) float64) plot.Panel {
		p := plot.Panel{Title: title, X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: label, Min: plot.At(0)}}
		for i, pipeline := range pipelines {
			line := series(pipeline.name, ps, runs[i*len(ps):(i+1)*len(ps)], number)
			line.Colour = []int{plot.Vermilion, plot.Blue, plot.Green}[i]
			p.Series = append(p.Series, line)
		}
		return p
	}
	sees := plot.Panel{Title: "What the breaker sees (threshold 0.2)", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "failures it counts, %", Min: plot.At(0)},
		Series: []plot.Series{
			{Name: "breaker inside: p", X: over(0, 1, 2), Y: []float64{0, 50, 100}},
			theoryLine("breaker outside: p³", over(0, 1, 50), func(p float64) float64 { return 100 * p * p * p }),
			{Name: "threshold", Colour: plot.Grey, X: []float64{0, 1}, Y: []float64{20, 20}},
		}}
	lab.Draw(&plot.Figure{Name: "sweep", Title: "The same retry and the same breaker, in three orders", Columns: 2, Panels: []plot.Panel{
		panel("Success", "calls that succeed, %", success), panel("Load on the dependency", "attempts per call", attempts),
		panel("Time", "mean latency of a call, ms", latency), sees,
	}})
	flagship(lab)
}
