package scenario

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
)

var hedging = Scenario{
	Name:     "L11",
	Page:     "hedging",
	Question: "What does hedging buy?",
	Answer:   "The tail, for a few percent of load, as long as slowness is independent and the server has room: at a fan-out of 100, p99.9 falls from 1,800 to 74 ms for 2 % more requests. Near saturation it makes the tail worse.",
	Setup: []string{
		"Every attempt draws its own time, independently. The second attempt starts after a delay if the first has not answered; the first answer wins and the other is cancelled.",
		"Overload: 10 servers, exponential service of 10 ms, one queue. The server works on a cancelled request to its end.",
		"On: hedge.After(delay), hedge.Idempotent(), one extra attempt. Off: its budget, retry.",
	},
	Advice: []string{
		"Hedge at p95: 5 % more load take p99.9 of a lognormal latency from 220 to 93 ms. p90 gives 84 ms for twice the load; p99 gives 127 ms for a fifth of it.",
		"Keep the budget on (the default is 10 % of calls plus 10 per second). It is what stops a hedge from doubling the load of a dependency that has become slow for everybody.",
		"The larger the fan-out, the more it pays: with 100 leaves of which 1 % are slow, 63 % of all calls wait for a slow one.",
	},
	Limits: []string{
		"Slowness that two attempts share (a hot key, a full queue, the network) is not cured.",
		"Only for operations that may run twice.",
		"A server without room: at a utilisation of 0.9 a hedge after 20 ms adds 13 % of load, which is more than there is. The queue then grows without end.",
	},
	Sources: []string{
		"J. Dean, L. A. Barroso, The Tail at Scale, CACM 2013: 1,800 → 74 ms with 2 % more requests.",
		"Model: survival of the hedged time S(t) · S(t − d); extra load S(d).",
	},
	Run: runHedging,
}

type hedged struct {
	times []float64 // in ms, sorted after the first quantile was asked for
	load  float64   // extra attempts per call
}

// times runs calls one after the other, at most one at a time being enough as they know nothing of each other, and
// returns how long they took.
func times(w *sim.World, calls int, service sim.Distribution, layers ...policy.Layer) func() hedged {
	server := &sim.Server{Service: service}
	pipeline := compose(layers...)
	var h hedged
	tally := w.Open(sim.Regular(10), time.Duration(calls)*100*time.Millisecond, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
	tally.Ended = func(_, took time.Duration, _ error) { h.times = append(h.times, took.Seconds()*1000) }
	return func() hedged {
		h.load = float64(server.Requests)/float64(tally.Calls) - 1
		return h
	}
}

func at(delay float64) policy.Layer {
	return hedge.New(hedge.After(time.Duration(delay*float64(time.Millisecond))), hedge.Idempotent(), hedge.Limit(10, 1e9), hedge.MaxRunning(100_000))
}

func quantileOf(q float64) func(hedged) float64 {
	return func(h hedged) float64 { return quantile(h.times, q) }
}

func runHedging(lab *Lab) {
	shapes(lab)
	tailAtScale(lab)
	overload(lab)
}

func shapes(lab *Lab) {
	exponential, lognormal := theory.ExponentialSurvival(10), theory.LognormalSurvival(10, 1)
	variants := []struct {
		name    string
		service sim.Distribution
		model   theory.Survival
		hedgeAt float64 // a quantile; 0: no hedge
	}{
		{"exponential, plain", sim.Exponential(10 * time.Millisecond), exponential, 0},
		{"exponential, hedged at p95", sim.Exponential(10 * time.Millisecond), exponential, .95},
		{"lognormal, plain", sim.Lognormal(10*time.Millisecond, 1), lognormal, 0},
		{"lognormal, hedged at p50", sim.Lognormal(10*time.Millisecond, 1), lognormal, .5},
		{"lognormal, hedged at p75", sim.Lognormal(10*time.Millisecond, 1), lognormal, .75},
		{"lognormal, hedged at p90", sim.Lognormal(10*time.Millisecond, 1), lognormal, .9},
		{"lognormal, hedged at p95", sim.Lognormal(10*time.Millisecond, 1), lognormal, .95},
		{"lognormal, hedged at p99", sim.Lognormal(10*time.Millisecond, 1), lognormal, .99},
	}
	calls := Pick(lab, 1500, 12_000, 200_000)
	runs := Runs(lab, len(variants), Pick(lab, 8, 4, 10), func(w *sim.World, variant int) func() hedged {
		v := variants[variant]
		if v.hedgeAt == 0 {
			return times(w, calls, v.service)
		}
		return times(w, calls, v.service, at(v.model.Quantile(v.hedgeAt)))
	})
	tradeoff := plot.Series{Name: "measured", Style: plot.Points}
	for i, v := range variants {
		expected := v.model
		if v.hedgeAt > 0 {
			expected = v.model.Hedged(v.model.Quantile(v.hedgeAt))
			lab.Expect("extra load, "+v.name, column(runs[i], func(h hedged) float64 { return h.load }), 1-v.hedgeAt, Relative(.05), "S(d)")
		}
		lab.Expect("p99 in ms, "+v.name, column(runs[i], quantileOf(.99)), expected.Quantile(.99), Relative(.03), "S(t) S(t−d)")
		lab.Expect("p99.9 in ms, "+v.name, column(runs[i], quantileOf(.999)), expected.Quantile(.999), Relative(.08), "S(t) S(t−d)")
		if i >= 2 {
			tradeoff.X, tradeoff.Y = append(tradeoff.X, 100*mean(column(runs[i], func(h hedged) float64 { return h.load }))), append(tradeoff.Y, mean(column(runs[i], quantileOf(.999))))
		}
	}
	survival := func(title string, model theory.Survival, plain, hedge int) plot.Panel {
		p := plot.Panel{Title: title, X: plot.Axis{Label: "ms", Min: plot.At(0)}, Y: plot.Axis{Label: "share of calls that take longer", Log: true, Min: plot.At(5e-4), Max: plot.At(1)}}
		for _, i := range []int{plain, hedge} {
			s := plot.Series{Name: variants[i].name, Colour: map[bool]int{true: plot.Blue, false: plot.Vermilion}[i == plain]}
			for q := 0.0; q <= .99951; q = 1 - (1-q)*.85 {
				s.X, s.Y = append(s.X, quantile(runs[i][0].times, q)), append(s.Y, 1-q)
			}
			p.Series = append(p.Series, s)
		}
		ts := over(.1, model.Quantile(.9995), 80)
		p.Series = append(p.Series, theoryLine("S(t)", ts, model), theoryLine("S(t) S(t − d)", ts, model.Hedged(model.Quantile(.95))))
		return p
	}
	curve := plot.Series{Name: "S(t) S(t − d)", Style: plot.Theory, Colour: plot.Black}
	for _, q := range over(.5, .995, 60) {
		curve.X, curve.Y = append(curve.X, 100*(1-q)), append(curve.Y, lognormal.Hedged(lognormal.Quantile(q)).Quantile(.999))
	}
	lab.Draw(&plot.Figure{Name: "tail", Title: "A few percent of load buy the tail", Columns: 2, Panels: []plot.Panel{
		survival("Exponential latency, mean 10 ms", exponential, 0, 1), survival("Lognormal latency, median 10 ms", lognormal, 2, 6),
		{Title: "Lognormal: what a hedge costs and gives", X: plot.Axis{Label: "extra load, %", Min: plot.At(0)}, Y: plot.Axis{Label: "p99.9, ms", Min: plot.At(0)}, Series: []plot.Series{tradeoff, curve}},
	}})
}

// tailAtScale is a fan-out of 100: a call ends when all leaves have answered. Its p99.9 is decided by one leaf in
// 100,000. Leaves that answer within 10 ms cannot be among them, so only the slow 2 % are run, and each counts for 50.
func tailAtScale(lab *Lab) {
	const fanOut, slow = 100, .02
	leaf := theory.MeasuredSurvival(1, theory.Point{Time: 10, Survival: slow}, theory.Point{Time: 70, Survival: .00316}, theory.Point{Time: 1800, Survival: 1e-5})
	inverse := func(s float64) time.Duration { return time.Duration(leaf.Quantile(1-s) * float64(time.Millisecond)) }
	calls := Pick(lab, 3000, 15_000, 200_000)
	run := func(w *sim.World, layers ...policy.Layer) func() hedged {
		pipeline := compose(layers...)
		var h hedged
		attempts := 0
		tally := w.Open(sim.Regular(10), time.Duration(calls)*100*time.Millisecond, func(call *sim.Actor) error {
			return pipeline.Run(call, sim.Operation(func(a *sim.Actor) error {
				attempts++
				luck := a.Rand("leaf").Float64()
				if hedge.Attempt(a) == 1 {
					luck *= slow
				}
				return a.Sleep(inverse(luck))
			}))
		})
		tally.Ended = func(_, took time.Duration, _ error) { h.times = append(h.times, took.Seconds()*1000) }
		return func() hedged {
			h.load = (float64(attempts)/float64(tally.Calls) - 1) * slow
			return h
		}
	}
	runs := Runs(lab, 2, Pick(lab, 5, 5, 10), func(w *sim.World, variant int) func() hedged {
		if variant == 0 {
			return run(w)
		}
		return run(w, at(10))
	})
	// A call is among the slowest thousandth when one of its leaves is beyond this share of the slow ones.
	beyond := -math.Expm1(math.Log1p(-.001)/fanOut) / slow
	lab.Expect("fan-out of 100: p99.9 in ms, plain", column(runs[0], quantileOf(1-beyond)), leaf.Longest(fanOut).Quantile(.999), Relative(.08), "The Tail at Scale: 1,800")
	lab.Expect("fan-out of 100: p99.9 in ms, hedged after 10 ms", column(runs[1], quantileOf(1-beyond)), leaf.Hedged(10).Longest(fanOut).Quantile(.999), Relative(.08), "The Tail at Scale: 74")
	lab.Expect("fan-out of 100: extra load %, hedged after 10 ms", column(runs[1], func(h hedged) float64 { return 100 * h.load }), 2, Relative(.05), "The Tail at Scale: 2 %")
}

// overload sends hedges to a server that has less and less room.
func overload(lab *Lab) {
	const slots = 10
	utilisations := []float64{.2, .4, .6, .75, .9}
	runs := Runs(lab, 2*len(utilisations), Pick(lab, 1, 2, 5), func(w *sim.World, variant int) func() hedged {
		rho := utilisations[variant%len(utilisations)]
		seconds := Pick(lab, 8.0, 15, 200)
		if lab.quick() && rho != .2 && rho != .9 {
			seconds = 1 // it is only drawn
		}
		server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond), Slots: slots, Queue: sim.Unbounded}
		var layers []policy.Layer
		if variant >= len(utilisations) {
			layers = append(layers, at(20))
		}
		pipeline := compose(layers...)
		var h hedged
		tally := w.Open(sim.Poisson(rho*slots*100), gap(seconds, 1), func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		tally.Ended = func(came, took time.Duration, _ error) {
			if came > gap(seconds/20, 1) {
				h.times = append(h.times, took.Seconds()*1000)
			}
		}
		return func() hedged {
			h.load = float64(server.Requests)/float64(tally.Calls) - 1
			return h
		}
	})
	plain := func(i int) float64 { return mean(column(runs[i], quantileOf(.99))) }
	with := func(i int) float64 { return mean(column(runs[i+len(utilisations)], quantileOf(.99))) }
	lab.ExpectWithin("overload: p99 hedged ÷ plain, utilisation 0.2", []float64{with(0) / plain(0)}, 0, .85, "hedging helps")
	last := len(utilisations) - 1
	lab.ExpectWithin("overload: p99 hedged ÷ plain, utilisation 0.9", []float64{with(last) / plain(last)}, 1.2, math.Inf(1), "hedging hurts")
	p := plot.Panel{Title: "10 servers, exponential service of 10 ms, hedged after 20 ms", X: plot.Axis{Label: "utilisation without hedges"}, Y: plot.Axis{Label: "p99, ms", Log: true},
		Series: []plot.Series{
			series("plain", utilisations, runs[:len(utilisations)], quantileOf(.99)),
			series("hedged", utilisations, runs[len(utilisations):], quantileOf(.99)),
		}}
	lab.Draw(&plot.Figure{Name: "overload", Title: "Hedging a server without room makes the tail worse", Panels: []plot.Panel{p}})
}
