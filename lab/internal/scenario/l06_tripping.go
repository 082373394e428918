package scenario

import (
	"context"
	"math"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
)

var tripping = Scenario{
	Name:     "L6",
	Page:     "trip-rules",
	Question: "When should a breaker trip?",
	Answer:   "A trip rule is a statistical test: short rules detect fast and cry wolf. Three failures in a row at 5 % errors trip every 8,420 calls, which at 1,000 calls/s is every 8.4 s. A rate of 50 % over 100 calls at the same 5 % practically never trips, and needs 50 calls to see an outage instead of 3.",
	Setup: []string{
		"Every attempt fails with probability p, independently, while the dependency is healthy. Calls are made one after the other; after a false trip the breaker is reset.",
		"Detection: 1,000 calls/s, Poisson, 200 ms each, all of which fail from the start.",
		"On: breaker.ConsecutiveFailures(k), or breaker.FailureRate(th, n) over breaker.CountWindow(n), which slides. Off: retry, jitter.",
		"Tumbling windows are the same rule on a breaker that is reset every n calls. The library evaluates a rule only after a bad outcome, so such a window trips only if the n-th call fails too: p · P(at least th·n − 1 of the other n − 1).",
	},
	Advice: []string{
		"Prefer a rate over a window with a minimum of calls: FailureRate(0.5, 20) over 100 calls. Keep ConsecutiveFailures for rare traffic.",
		"Put the threshold well above the error rate of a normal day: at th = 0.2 and p = 0.1 a window of 100 trips every 8,400 calls, at th = 0.5 not within the age of the universe.",
		"Do not tune the window to notice an outage a few calls sooner. The dead dependency gets rate × latency calls, 200 here, plus the few that the rule needs.",
	},
	Limits: []string{
		"Errors of a healthy dependency come in bursts. Real false trips are more frequent than these.",
		"A count window ignores time: with few calls it looks far into the past. Use TimeWindow there.",
	},
	Sources: []string{
		"Closed forms: (1 − p^k) / ((1 − p) p^k) calls until k failures in a row; binomial tails for windows.",
		"Sliding windows: the rule written down again and run 3,000 times.",
		"Bazel moved its breaker from a failure count to a rate with a minimum of 100 calls (PR 18539).",
	},
	Params: []Param{
		{"threshold", "of the rules with a rate", "of calls", .5, .3, .55, false},
		{"rate", "calls while an outage is detected", "per second", 1000, 10, 5000, false},
		{"latency", "of a call", "ms", 200, 1, 1000, false},
	},
	Run: runTripping,
}

// rule is a trip rule, and when its breaker is reset if it has not tripped: after that many calls, 0 for never.
type rule struct {
	name    string
	options func() []breaker.Option
	reset   int
}

func consecutive(k int) rule {
	return rule{short(float64(k)) + " in a row", func() []breaker.Option { return []breaker.Option{breaker.ConsecutiveFailures(k)} }, 0}
}

func sliding(n int, share float64) rule {
	return rule{short(share*100) + " % of " + short(float64(n)), func() []breaker.Option {
		return []breaker.Option{breaker.FailureRate(share, n), breaker.CountWindow(n)}
	}, 0}
}

func tumbling(n int, share float64) rule {
	r := sliding(n, share)
	r.name, r.reset = r.name+", tumbling", n
	return r
}

func runTripping(lab *Lab) {
	// A point is a rule, an error rate, and how many calls there are between false trips.
	type point struct {
		rule     rule
		p        float64
		expected float64
		error    float64
		source   string
	}
	share := lab.Param("threshold")
	var points []point
	for _, at := range []struct {
		k int
		p float64
	}{{3, .05}, {3, .1}, {3, .2}, {3, .3}, {3, .5}, {5, .2}, {5, .3}, {5, .5}} {
		points = append(points, point{consecutive(at.k), at.p, theory.CallsToRun(at.p, at.k), 0, "(1−p^k)/((1−p)p^k)"})
	}
	for _, at := range []struct {
		n int
		p float64
	}{{10, .2}, {10, .3}, {20, .3}, {20, .4}} {
		least := int(math.Ceil(share*float64(at.n) - 1e-9))
		points = append(points, point{tumbling(at.n, lab.In("threshold")), at.p, float64(at.n) / (at.p * theory.Tail(at.n-1, least-1, at.p)), 0, "n / (p · tail of n−1)"})
	}
	trialsOf := Pick(lab, 1000, 5000, 5000)
	for _, at := range []struct {
		n     int
		share float64
		p     float64
	}{{20, share, .2}, {20, share, .3}, {100, share, .4}, {100, share * .4, .1}} {
		real := sliding(at.n, at.share*lab.In("threshold")/share)
		real.name = sliding(at.n, at.share).name
		byHand := remember(lab, real.name+short(at.p), func() reference.Number { return reference.CallsToTrip(at.n, at.share, at.p, trialsOf) })
		points = append(points, point{real, at.p, byHand.Mean, byHand.Error, "the rule by hand, " + short(float64(trialsOf)) + " trips"})
	}
	for i := range points[8:12] {
		at := &points[8+i]
		at.rule.name = sliding(at.rule.reset, share).name + ", tumbling"
	}
	enough := Pick(lab, 150.0, 185, 1000)
	trips := make([]float64, len(points)) // to wait for
	for i, point := range points {
		trips[i] = enough
		if lab.quick() {
			trips[i] = math.Round(min(enough, max(10, 30_000/point.expected)))
		}
	}
	runs := Runs(lab, len(points), 4, func(w *sim.World, variant int) func() float64 {
		point, trips := points[variant], trips[variant]
		circuit := breaker.New(point.rule.options()...)
		pipeline := compose(circuit)
		calls, tripped := 0.0, 0.0
		w.Go(func(a *sim.Actor) {
			luck := a.Rand("luck")
			attempt := func(context.Context) error {
				if luck.Float64() < point.p {
					return sim.ErrFailed
				}
				return nil
			}
			// A rule that hardly ever trips, because it is not the one that was meant, is given up.
			for since := 1; tripped < trips && calls < 3*trips*point.expected; since++ {
				calls++
				_ = pipeline.Run(a, attempt)
				switch {
				case circuit.State() == breaker.Open:
					tripped++
					circuit.Reset()
					since = 0
				case since == point.rule.reset:
					circuit.Reset()
					since = 0
				}
			}
		})
		return func() float64 { return calls / max(1, tripped) }
	})
	for i, point := range points {
		// The time to a trip varies as much as its mean.
		expected := reference.Each(point.expected, point.expected, trips[i])
		expected.Error = point.error
		lab.Expect("calls between false trips, "+point.rule.name+", p = "+short(point.p), runs[i], expected, point.source)
	}

	// How likely a false trip within 10,000 calls is.
	chances := []float64{.15, .2}
	repeats := Pick(lab, 50.0, 360, 500)
	within := Runs(lab, len(chances), 2, func(w *sim.World, variant int) func() float64 {
		circuit := breaker.New(breaker.ConsecutiveFailures(5))
		pipeline := compose(circuit)
		tripped := 0.0
		w.Go(func(a *sim.Actor) {
			luck := a.Rand("luck")
			attempt := func(context.Context) error {
				if luck.Float64() < chances[variant] {
					return sim.ErrFailed
				}
				return nil
			}
			for range int(repeats) {
				circuit.Reset()
				for range 10_000 {
					_ = pipeline.Run(a, attempt)
					if circuit.State() == breaker.Open {
						tripped++
						break
					}
				}
			}
		})
		return func() float64 { return tripped / repeats }
	})
	for i, p := range chances {
		lab.Expect("P(false trip within 10,000 calls), 5 in a row, p = "+short(p), within[i], reference.Share(theory.RunWithin(p, 5, 10_000), repeats), "recurrence over runs")
	}

	rate, latency := lab.Param("rate"), lab.Param("latency")/1000
	detection := Runs(lab, 3, Pick(lab, 6, 10, 20), func(w *sim.World, variant int) func() float64 {
		r := []rule{consecutive(5), sliding(20, lab.In("threshold")), sliding(100, lab.In("threshold"))}[variant]
		dead := &sim.Server{Service: sim.Fixed(gap(lab.In("latency")/1000, 1)), Fails: func(time.Duration) float64 { return 1 }}
		pipeline := compose(breaker.New(append(r.options(), breaker.OpenFor(time.Minute), breaker.Jitter(0))...))
		w.Open(sim.Poisson(lab.In("rate")), gap(200/lab.In("rate")+lab.In("latency")/1000*3, 1), func(a *sim.Actor) error { return pipeline.Run(a, dead.Call) })
		return func() float64 { return float64(dead.Requests) }
	})
	for i, needed := range []float64{5, 20, 100} {
		inFlight := reference.Count(rate * latency)
		inFlight.Mean += needed
		what := []string{"5 in a row", sliding(20, share).name, sliding(100, share).name}[i]
		lab.Expect("attempts at a dead service before the trip, "+what, detection[i], inFlight, "what the rule needs + rate · latency")
	}

	detects := map[string]float64{consecutive(3).name: 3, consecutive(5).name: 5, sliding(20, share).name: math.Ceil(20 * share),
		sliding(100, share*.4).name: math.Ceil(100 * share * .4), sliding(100, share).name: math.Ceil(100 * share)}
	panel := func(p float64) plot.Panel {
		rows, windows, introductory := plot.Series{Name: "theory: k in a row"}, plot.Series{Name: "theory: tumbling window of n"}, plot.Series{Name: "measured: 3 in a row, as in articles", Style: plot.Points}
		for k := 2.0; k <= 12; k++ {
			rows.X, rows.Y = append(rows.X, k), append(rows.Y, theory.CallsToRun(p, int(k)))
		}
		for n := 4.0; n <= 100; n += 4 {
			least := math.Ceil(share*n - 1e-9)
			windows.X, windows.Y = append(windows.X, least), append(windows.Y, n/(p*theory.Tail(int(n)-1, int(least)-1, p)))
		}
		measured := plot.Series{Name: "measured; windows slide", Style: plot.Points, Colour: plot.Black}
		for i, point := range points {
			if point.p == p && point.rule.reset == 0 {
				detect := detects[point.rule.name]
				if detect == 3 {
					introductory.X, introductory.Y = append(introductory.X, detect), append(introductory.Y, mean(runs[i]))
					continue
				}
				measured.X, measured.Y = append(measured.X, detect), append(measured.Y, mean(runs[i]))
			}
		}
		rows.Style, windows.Style = plot.Theory, plot.Theory
		rows.Colour, windows.Colour = plot.Blue, plot.Green
		introductory.Colour = plot.Vermilion
		return plot.Panel{Title: "Base error " + short(100*p) + " %", X: plot.Axis{Label: "failures needed to see an outage", Log: true}, Y: plot.Axis{Label: "calls between false trips", Log: true, Max: plot.At(1e12)},
			Series: []plot.Series{rows, windows, measured, introductory}}
	}
	lab.Draw(&plot.Figure{Title: "Short rules detect fast and cry wolf", Columns: 2, Panels: []plot.Panel{panel(.05), panel(.1), panel(.2), panel(.3)}})
}
