package scenario

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/retry"
)

var jitter = Scenario{
	Name:     "L3",
	Page:     "jitter",
	Question: "Which jitter?",
	Answer:   "Full jitter: 100 clients that contend for one row make 58 % fewer attempts with it than with plain exponential backoff. Decorrelated jitter finishes a little sooner and makes 25 % more attempts.",
	Setup: []string{
		"One row with a version number. N clients start at once; each wants to update the row once: read the version, then write on condition that it has not changed. A write that loses is a failed attempt.",
		"Four network hops per attempt, |Normal(10 ms, 2 ms)| each. The server itself takes no time and has no limit.",
		"On: exponential delays from 10 ms, factor 2, cap 2 s (decorrelated: from 5 ms, cap 2 s), the jitter named, as many attempts as it takes. Off: budget.",
	},
	Advice: []string{
		"Keep the default, full jitter. Never use NoJitter in production: clients that failed together come back together, for as long as they fail.",
		"Use decorrelated jitter where the time to the last success matters more than the load (for 100 clients 4.6 s instead of 5.0 s, with 1,000 attempts instead of 795).",
		"Equal jitter guarantees a pause, half of the delay, and costs time: 6.6 s.",
	},
	Limits: []string{
		"Without any backoff the last client finishes first, in 2 s, because this server has infinite capacity. Three times the attempts would not be free on a real one.",
		"Jitter cures contention. Against a dependency that is down it only spreads the attempts.",
	},
	Sources: []string{
		"M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015. The expectations come from the same experiment, written down again without the library.",
	},
	Params: []Param{
		{"base", "the first delay", "ms", 10, 1, 100, false},
		{"cap", "the longest delay", "ms", 2000, 100, 10_000, false},
		{"clients", "that contend, at most", "", 100, 10, 200, true},
	},
	Run: runJitter,
}

type contention struct {
	attempts, seconds float64
	history           []float64 // write attempts in each 50 ms
}

func runJitter(lab *Lab) {
	ms := func(name string) time.Duration { return gap(lab.In(name)/1000, 1) }
	exponential := retry.Exponential(ms("base"), ms("cap"))
	base, most := lab.Param("base")/1000, lab.Param("cap")/1000
	expo := func(failures int) float64 { return min(most, base*math.Pow(2, float64(failures-1))) }
	policies := []struct {
		name    string
		options []retry.Option
		byHand  reference.Backoff
	}{
		{"no backoff", []retry.Option{retry.Constant(0)}, func(*rand.Rand, int, float64) float64 { return 0 }},
		{"exponential, no jitter", []retry.Option{exponential, retry.NoJitter()}, func(_ *rand.Rand, n int, _ float64) float64 { return expo(n) }},
		{"equal jitter", []retry.Option{exponential, retry.EqualJitter()}, func(r *rand.Rand, n int, _ float64) float64 { return expo(n) * (1 + r.Float64()) / 2 }},
		{"full jitter", []retry.Option{exponential, retry.FullJitter()}, func(r *rand.Rand, n int, _ float64) float64 { return expo(n) * r.Float64() }},
		{"decorrelated jitter", []retry.Option{retry.Exponential(ms("base")/2, ms("cap")), retry.DecorrelatedJitter()}, func(r *rand.Rand, _ int, last float64) float64 {
			low := base / 2
			return min(most, low+r.Float64()*(3*max(low, last)-low))
		}},
	}
	top := lab.Param("clients")
	ns := Pick(lab, []float64{top / 10, top}, []float64{top / 10, top / 4, top / 2, 3 * top / 4, top}, []float64{top / 10, top / 4, top / 2, 3 * top / 4, top})
	for i, n := range ns {
		ns[i] = math.Round(n)
	}
	const bin = 50 * time.Millisecond
	runs := Runs(lab, len(policies)*len(ns), Pick(lab, 3, 28, 60), func(w *sim.World, variant int) func() contention {
		policy, n := policies[variant/len(ns)], int(math.Round(ns[variant%len(ns)]*lab.In("clients")/top))
		hop := sim.Normal(10*time.Millisecond, 2*time.Millisecond)
		version, attempts := 0, 0
		var last time.Duration
		history := make([]float64, 120)
		update := func(a *sim.Actor) error {
			network := a.Rand("network")
			_ = a.Sleep(hop(network))
			read := version
			_ = a.Sleep(hop(network) + hop(network))
			attempts++
			if i := int(a.Now() / bin); i < len(history) {
				history[i]++
			}
			won := version == read
			if won {
				version++
			}
			_ = a.Sleep(hop(network))
			if !won {
				return sim.ErrFailed
			}
			return nil
		}
		tally := w.Tally()
		for client := range n {
			again := retry.New(append(policy.options, retry.Attempts(math.MaxInt), retry.NoBudget(), retry.Rand(w.Source("jitter", client)))...)
			pipeline := compose(again)
			w.Go(func(a *sim.Actor) {
				_ = tally.Call(a, func(a *sim.Actor) error { return pipeline.Run(a, sim.Operation(update)) })
				last = max(last, a.Now())
			})
		}
		return func() contention { return contention{float64(attempts), last.Seconds(), history} }
	})
	at := func(policy int, n float64) []contention { return runs[policy*len(ns)+slices.Index(ns, n)] }
	attempts := func(c contention) float64 { return c.attempts }
	seconds := func(c contention) float64 { return c.seconds }

	for _, n := range []float64{ns[0], top} {
		for i, policy := range policies {
			what := policy.name + ", " + short(n) + " clients"
			by := remember(lab, what, func() two { return pair(reference.Contend(int(n), Pick(lab, 20, 200, 200), policy.byHand)) })
			writes, took := by.a, by.b
			lab.Expect("attempts, "+what, column(at(i, n), attempts), writes, "the same clients, by hand; after Brooker")
			if n == top {
				lab.Expect("seconds until the last has succeeded, "+what, column(at(i, n), seconds), took, "the same clients, by hand; after Brooker")
			}
		}
	}
	share := mean(column(at(3, top), attempts)) / mean(column(at(1, top), attempts))
	if top == 100 {
		lab.ExpectWithin("attempts with full jitter ÷ without, 100 clients", []float64{share}, 0, .5, "“more than half” (Brooker)")
	}

	effort := plot.Panel{Title: "Work", X: plot.Axis{Label: "clients that contend"}, Y: plot.Axis{Label: "write attempts"}}
	delay := plot.Panel{Title: "Time until the last has succeeded", X: effort.X, Y: plot.Axis{Label: "seconds", Log: true}}
	history := plot.Panel{Title: short(top) + " clients: attempts over time, mean of all runs", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "attempts per 50 ms", Log: true}}
	for i, policy := range policies {
		part := runs[i*len(ns) : (i+1)*len(ns)]
		effort.Series = append(effort.Series, series(policy.name, ns, part, attempts))
		delay.Series = append(delay.Series, series(policy.name, ns, part, seconds))
		line := plot.Series{Name: policy.name}
		for j := range 60 {
			line.X = append(line.X, (float64(j)+.5)*bin.Seconds())
			line.Y = append(line.Y, mean(column(at(i, top), func(c contention) float64 { return c.history[j] })))
		}
		history.Series = append(history.Series, line)
	}
	lab.Draw(&plot.Figure{Title: "Jitter cuts the work of clients that contend", Columns: 2, Panels: []plot.Panel{effort, delay, history}})
}
