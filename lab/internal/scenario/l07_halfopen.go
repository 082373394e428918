package scenario

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
)

var halfOpen = Scenario{
	Name:     "L7",
	Page:     "half-open",
	Question: "How should a half-open breaker probe?",
	Answer:   "With one probe at a time. A half-open state without a cap lets rate × latency calls through, 201 at 1,000/s and 200 ms, each time it probes. The open time sets how late a recovery is noticed: half of it on average, and the latency of the probe.",
	Setup: []string{
		"Storm: 1,000 calls/s, 200 ms each, outage for the first 21 s. The breaker trips on 5 failures in a row and opens for 5 s. Probes: 1, 10, or practically without a cap (10,000). It needs as many successes to close, since a breaker admits no more probes than can still matter.",
		"Lag: 50 calls/s, 50 ms each, outage of 60 s plus a phase that sweeps over one open time. One probe.",
		"On: the breaker. Off: retry, jitter of the open time, growth, ramp.",
	},
	Advice: []string{
		"Keep Probes(1), the default. More probes find out nothing that one does not, and in an outage each is a failed call.",
		"Choose the open time by the lag that you accept. 5 s means a lag of 2.5 s on average and 5 s at worst, and 19 calls into an outage of a minute. 1 s means 0.5 s and 64 calls. Less than that gains little.",
		"Need more certainty? Raise Successes, not Probes. But each further required success makes a false reopening likelier: at 5 % errors it is 5 % with one, 23 % with five and 40 % with ten.",
		"Growth of the open time wastes fewer probes in a long outage but costs lag: up to as long as the outage itself has lasted. Cap it.",
	},
	Limits: []string{
		"Many instances that opened together probe together. The default jitter of up to 10 % on the open time (off here) spreads them.",
		"One success of a dependency that has just come back is weak evidence. Add Ramp where a stampede on recovery hurts.",
	},
	Sources: []string{
		"Closed forms: storm 1 + rate × latency; lag (D + 1/λ + l)/2 + l; false reopening 1 − (1 − p)^m.",
		"Attempts into the dead service: the same breaker, written down again without the library.",
	},
	Params: []Param{
		{"rate", "calls in the storm", "per second", 1000, 50, 5000, false},
		{"latency", "of a call in the storm", "ms", 200, 1, 1000, false},
		{"open", "time of the breaker in the storm", "s", 5, .5, 6, false},
		{"lagrate", "calls while a recovery is waited for", "per second", 50, 5, 200, false},
		{"p", "errors of a healthy dependency", "of calls", .05, .001, .5, false},
	},
	Run: runHalfOpen,
}

func runHalfOpen(lab *Lab) {
	stampede(lab)
	lag(lab)
	falseReopening(lab)
}

// stampede measures how many attempts one half-open episode admits.
func stampede(lab *Lab) {
	type outcome struct {
		episodes []float64 // attempts admitted in each
		first    float64   // attempts before the first
		history  []float64 // attempts in each 100 ms

		duringOutage float64 // episodes
	}
	const outage = 21 * time.Second
	caps := []int{10_000, 1, 10}
	names := []string{"no cap", "1 probe", "10 probes"}
	model := func(w *sim.World, variant int) func() outcome {
		var o outcome
		o.history = make([]float64, 300)
		server := &sim.Server{Service: sim.Fixed(gap(lab.In("latency")/1000, 1)), Fails: func(at time.Duration) float64 {
			if at < outage {
				return 1
			}
			return 0
		}}
		probing := false
		circuit := breaker.New(breaker.ConsecutiveFailures(5), breaker.OpenFor(gap(lab.In("open"), 1)), breaker.Jitter(0), breaker.Probes(caps[variant]), breaker.Successes(caps[variant]),
			breaker.OnChange(func(c breaker.Change) {
				if probing = c.To == breaker.HalfOpen; probing {
					o.episodes = append(o.episodes, 0)
					if w.Now() < outage {
						o.duringOutage++
					}
				}
			}))
		server.Attempted = func(at time.Duration) {
			if probing {
				o.episodes[len(o.episodes)-1]++
			}
			if len(o.episodes) == 0 {
				o.first++
			}
			if i := int(at / (100 * time.Millisecond)); i < len(o.history) {
				o.history[i]++
			}
		}
		pipeline := compose(circuit)
		w.Open(sim.Poisson(lab.In("rate")), outage+3*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		return func() outcome { return o }
	}
	runs := Runs(lab, len(caps), Pick(lab, 2, 4, 20), model)
	inFlight := lab.Param("rate") * lab.Param("latency") / 1000
	// The last episode is cut short by the end of the outage, so the first three tell the mean.
	episode := reference.Count(inFlight).Of(3)
	episode.Mean++
	lab.Expect("attempts in a half-open episode, no cap", column(runs[0], func(o outcome) float64 { return mean(o.episodes[:3]) }), episode, "1 + rate · latency")
	lab.ExpectWithin("largest half-open episode, 1 probe", column(runs[1], func(o outcome) float64 { return slices.Max(o.episodes) }), 1, 1, "the cap")
	lab.ExpectWithin("largest half-open episode, 10 probes", column(runs[2], func(o outcome) float64 { return slices.Max(o.episodes) }), 10, 10, "the cap")
	trip := reference.Count(inFlight)
	trip.Mean += 5
	for i, name := range names[1:] {
		lab.Expect("attempts before the breaker first opens, "+name, column(runs[i+1], func(o outcome) float64 { return o.first }), trip, "5 + rate · latency")
	}
	lab.ExpectWithin("half-open episodes in the outage, 1 probe", column(runs[1], func(o outcome) float64 { return o.duringOutage }),
		math.Floor((outage.Seconds()-.1)/(lab.Param("open")+lab.Param("latency")/1000)), math.Floor((outage.Seconds()+.1)/(lab.Param("open")+lab.Param("latency")/1000)), "one in each open time and latency")
	p := plot.Panel{Title: "Attempts at a service that is dead until 21 s", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "attempts per 100 ms"},
		Shades: []plot.Span{{To: outage.Seconds(), Kind: "dead"}}}
	for i, name := range names {
		s := plot.Series{Name: name, Style: plot.Step}
		for j, n := range runs[i][0].history[:240] {
			s.X, s.Y = append(s.X, float64(j)/10), append(s.Y, n)
		}
		p.Series = append(p.Series, s)
	}
	lab.Draw(&plot.Figure{Title: "A half-open state without a cap is a stampede, every time", Panels: []plot.Panel{p}})
}

// lag measures how late a recovery is noticed.
func lag(lab *Lab) {
	type outcome struct{ lag, dead float64 }
	const latency = 50 * time.Millisecond
	rate := lab.Param("lagrate")
	opens := Pick(lab, []float64{1, 2}, []float64{1, 2, 5, 10, 30}, []float64{1, 2, 5, 10, 30})
	phasesOf := func(open float64) int { // a short period says less of the lag than a long one
		return Pick(lab, 20, int(max(50, 250/open)), 250)
	}
	runs := Runs(lab, len(opens), 1, func(w *sim.World, variant int) func() []outcome {
		open, phases := time.Duration(opens[variant]*float64(time.Second)), phasesOf(opens[variant])
		outcomes := make([]outcome, phases)
		for i := range outcomes {
			// One client each, all in one world; the phase of the end of the outage sweeps over one period of probing.
			end := time.Minute + time.Duration((float64(i)+.5)/float64(phases)*float64(open+latency+gap(1, rate)))
			o := &outcomes[i]
			server := &sim.Server{Service: sim.Fixed(latency), Fails: func(at time.Duration) float64 {
				if at < end {
					o.dead++
					return 1
				}
				return 0
			}}
			closed := false
			circuit := breaker.New(breaker.ConsecutiveFailures(5), breaker.OpenFor(gap(open.Seconds()*lab.In("open")/lab.Param("open"), 1)), breaker.Jitter(0), breaker.OnChange(func(c breaker.Change) {
				if c.To == breaker.Closed && !closed {
					closed = true
					o.lag = (w.Now() - end).Seconds()
				}
			}))
			pipeline := compose(circuit)
			w.Go(func(a *sim.Actor) {
				poissonCalls(w, a, lab.In("lagrate"), &closed, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
			})
		}
		return func() []outcome { return outcomes }
	})
	of := func(number func(outcome) float64) func(i int) []float64 {
		return func(i int) []float64 { return column(runs[i][0], number) }
	}
	lags, dead := of(func(o outcome) float64 { return o.lag }), of(func(o outcome) float64 { return o.dead })
	lagSeries, deadSeries := plot.Series{Name: "measured", Style: plot.Points}, plot.Series{Name: "measured", Style: plot.Points}
	for i, d := range opens {
		by := remember(lab, "lag"+short(d), func() two { return pair(reference.Lag(d, rate, latency.Seconds(), 5, phasesOf(d), 60)) })
		late, sent := by.a, by.b
		lab.Expect("mean lag in s, open time "+short(d)+" s", []float64{mean(lags(i))}, late, "the same breaker, by hand; (D + 1/λ + l)/2 + l")
		lab.Expect("attempts into the dead service, open time "+short(d)+" s", []float64{mean(dead(i))}, sent, "the same breaker, by hand")
		lagSeries.X, lagSeries.Y = append(lagSeries.X, mean(dead(i))), append(lagSeries.Y, mean(lags(i)))
		deadSeries.X, deadSeries.Y = append(deadSeries.X, d), append(deadSeries.Y, mean(lags(i)))
	}
	curve := plot.Series{Name: "open time from 1 s to 30 s, fluid", Style: plot.Theory, Colour: plot.Black}
	for _, d := range geometric(1, 30, 40) {
		period := d + 1/rate + latency.Seconds()
		curve.X, curve.Y = append(curve.X, 5+rate*latency.Seconds()+60/period+.5), append(curve.Y, period/2+latency.Seconds())
	}
	lab.Draw(&plot.Figure{Name: "lag", Title: "The open time trades wasted probes for lag", Columns: 2, Panels: []plot.Panel{
		{Title: "An outage of a minute", X: plot.Axis{Label: "attempts into the dead service", Log: true}, Y: plot.Axis{Label: "mean lag, s", Log: true}, Series: []plot.Series{lagSeries, curve}},
		{Title: "Lag", X: plot.Axis{Label: "open time, s", Log: true}, Y: plot.Axis{Label: "mean lag, s", Log: true},
			Series: []plot.Series{deadSeries, theoryLine("(D + 1/λ + l)/2 + l", geometric(1, 30, 40), func(d float64) float64 { return (d+1/rate+latency.Seconds())/2 + latency.Seconds() })}},
	}})
}

// poissonCalls makes calls at a rate, one at a time being enough where they end sooner than the next one comes or are
// refused, until over.
func poissonCalls(w *sim.World, a *sim.Actor, rate float64, over *bool, call func(*sim.Actor) error) {
	pause := a.Rand("arrivals")
	for !*over {
		_ = a.Sleep(gap(pause.ExpFloat64(), rate))
		w.Go(func(a *sim.Actor) { _ = call(a) })
	}
}

// falseReopening: a healthy dependency with an error rate, and several successes required.
func falseReopening(lab *Lab) {
	needed := []int{1, 3, 5, 10}
	p := lab.Param("p")
	episodesOf := func(variant int) float64 { // the rarer a reopening, the more; so many that a fifth of p is noticed
		return math.Round(max(Pick(lab, 400.0, 12_000, 12_000)/float64(needed[variant]), Pick(lab, 40.0, 1600, 1600)))
	}
	runs := Runs(lab, len(needed), Pick(lab, 6, 2, 2), func(w *sim.World, variant int) func() float64 {
		reopened, ended := 0.0, 0.0
		circuit := breaker.New(breaker.OpenFor(time.Second), breaker.Jitter(0), breaker.Successes(needed[variant]), breaker.OnChange(func(c breaker.Change) {
			if c.From == breaker.HalfOpen {
				ended++
				if c.To == breaker.Open {
					reopened++
				}
			}
		}))
		pipeline := compose(circuit)
		w.Go(func(a *sim.Actor) {
			luck := a.Rand("luck")
			for ended < episodesOf(variant) {
				if circuit.State() == breaker.Closed {
					circuit.Trip()
				}
				_ = a.Sleep(300 * time.Millisecond)
				_ = pipeline.Run(a, func(context.Context) error {
					if luck.Float64() < lab.In("p") {
						return sim.ErrFailed
					}
					return nil
				})
			}
		})
		return func() float64 { return reopened / ended }
	})
	xs := []float64{1, 3, 5, 10}
	var measured plot.Series
	measured.Name, measured.Style, measured.X = "measured", plot.Points, xs
	for i, m := range needed {
		lab.Expect("share of false reopenings, "+strconv.Itoa(m)+" successes needed", runs[i], reference.Share(theory.FalseReopen(p, m), episodesOf(i)), "1 − (1−p)^m")
		measured.Y = append(measured.Y, mean(runs[i]))
	}
	lab.Draw(&plot.Figure{Name: "false-reopening", Title: "Each success that is required is a chance to reopen for nothing", Panels: []plot.Panel{{
		Title: "A healthy dependency with " + short(100*p) + " % errors", X: plot.Axis{Label: "successes needed to close", Min: plot.At(0)}, Y: plot.Axis{Label: "share of episodes that reopen", Min: plot.At(0)},
		Series: []plot.Series{measured, theorySteps("1 − (1 − p)^m", over(1, 10, 9), func(m float64) float64 { return theory.FalseReopen(p, int(m+.5)) })},
	}}})
}
