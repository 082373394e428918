package scenario

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
)

var hedging = Scenario{
	Name:     "L11",
	Page:     "hedging",
	Question: "What does hedging buy?",
	Answer:   "The tail, for a few percent of load, as long as slowness is independent and the server has room: at a fan-out of 100, p99.9 falls from 1,800 to 74 ms for 2 % more requests. Near saturation it makes the tail worse, even within the default budget: more than three times at a utilisation of 0.9.",
	Setup: []string{
		"Every attempt draws its own time, independently. The second attempt starts after a delay if the first has not answered; the first answer wins and the other is cancelled.",
		"Overload: 10 servers, exponential service of 10 ms, one queue. The server works on a cancelled request to its end.",
		"On: hedge.After(delay), hedge.Idempotent(), one extra attempt. Off: its budget, retry. The overloaded server is also hedged within the default budget, and adaptively: after the p95 that the hedge has seen, within the default budget.",
	},
	Advice: []string{
		"Hedge at p95: 5 % more load take p99.9 of a lognormal latency from 220 to 93 ms. p90 gives 84 ms for twice as much extra load; p99 gives 127 ms for a fifth of it.",
		"Keep the budget on (the default is 10 % of calls plus 10 per second): it stops a hedge from doubling the load of a dependency that has become slow for all calls. Without it the queue grows without end. It does not make a hedge safe near saturation: 10 % more load is all the room that a utilisation of 0.9 has.",
		"The larger the fan-out, the more a hedge pays: with 100 leaves of which 1 % are slow, 63 % of all calls wait for a slow one.",
	},
	Limits: []string{
		"A hedge does not cure slowness that two attempts share: a hot key, a full queue, the network.",
		"Only for operations that may run twice.",
		"A server without room: at a utilisation of 0.9 a hedge after 20 ms adds 13 % of load, which is more than the server has left. Without a budget the queue grows without end, and with the default budget p99 is still several times what it is without a hedge.",
	},
	Sources: []string{
		"J. Dean, L. A. Barroso, The Tail at Scale, CACM 2013: 1,800 → 74 ms with 2 % more requests.",
		"Model: survival of the hedged time S(t) · S(t − d); extra load S(d).",
	},
	Params: []Param{
		{"quantile", "of the latency, after which the checked hedge starts", "", .95, .5, .99, false},
		{"sigma", "of the lognormal latency", "", 1, .1, 2, false},
		{"delay", "before the hedge of an overloaded server", "ms", 20, 1, 200, false},
		{"ratio", "budget of that hedge", "of calls", .1, .01, 1, false},
		{"utilisation", "of the overloaded server without hedges, where it has least room", "", .9, .8, .95, false},
		{"fanout", "leaves of a call", "", 100, 1, 1000, true},
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
	exponential, lognormal := theory.ExponentialSurvival(10), theory.LognormalSurvival(10, lab.Param("sigma"))
	logs := sim.Lognormal(10*time.Millisecond, lab.In("sigma"))
	q0 := lab.Param("quantile")
	percentile := "p" + short(100*q0)
	variants := []struct {
		name    string
		service sim.Distribution
		model   theory.Survival
		hedgeAt float64 // a quantile; 0: no hedge
	}{
		{"exponential, plain", sim.Exponential(10 * time.Millisecond), exponential, 0},
		{"exponential, hedged at " + percentile, sim.Exponential(10 * time.Millisecond), exponential, q0},
		{"lognormal, plain", logs, lognormal, 0},
		{"lognormal, hedged at p50", logs, lognormal, .5},
		{"lognormal, hedged at p75", logs, lognormal, .75},
		{"lognormal, hedged at p90", logs, lognormal, .9},
		{"lognormal, hedged at " + percentile, logs, lognormal, q0},
		{"lognormal, hedged at p99", logs, lognormal, .99},
	}
	calls := Pick(lab, 1500, 17_000, 100_000)
	runs := Runs(lab, len(variants), Pick(lab, 3, 4, 10), func(w *sim.World, variant int) func() hedged {
		v := variants[variant]
		if v.hedgeAt == 0 {
			return times(w, calls, v.service)
		}
		return times(w, calls, v.service, at(v.model.Quantile(1-(1-v.hedgeAt)*lab.In("quantile")/q0)))
	})
	tradeoff := plot.Series{Name: "measured", Style: plot.Points}
	for i, v := range variants {
		expected := v.model
		if v.hedgeAt > 0 {
			expected = v.model.Hedged(v.model.Quantile(v.hedgeAt))
			lab.Expect("extra load, "+v.name, column(runs[i], func(h hedged) float64 { return h.load }), reference.Share(1-v.hedgeAt, float64(calls)), "S(d)")
		}
		for _, q := range []float64{.99, .999} {
			lab.Expect("p"+short(100*q)+" in ms, "+v.name, column(runs[i], quantileOf(q)), quantileNumber(expected, q, float64(calls)), "S(t) S(t−d)")
		}
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
		p.Series = append(p.Series, theoryLine("S(t)", ts, model), theoryLine("S(t) S(t − d)", ts, model.Hedged(model.Quantile(q0))))
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

// quantileNumber is a quantile of n measured times: it scatters as the share above it does, by the density there. With few
// times above it, the quantile of what was measured lies a little below the true one.
func quantileNumber(s theory.Survival, q, n float64) reference.Number {
	t := s.Quantile(q)
	density := (s(t*.999) - s(t*1.001)) / (.002 * t)
	deviation := math.Sqrt(q*(1-q)/n) / density
	return reference.Number{Mean: t, Deviation: deviation, Error: deviation / math.Sqrt((1-q)*n) / Sigmas}
}

// tailAtScale is a fan-out of 100: a call ends when all leaves have answered. Its p99.9 is decided by one leaf in
// 100,000. Leaves that answer soon cannot be among them, so only a share of the leaves is run, the slowest ones.
func tailAtScale(lab *Lab) {
	const slow, delay = .02, 10 // that share of the leaves takes longer than the delay
	leaf := theory.MeasuredSurvival(1, theory.Point{Time: delay, Survival: slow}, theory.Point{Time: 70, Survival: .00316}, theory.Point{Time: 1800, Survival: 1e-5})
	// A call is among the slowest thousandth when one of its leaves is among this share of all.
	slowest := func(fanOut float64) float64 { return -math.Expm1(math.Log1p(-.001) / fanOut) }
	fanOut, real := lab.Param("fanout"), slowest(lab.In("fanout"))
	tail := slowest(fanOut)
	variants := []struct {
		name, source string
		layers       func() []policy.Layer
		answers      theory.Survival
		share        float64 // of the leaves that are run
	}{
		{"plain", "theory; The Tail at Scale: 1,800", func() []policy.Layer { return nil }, leaf, min(slow, 40*tail)},
		{"hedged after 10 ms", "theory; The Tail at Scale: 74", func() []policy.Layer { return []policy.Layer{at(delay)} }, leaf.Hedged(delay), min(slow, 2*leaf(leaf.Hedged(delay).Quantile(1-tail)))},
	}
	calls := Pick(lab, 3000, 12_000, 100_000)
	runs := Runs(lab, len(variants), Pick(lab, 2, 5, 10), func(w *sim.World, variant int) func() hedged {
		v := variants[variant]
		pipeline := compose(v.layers()...)
		var h hedged
		attempts := 0
		tally := w.Open(sim.Regular(10), time.Duration(calls)*100*time.Millisecond, func(call *sim.Actor) error {
			return pipeline.Run(call, sim.Operation(func(a *sim.Actor) error {
				attempts++
				luck := a.Rand("leaf").Float64()
				if hedge.Attempt(a) == 1 {
					luck *= v.share
				}
				return a.Sleep(time.Duration(leaf.Quantile(1-luck) * float64(time.Millisecond)))
			}))
		})
		tally.Ended = func(_, took time.Duration, _ error) { h.times = append(h.times, took.Seconds()*1000) }
		return func() hedged {
			h.load = (float64(attempts)/float64(tally.Calls) - 1) * slow
			return h
		}
	})
	what := "fan-out of " + short(fanOut) + ": "
	for i, v := range variants {
		among := func(t float64) float64 { return v.answers(t) / v.share } // of the leaves that are run
		lab.Expect(what+"p99.9 in ms, "+v.name, column(runs[i], quantileOf(1-real/v.share)), quantileNumber(among, 1-tail/v.share, float64(calls)), v.source)
	}
	lab.ExpectWithin(what+"extra load %, hedged after 10 ms", column(runs[1], func(h hedged) float64 { return 100 * h.load }), 100*slow-1e-9, 100*slow+1e-9, "The Tail at Scale: 2 %")
}

// overload sends hedges to a server that has less and less room.
func overload(lab *Lab) {
	const slots = 10
	utilisations := []float64{.2, .4, .6, .75, lab.Param("utilisation")}
	delay, real := lab.Param("delay"), hedge.After(gap(lab.In("delay")/1000, 1))
	policies := []struct {
		name   string
		layers func() []policy.Layer
	}{
		{"no hedge", func() []policy.Layer { return nil }},
		{"hedged, no budget", func() []policy.Layer { return []policy.Layer{at(lab.In("delay"))} }},
		{"hedged, default budget", func() []policy.Layer {
			return []policy.Layer{hedge.New(real, hedge.Idempotent(), hedge.Limit(lab.In("ratio"), 10), hedge.MaxRunning(100_000))}
		}},
		{"adaptive: after p95, default budget", func() []policy.Layer {
			return []policy.Layer{hedge.New(hedge.Quantile(.95), hedge.Idempotent(), hedge.Limit(lab.In("ratio"), 10), hedge.MaxRunning(100_000))}
		}},
	}
	const plain, free, budgeted, adaptive = 0, 1, 2, 3
	seconds := Pick(lab, 5.0, 15, 15)
	last := len(utilisations) - 1
	runs := Runs(lab, len(policies)*len(utilisations), Pick(lab, 1, 3, 10), func(w *sim.World, variant int) func() hedged {
		rho := utilisations[variant%len(utilisations)]
		seconds := seconds
		if rho != utilisations[0] && rho != utilisations[last] {
			seconds = Pick(lab, 1.0, 8, 15) // it is only drawn
		}
		if rho == utilisations[last] {
			rho = lab.In("utilisation")
		}
		server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond), Slots: slots, Queue: sim.Unbounded}
		pipeline := compose(policies[variant/len(utilisations)].layers()...)
		var h hedged
		tally := w.Open(sim.Poisson(rho*slots*100), gap(seconds, 1), func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		tally.Ended = func(came, took time.Duration, _ error) {
			if came > gap(seconds/20, 1) {
				h.times = append(h.times, took.Seconds()*1000)
			}
		}
		return func() hedged {
			h.load = float64(server.Requests) / float64(tally.Calls)
			return h
		}
	})
	of := func(policy, i int) []hedged { return runs[policy*len(utilisations)+i] }
	for _, i := range []int{0, last} {
		for _, policy := range []int{plain, free, budgeted} {
			setup := reference.HedgeSetup{Servers: slots, Rate: utilisations[i] * slots * 100, Seconds: seconds}
			switch policy {
			case free:
				setup.Delay = delay / 1000
			case budgeted:
				setup.Delay, setup.Ratio, setup.PerSecond = delay/1000, lab.Param("ratio"), 10
			}
			what := policies[policy].name + ", utilisation " + short(utilisations[i])
			by := remember(lab, what, func() two { return pair(reference.Hedged(setup, 24)) })
			p99, load := by.a, by.b
			if policy == budgeted && i == last {
				load.Error = math.Hypot(load.Error, .0005*15/seconds) // all of the budget is spent: seven tokens at the end decide
			}
			lab.Expect("overload: p99 in ms, "+what, column(of(policy, i), quantileOf(.99)), p99, "the same server, by hand")
			lab.Expect("overload: attempts per call, "+what, column(of(policy, i), func(h hedged) float64 { return h.load }), load, "the same server, by hand")
		}
	}
	worse := func(policy int) float64 {
		return mean(column(of(policy, last), quantileOf(.99))) / mean(column(of(plain, last), quantileOf(.99)))
	}
	if delay == 20 && lab.Param("ratio") == .1 && utilisations[last] == .9 && !lab.quick() {
		lab.ExpectWithin("overload: p99 hedged ÷ plain, default budget, utilisation 0.9", []float64{worse(budgeted)}, 1.5, 12, "hedging hurts")
		lab.ExpectWithin("overload: p99 hedged ÷ plain, adaptive, utilisation 0.9", []float64{worse(adaptive)}, 1, 12, "hedging hurts")
	}
	p := plot.Panel{Title: "10 servers, exponential service of 10 ms, hedged after " + short(delay) + " ms", X: plot.Axis{Label: "utilisation without hedges"}, Y: plot.Axis{Label: "p99, ms", Log: true}}
	sent := plot.Panel{Title: "What it costs", X: p.X, Y: plot.Axis{Label: "attempts per call", Min: plot.At(.95)}}
	for i, policy := range policies {
		part := runs[i*len(utilisations) : (i+1)*len(utilisations)]
		p.Series = append(p.Series, series(policy.name, utilisations, part, quantileOf(.99)))
		sent.Series = append(sent.Series, series(policy.name, utilisations, part, func(h hedged) float64 { return h.load }))
	}
	lab.Draw(&plot.Figure{Name: "overload", Title: "Hedging a server without room makes the tail worse, even within the default budget", Columns: 2, Panels: []plot.Panel{p, sent}})
}
