package scenario

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/retry"
)

var loops = Scenario{
	Name:     "L4",
	Page:     "backoff",
	Question: "What is backoff for?",
	Answer:   "For clients that wait for their own answers. With arrivals from outside it only moves load to later: 4,000 attempts/s in an outage, with or without backoff. With clients that wait, 4,000 become 520.",
	Setup: []string{
		"100 clients with 10 calls a second each, for 20 s. Request and answer travel Exp(10 ms) each. An attempt fails with probability p.",
		"Open loop: calls arrive at times that do not depend on earlier calls. Serial: a client has one call in flight, and begins the next one at its arrival time, or when the last has ended, whichever is later. Serial with client backoff: it also waits 100 ms × 2ʲ after the j-th failed call in a row.",
		"On: up to 3 retries, at once or after 100, 200 and 400 ms. Off: jitter, budget.",
	},
	Advice: []string{
		"Do not count on backoff to protect a dependency from traffic that comes from outside, such as users: use a budget or a breaker, which remove load.",
		"Where your clients are workers that take the next task when the last is done, backoff inside the call divides an outage's load by 7, and a pause between failed calls divides it by 25.",
	},
	Limits: []string{
		"The number for client backoff depends on the length of the outage, because its pause has no cap here: about 8 calls fit into 20 s.",
	},
	Sources: []string{
		"M. Brooker, What is Backoff For?, 2022. The expectations come from the same clients, written down again without the library.",
	},
	Params: []Param{
		{"rate", "calls of each client", "per second", 10, 1, 50, false},
		{"backoff", "the first delay, which then doubles", "ms", 100, 1, 1000, false},
		{"attempts", "of each call", "", 4, 1, 5, true},
	},
	Run: runLoops,
}

type paced struct{ attempts, goodput float64 } // per second

func runLoops(lab *Lab) {
	const horizon = 20 * time.Second
	const ofClients, clients = 100, 10 // what a world's clients do is measured as if there were 100 of them
	const scale = float64(ofClients) / clients
	rate, tries := lab.In("rate"), int(math.Round(lab.In("attempts")))
	atOnce := retry.Constant(0)
	backoff := retry.Exponential(gap(lab.In("backoff")/1000, 1), 10*time.Second)
	variants := []struct {
		name   string
		delays retry.Option
		start  func(w *sim.World, tally *sim.Tally, call func(*sim.Actor) error)
	}{
		{"open loop, no backoff", atOnce, nil},
		{"open loop, backoff", backoff, nil},
		{"serial, backoff", backoff, func(w *sim.World, tally *sim.Tally, call func(*sim.Actor) error) {
			w.Go(func(a *sim.Actor) {
				pause := a.Rand("pause")
				for next := gap(pause.ExpFloat64(), rate); ; next += gap(pause.ExpFloat64(), rate) {
					_ = a.Sleep(next - a.Now())
					if next = a.Now(); next >= horizon {
						return
					}
					_ = tally.Call(a, call)
				}
			})
		}},
		{"serial, backoff, client backoff", backoff, func(w *sim.World, tally *sim.Tally, call func(*sim.Actor) error) {
			w.Go(func(a *sim.Actor) {
				pause, failures := a.Rand("pause"), 0.0
				for {
					wait := gap(pause.ExpFloat64(), rate)
					if failures > 0 {
						wait += gap(math.Pow(2, failures-1), rate)
					}
					_ = a.Sleep(wait)
					if a.Now() >= horizon {
						return
					}
					if tally.Call(a, call) != nil {
						failures++
					} else {
						failures = 0
					}
				}
			})
		}},
	}
	ps := []float64{0, .25, .5, .75, .9, 1}
	runs := Runs(lab, len(variants)*len(ps), Pick(lab, 2, 6, 100), func(w *sim.World, variant int) func() paced {
		v, p := variants[variant/len(ps)], ps[variant%len(ps)]
		server := &sim.Server{Service: sim.Sum(sim.Exponential(10*time.Millisecond), sim.Exponential(10*time.Millisecond)),
			Fails: func(time.Duration) float64 { return p }}
		pipeline := compose(retry.New(retry.Attempts(tries), v.delays, retry.NoJitter(), retry.NoBudget()))
		call := func(a *sim.Actor) error { return pipeline.Run(a, server.Call) }
		tally := &sim.Tally{}
		if v.start == nil {
			tally = w.Open(sim.Poisson(clients*rate), horizon, call)
		} else {
			tally = w.Tally()
			for range clients {
				v.start(w, tally, call)
			}
		}
		return func() paced {
			return paced{scale * float64(server.Requests) / horizon.Seconds(), scale * float64(tally.Succeeded) / horizon.Seconds()}
		}
	})
	attempts := func(r paced) float64 { return r.attempts }
	goodput := func(r paced) float64 { return r.goodput }
	at := func(variant, p int) []paced { return runs[variant*len(ps)+p] }

	perClient, first, n := lab.Param("rate"), lab.Param("backoff")/1000, int(lab.Param("attempts"))
	calls := clients * perClient * horizon.Seconds()
	for i, p := range ps {
		if p != 0 && p != .5 && p != .75 && p != 1 {
			continue
		}
		for v, variant := range variants {
			// The number of calls is by chance, and so is the number of attempts of each.
			tried, deviation := theory.Attempts(p, n), theory.AttemptsDeviation(p, n)
			sent := reference.Each(perClient*tried, perClient*math.Hypot(tried, deviation), calls)
			good := reference.Each(perClient*theory.Success(p, n), perClient*math.Sqrt(theory.Success(p, n)), calls)
			source := "(1−pⁿ)/(1−p)"
			if v >= 2 {
				by := remember(lab, variant.name+short(p), func() two { return pair(reference.Serial(p, perClient, first, n, v == 3)) })
				sent, good = by.a.Of(clients), by.b.Of(clients)
				source = "the same client, by hand; after Brooker"
			}
			lab.Expect("attempts/s, "+variant.name+", p = "+short(p), column(at(v, i), attempts), sent.Times(ofClients), source)
			lab.Expect("goodput/s, "+variant.name+", p = "+short(p), column(at(v, i), goodput), good.Times(ofClients), source)
		}
	}

	load := plot.Panel{Title: "Attempts at the dependency", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "attempts per second", Min: plot.At(0)}}
	good := plot.Panel{Title: "Goodput", X: load.X, Y: plot.Axis{Label: "successful calls per second", Min: plot.At(0)}}
	for i, v := range variants {
		part := runs[i*len(ps) : (i+1)*len(ps)]
		load.Series = append(load.Series, series(v.name, ps, part, attempts))
		good.Series = append(good.Series, series(v.name, ps, part, goodput))
	}
	load.Series = append(load.Series, theoryLine("open loop: (1 − pⁿ) / (1 − p)", over(ps[0], ps[len(ps)-1], 50), func(p float64) float64 { return ofClients * perClient * theory.Attempts(p, n) }))
	lab.Draw(&plot.Figure{Title: "Backoff removes load only where clients wait for themselves", Columns: 2, Panels: []plot.Panel{load, good}})
}

// gap returns the time between two events that come at a rate, stretched by a factor.
func gap(factor, perSecond float64) time.Duration {
	return time.Duration(factor / perSecond * float64(time.Second))
}
