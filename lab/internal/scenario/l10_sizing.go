package scenario

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

var sizing = Scenario{
	Name:     "L10",
	Page:     "bulkhead-size",
	Question: "How big a bulkhead?",
	Answer:   "It is a queue with c servers: take the size from Erlang's formulas, not from a feeling. And bound how long a call can hold a slot: when 5 % of the calls hang, 80 % of the healthy ones are refused.",
	Setup: []string{
		"Size: exponential service with mean S = 1 s, c slots, a Erlang offered (arrival rate times S). The first 5 % of the time, at least 20 s, is not counted.",
		"With bulkhead.Queue, long and patient, it is M/M/c; without, M/G/c/c, with exponential, fixed and lognormal service.",
		"Hanging calls: 1,000 slots, no queue, 1,000 calls/s, in a world of a quarter of the size. 95 % hold a slot for 100 ms, 5 % for 100 s. Remedies: timeout.PerAttempt(1 s); a bulkhead of 250 for the kind that hangs, inside the shared one.",
		"On: the bulkhead. Off: everything else.",
	},
	Advice: []string{
		"Start from Little's law: slots in use = calls per second × seconds per call. At 80/s and 100 ms that is 8. With exactly 10 slots 12 % of the calls are refused; with 14, 2 %.",
		"A short queue replaces slots: 10 slots with a queue lose nothing at that load, and 41 % of the calls wait: 20 ms on average over all calls, 50 ms over those that wait.",
		"Always combine a bulkhead with a timeout, or one call in twenty that hangs takes the service down: 1 s brings the refusals of healthy calls from 80 % to 0.",
		"Where one kind of call can hang, cap it at a quarter of the slots.",
	},
	Limits: []string{
		"Poisson arrivals. Bursts need more slots than Erlang says.",
		"Refused calls are lost here. If callers retry them at once, the offered load is higher than it seems.",
	},
	Sources: []string{
		"Erlang B and C, computed; Wq = C(c, a) · S / (c − a).",
		"Google, Site Reliability Engineering, chapter 22: 1000/5095 are handled, 80.4 % fail.",
	},
	Params: []Param{
		{"load", "offered to 10 slots", "Erlang", 8, 1, 9, false},
		{"hang", "calls that hang", "of all", .05, .001, .5, false},
		{"hold", "how long they do", "s", 100, 1, 200, false},
		{"timeout", "that ends them", "s", 1, .2, 20, false},
	},
	Run: runSizing,
}

func runSizing(lab *Lab) {
	queued(lab)
	lost(lab)
	hanging(lab)
}

type waited struct{ share, wait, refused float64 }

// offered runs calls against a bulkhead and measures the share that waited, the mean wait and the share refused.
func offered(w *sim.World, calls, load float64, service sim.Distribution, limit int, options ...bulkhead.Option) func() waited {
	pipeline := compose(bulkhead.New(limit, options...))
	server := &sim.Server{Service: service}
	horizon := time.Duration(calls / load * float64(time.Second))
	warm := max(horizon/20, 20*time.Second)
	var arrived, admitted, waits, wait float64
	w.Open(sim.Poisson(load), horizon, func(a *sim.Actor) error {
		came := a.Now()
		if came < warm {
			return pipeline.Run(a, server.Call)
		}
		arrived++
		return pipeline.Run(a, sim.Operation(func(a *sim.Actor) error {
			admitted++
			if d := a.Now() - came; d > 0 {
				waits++
				wait += d.Seconds()
			}
			return server.Serve(a)
		}))
	})
	return func() waited { return waited{waits / admitted, wait / admitted, 1 - admitted/arrived} }
}

var patient = bulkhead.Queue(1_000_000, 1000*time.Hour)

func queued(lab *Lab) {
	type point struct {
		c     int
		a     float64
		calls float64
	}
	load, real := lab.Param("load"), lab.In("load")/lab.Param("load")
	points := []point{{1, load / 10, 25_000}, {2, load / 5, 30_000}, {10, load, 80_000}}
	for _, c := range []int{9, 11, 12, 14, 16} {
		points = append(points, point{c, load, Pick(lab, 300.0, 4000, 100_000)}) // only drawn
	}
	size := Pick(lab, .15, 1, 3)
	runs := Runs(lab, len(points), Pick(lab, 4, 5, 10), func(w *sim.World, variant int) func() waited {
		point := points[variant]
		return offered(w, point.calls*size, point.a*real, sim.Exponential(time.Second), point.c, patient)
	})
	share := func(o waited) float64 { return o.share }
	wait := func(o waited) float64 { return o.wait }
	for i, point := range points[:3] {
		what := short(float64(point.c)) + " slots, " + short(point.a) + " Erlang"
		horizon := point.calls * size / point.a
		// The waits of neighbours are alike: how much a run scatters, only a second simulation can tell.
		by := remember(lab, what, func() two {
			return pair(reference.Queue(point.c, point.a, horizon, max(horizon/20, 20), false, Pick(lab, 30, 100, 100)))
		})
		shares, waits := by.a, by.b
		lab.Expect("P(wait), "+what, column(runs[i], share), reference.Number{Mean: theory.ErlangC(point.c, point.a), Deviation: shares.Deviation}, "Erlang C")
		lab.Expect("mean wait in s, "+what, column(runs[i], wait), reference.Number{Mean: theory.MeanWait(point.c, point.a), Deviation: waits.Deviation}, "C·S/(c−a)")
	}
	shares, waits := plot.Series{Name: "measured", Style: plot.Points}, plot.Series{Name: "measured", Style: plot.Points}
	for i, point := range points[2:] {
		shares.X, shares.Y = append(shares.X, float64(point.c)), append(shares.Y, mean(column(runs[i+2], share)))
		waits.X, waits.Y = append(waits.X, float64(point.c)), append(waits.Y, mean(column(runs[i+2], wait)))
	}
	x := plot.Axis{Label: "slots, for a load of " + short(load) + " Erlang"}
	cs := over(slices.Min(shares.X), slices.Max(shares.X), int(slices.Max(shares.X)-slices.Min(shares.X)))
	lab.Draw(&plot.Figure{Name: "queue", Title: "A bulkhead with a queue is M/M/c", Columns: 2, Panels: []plot.Panel{
		{Title: "Calls that wait", X: x, Y: plot.Axis{Label: "share", Min: plot.At(0)}, Series: []plot.Series{shares, theorySteps("Erlang C", cs, func(c float64) float64 { return theory.ErlangC(int(c+.5), load) })}},
		{Title: "Mean wait, of all calls", X: x, Y: plot.Axis{Label: "in service times", Log: true}, Series: []plot.Series{waits, theorySteps("C·S/(c − a)", cs, func(c float64) float64 { return theory.MeanWait(int(c+.5), load) })}},
	}})
}

func lost(lab *Lab) {
	services := []struct {
		name   string
		of     sim.Distribution
		byHand func(*rand.Rand) float64
	}{
		{"exponential", sim.Exponential(time.Second), func(r *rand.Rand) float64 { return r.ExpFloat64() }},
		{"fixed", sim.Fixed(time.Second), func(*rand.Rand) float64 { return 1 }},
		{"lognormal", sim.Lognormal(gap(math.Exp(-.5), 1), 1), func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64() - .5) }},
	}
	load, real := lab.Param("load"), lab.In("load")/lab.Param("load")
	points := []struct {
		c int
		a float64
	}{{10, load}, {20, 2 * load}, {4, load}, {6, load}, {8, load}, {12, load}, {14, load}}
	const checked = 2
	callsOf := func(i int) float64 {
		switch i {
		case 0:
			return Pick(lab, 2500.0, 12_000, 100_000)
		case 1: // fewer are refused
			return Pick(lab, 2500.0, 20_000, 100_000)
		}
		return Pick(lab, 200.0, 3000, 100_000) // only drawn
	}
	runs := Runs(lab, len(services)*len(points), Pick(lab, 2, 4, 10), func(w *sim.World, variant int) func() waited {
		point := points[variant%len(points)]
		return offered(w, callsOf(variant%len(points)), point.a*real, services[variant/len(points)].of, point.c)
	})
	refused := func(o waited) float64 { return o.refused }
	p := plot.Panel{Title: "Refused without a queue, at " + short(load) + " Erlang", X: plot.Axis{Label: "slots"}, Y: plot.Axis{Label: "share of calls refused", Min: plot.At(0)}}
	for s, service := range services {
		line := plot.Series{Name: service.name + " service", Style: plot.Points}
		for i, point := range points {
			at := runs[s*len(points)+i]
			if i < checked {
				horizon := callsOf(i) / point.a
				warm := max(horizon/20, 20)
				byHand := remember(lab, "lost"+service.name+short(float64(point.c)), func() reference.Number {
					return reference.Lost(point.c, point.a, warm, horizon-warm, service.byHand, Pick(lab, 30, 100, 100))
				})
				lab.Expect("refused, "+short(float64(point.c))+" slots, "+short(point.a)+" Erlang, "+service.name, column(at, refused), reference.Number{Mean: theory.ErlangB(point.c, point.a), Deviation: byHand.Deviation}, "Erlang B")
			}
			if point.a == load {
				line.X, line.Y = append(line.X, float64(point.c)), append(line.Y, mean(column(at, refused)))
			}
		}
		p.Series = append(p.Series, line)
	}
	p.Series = append(p.Series, theorySteps("Erlang B", over(4, 14, 10), func(c float64) float64 { return theory.ErlangB(int(c+.5), load) }))
	lab.Draw(&plot.Figure{Name: "refused", Title: "Without a queue only the mean of the service time counts", Panels: []plot.Panel{p}})
}

func hanging(lab *Lab) {
	type outcome struct {
		healthy, all float64 // share refused of the healthy; share failed of all
		held, looks  float64 // slots in use, summed over so many looks
		holds        float64 // mean seconds for which a call that hangs holds its slot
		inUse        []float64
	}
	scale := Pick(lab, 20, 4, 1)
	slots, rate := 1000/scale, 1000/float64(scale)
	variants := []struct {
		name              string
		warm, measure     int // seconds
		fullWarm, fullRun int
		layers            func() (healthy, hangs *resilience.Pipeline, shared *bulkhead.Bulkhead)
	}{
		{"one shared bulkhead", 200, 300, 500, 2000, func() (*resilience.Pipeline, *resilience.Pipeline, *bulkhead.Bulkhead) {
			shared := bulkhead.New(slots)
			all := compose(shared)
			return all, all, shared
		}},
		{"with a timeout of " + short(lab.Param("timeout")) + " s", 5, 240, 20, 400, func() (*resilience.Pipeline, *resilience.Pipeline, *bulkhead.Bulkhead) {
			shared := bulkhead.New(slots)
			all := compose(shared, timeout.PerAttempt(gap(lab.In("timeout"), 1)))
			return all, all, shared
		}},
		{"with a cap of 250 for the kind that hangs", 20, 100, 100, 400, func() (*resilience.Pipeline, *resilience.Pipeline, *bulkhead.Bulkhead) {
			shared := bulkhead.New(slots)
			return compose(shared), compose(shared, bulkhead.New(250/scale)), shared
		}},
	}
	runs := Runs(lab, len(variants), Pick(lab, 2, 1, 3), func(w *sim.World, variant int) func() outcome {
		v := variants[variant]
		warm, measure := Pick(lab, v.warm, v.warm, v.fullWarm), Pick(lab, v.measure, v.measure, v.fullRun)
		var o outcome
		var calls, healthyCalls, refused, failed, hung, holding float64
		healthy, hangs, shared := v.layers()
		short, long := &sim.Server{Service: sim.Fixed(100 * time.Millisecond)}, &sim.Server{Service: sim.Fixed(gap(lab.In("hold"), 1))}
		luck := w.Rand("kind")
		from := time.Duration(warm) * time.Second
		w.Every(time.Second, func(at time.Duration) {
			if at >= from && at <= from+time.Duration(measure)*time.Second {
				o.held += float64(shared.Snapshot().InFlight)
				o.looks++
			}
			if at <= 120*time.Second && at <= from+time.Duration(measure)*time.Second { // and not what is left afterwards
				o.inUse = append(o.inUse, float64(shared.Snapshot().InFlight))
			}
		})
		w.Open(sim.Poisson(rate), from+time.Duration(measure)*time.Second, func(a *sim.Actor) error {
			counted := a.Now() >= from
			if luck.Float64() < lab.In("hang") {
				came := a.Now()
				err := hangs.Run(a, long.Call)
				if !errors.Is(err, policy.ErrRejected) {
					hung++
					holding += (a.Now() - came).Seconds()
				}
				if counted {
					calls++
					failed++
				}
				return err
			}
			err := healthy.Run(a, short.Call)
			if counted {
				calls++
				healthyCalls++
				if err != nil {
					refused++
					failed++
				}
			}
			return err
		})
		return func() outcome {
			o.healthy, o.all, o.holds = refused/healthyCalls, failed/calls, holding/hung
			return o
		}
	})
	healthy := func(o outcome) float64 { return 100 * o.healthy }
	all := func(o outcome) float64 { return 100 * o.all }
	share, hold := lab.Param("hang"), lab.Param("hold")
	for i, v := range variants {
		warm, measure := float64(Pick(lab, v.warm, v.warm, v.fullWarm)), float64(Pick(lab, v.measure, v.measure, v.fullRun))
		limit := 250 / scale // of the kind that hangs
		setup := reference.HangingSetup{Slots: slots, Rate: rate, Share: share, Hold: []float64{hold, min(hold, lab.Param("timeout")), hold}[i],
			Cap: []int{0, 0, limit}[i], Warm: warm, Seconds: measure}
		by := remember(lab, v.name, func() two { return pair(reference.Hanging(setup, 12)) })
		refusals, failures := by.a, by.b
		lab.Expect("healthy calls refused %, "+v.name, column(runs[i], healthy), refusals.Times(100), []string{"the same slots, by hand; SRE book: 80.4", "the same slots, by hand", "the same slots, by hand"}[i])
		if i > 0 && refusals.Mean == 0 {
			failures = reference.Share(share, rate*measure)
		}
		lab.Expect("all calls failed %, "+v.name, column(runs[i], all), failures.Times(100), "those, and all that hang")
	}
	lab.Expect("s that a call that hangs holds a slot, "+variants[1].name, column(runs[1], func(o outcome) float64 { return o.holds }), reference.Number{Mean: min(hold, lab.Param("timeout")), Error: 1e-6}, "the timeout")
	// Slots in use are what is offered (Little), and scatter as counts do; looks a second apart are nearly independent.
	used := rate * ((1-share)*.1 + share*min(hold, lab.Param("timeout")))
	looks := runs[1][0].looks
	lab.Expect("slots in use, "+variants[1].name, column(runs[1], func(o outcome) float64 { return o.held / o.looks }), reference.Each(used, math.Sqrt(used), looks/2), "calls per second × seconds")
	p := plot.Panel{Title: short(rate) + " calls/s, " + short(100*share) + " % of them hang for " + short(hold) + " s", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "slots in use", Min: plot.At(0)}}
	for i, v := range variants {
		ys := runs[i][0].inUse
		p.Series = append(p.Series, plot.Series{Name: v.name, X: over(1, float64(len(ys)), len(ys)-1), Y: ys})
	}
	lab.Draw(&plot.Figure{Name: "hanging", Title: "Calls that hang fill a bulkhead", Panels: []plot.Panel{p}})
}
