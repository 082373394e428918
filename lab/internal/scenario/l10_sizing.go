package scenario

import (
	"math"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/timeout"
)

var sizing = Scenario{
	Name:     "L10",
	Page:     "bulkhead-size",
	Question: "How big a bulkhead?",
	Answer:   "It is a queue with c servers: take the size from Erlang's formulas, not from feeling. And bound how long a slot can be held: 5 % of the calls that hang take 80 % of the healthy ones with them.",
	Setup: []string{
		"Size: exponential service with mean S = 1 s, c slots, a Erlang offered (arrival rate times S). The first 5 % of the time, at least 20 s, is not counted.",
		"With bulkhead.Queue, long and patient, it is M/M/c; without, M/G/c/c, with exponential, fixed and lognormal service.",
		"Hanging calls: 1,000 slots, no queue, 1,000 calls/s. 95 % hold a slot for 100 ms, 5 % for 100 s. Remedies: timeout.PerAttempt(1 s); a bulkhead of 250 for the kind that hangs, inside the shared one.",
		"On: the bulkhead. Off: everything else.",
	},
	Advice: []string{
		"Start from Little's law: slots in use = calls per second × seconds per call. At 80/s and 100 ms that is 8. With exactly 10 slots 12 % of the calls are refused; with 14, 2 %.",
		"A short queue replaces slots: 10 slots with a queue lose nothing at that load, and 41 % of the calls wait, 20 ms on average.",
		"Always combine a bulkhead with a timeout, or one call in twenty that hangs takes the service down: 1 s brings the refusals of healthy calls from 80 % to 0.",
		"Where one kind of call can hang, cap it at a quarter of the slots.",
	},
	Limits: []string{
		"Poisson arrivals. Bursts need more slots than Erlang says.",
		"Refusals are lost here. If callers retry them at once, the offered load is higher than it seems.",
	},
	Sources: []string{
		"Erlang B and C, computed; Wq = C(c, a) · S / (c − a).",
		"Google, Site Reliability Engineering, chapter 22: 1000/5095 are handled, 80.4 % fail.",
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
	points := []struct {
		c int
		a float64
	}{{1, .8}, {2, 1.6}, {10, 8}, {9, 8}, {11, 8}, {12, 8}, {14, 8}, {16, 8}}
	runs := Runs(lab, len(points), Pick(lab, 10, 6, 10), func(w *sim.World, variant int) func() waited {
		calls := Pick(lab, 3500.0, 40_000, 200_000)
		if variant >= 3 { // only drawn
			calls = Pick(lab, 300.0, 4000, 200_000)
		}
		return offered(w, calls, points[variant].a, sim.Exponential(time.Second), points[variant].c, patient)
	})
	share := func(o waited) float64 { return o.share }
	wait := func(o waited) float64 { return o.wait }
	// Four standard errors of 240,000 arrivals; the waits of neighbours are alike, so they are large.
	shareWithin, waitWithin := .035, .13
	if lab.options.Size == Full { // 2,000,000
		shareWithin, waitWithin = .01, .03
	}
	for i, point := range points[:3] {
		what := short(float64(point.c)) + " slots, " + short(point.a) + " Erlang"
		lab.Expect("P(wait), "+what, column(runs[i], share), theory.ErlangC(point.c, point.a), Relative(shareWithin), "Erlang C")
		lab.Expect("mean wait in s, "+what, column(runs[i], wait), theory.MeanWait(point.c, point.a), Relative(waitWithin), "C·S/(c−a)")
	}
	shares, waits := plot.Series{Name: "measured", Style: plot.Points}, plot.Series{Name: "measured", Style: plot.Points}
	for i, point := range points[2:] {
		shares.X, shares.Y = append(shares.X, float64(point.c)), append(shares.Y, mean(column(runs[i+2], share)))
		waits.X, waits.Y = append(waits.X, float64(point.c)), append(waits.Y, mean(column(runs[i+2], wait)))
	}
	x := plot.Axis{Label: "slots, for a load of 8 Erlang"}
	cs := over(9, 16, 7)
	lab.Draw(&plot.Figure{Name: "queue", Title: "A bulkhead with a queue is M/M/c", Columns: 2, Panels: []plot.Panel{
		{Title: "Calls that wait", X: x, Y: plot.Axis{Label: "share", Min: plot.At(0)}, Series: []plot.Series{shares, theoryLine("Erlang C", cs, func(c float64) float64 { return theory.ErlangC(int(c+.5), 8) })}},
		{Title: "Mean wait", X: x, Y: plot.Axis{Label: "in service times", Log: true}, Series: []plot.Series{waits, theoryLine("C·S/(c − a)", cs, func(c float64) float64 { return theory.MeanWait(int(c+.5), 8) })}},
	}})
}

func lost(lab *Lab) {
	services := []struct {
		name string
		of   sim.Distribution
	}{
		{"exponential", sim.Exponential(time.Second)},
		{"fixed", sim.Fixed(time.Second)},
		{"lognormal", sim.Lognormal(gap(math.Exp(-.5), 1), 1)},
	}
	points := []struct {
		c int
		a float64
	}{{10, 8}, {20, 16}, {100, 95}, {4, 8}, {6, 8}, {8, 8}, {12, 8}, {14, 8}}
	runs := Runs(lab, len(services)*len(points), Pick(lab, 8, 6, 10), func(w *sim.World, variant int) func() waited {
		point := points[variant%len(points)]
		calls := Pick(lab, max(1000, 35*point.a), 25_000, 200_000)
		if variant%len(points) >= 3 { // only drawn
			calls = Pick(lab, 200.0, 3000, 200_000)
		}
		return offered(w, calls, point.a, services[variant/len(points)].of, point.c)
	})
	refused := func(o waited) float64 { return o.refused }
	p := plot.Panel{Title: "Refused without a queue, at 8 Erlang", X: plot.Axis{Label: "slots"}, Y: plot.Axis{Label: "share of calls refused", Min: plot.At(0)}}
	within := Pick(lab, []float64{.035, .1, .2}, []float64{.035, .1, .2}, []float64{.02, .02, .02})
	for s, service := range services {
		line := plot.Series{Name: service.name + " service", Style: plot.Points}
		for i, point := range points {
			at := runs[s*len(points)+i]
			if i < 3 {
				lab.Expect("refused, "+short(float64(point.c))+" slots, "+short(point.a)+" Erlang, "+service.name, column(at, refused), theory.ErlangB(point.c, point.a), Relative(within[i]), "Erlang B")
			}
			if point.a == 8 {
				line.X, line.Y = append(line.X, float64(point.c)), append(line.Y, mean(column(at, refused)))
			}
		}
		p.Series = append(p.Series, line)
	}
	p.Series = append(p.Series, theoryLine("Erlang B", over(4, 14, 10), func(c float64) float64 { return theory.ErlangB(int(c+.5), 8) }))
	lab.Draw(&plot.Figure{Name: "refused", Title: "Without a queue only the mean of the service time counts", Panels: []plot.Panel{p}})
}

func hanging(lab *Lab) {
	type outcome struct {
		healthy, all float64 // share refused of the healthy; share failed of all
		inUse        []float64
	}
	scale := Pick(lab, 20, 1, 1)
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
		{"with a timeout of 1 s", 5, 60, 20, 200, func() (*resilience.Pipeline, *resilience.Pipeline, *bulkhead.Bulkhead) {
			shared := bulkhead.New(slots)
			all := compose(shared, timeout.PerAttempt(time.Second))
			return all, all, shared
		}},
		{"with a cap of 250 for the kind that hangs", 20, 60, 100, 400, func() (*resilience.Pipeline, *resilience.Pipeline, *bulkhead.Bulkhead) {
			shared := bulkhead.New(slots)
			return compose(shared), compose(shared, bulkhead.New(250/scale)), shared
		}},
	}
	runs := Runs(lab, len(variants), Pick(lab, 4, 1, 3), func(w *sim.World, variant int) func() outcome {
		v := variants[variant]
		warm, measure := Pick(lab, v.warm, v.warm, v.fullWarm), Pick(lab, v.measure, v.measure, v.fullRun)
		var o outcome
		var calls, healthyCalls, refused, failed float64
		healthy, hangs, shared := v.layers()
		short, long := &sim.Server{Service: sim.Fixed(100 * time.Millisecond)}, &sim.Server{Service: sim.Fixed(100 * time.Second)}
		luck := w.Rand("kind")
		from := time.Duration(warm) * time.Second
		w.Every(time.Second, func(at time.Duration) {
			if at <= 120*time.Second {
				o.inUse = append(o.inUse, float64(shared.Snapshot().InFlight))
			}
		})
		w.Open(sim.Poisson(rate), from+time.Duration(measure)*time.Second, func(a *sim.Actor) error {
			counted := a.Now() >= from
			if luck.Float64() < .05 {
				err := hangs.Run(a, long.Call)
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
			o.healthy, o.all = refused/healthyCalls, failed/calls
			return o
		}
	})
	healthy := func(o outcome) float64 { return 100 * o.healthy }
	all := func(o outcome) float64 { return 100 * o.all }
	blocking := theory.ErlangB(slots, (95+5000)/float64(scale))
	lab.Expect("healthy calls refused %, one shared bulkhead", column(runs[0], healthy), 100*blocking, Absolute(1), "Erlang B at 5095; SRE book: 80.4 %")
	lab.Expect("all calls failed %, one shared bulkhead", column(runs[0], all), 100*(1-.95*(1-blocking)), Absolute(1), "those, and all that hang")
	for i := 1; i < len(variants); i++ {
		lab.ExpectWithin("healthy calls refused %, "+variants[i].name, column(runs[i], healthy), 0, 0, "none")
		lab.Expect("all calls failed %, "+variants[i].name, column(runs[i], all), 5, Absolute(1), "those that hang")
	}
	p := plot.Panel{Title: "1,000 calls/s, 5 % of them hang for 100 s", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "slots in use", Min: plot.At(0)}}
	for i, v := range variants {
		ys := runs[i][0].inUse
		p.Series = append(p.Series, plot.Series{Name: v.name, X: over(1, float64(len(ys)), len(ys)-1), Y: ys})
	}
	lab.Draw(&plot.Figure{Name: "hanging", Title: "Calls that hang fill a bulkhead in 18 s", Panels: []plot.Panel{p}})
}
