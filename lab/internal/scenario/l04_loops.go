package scenario

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/lab/internal/plot"
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
		"Open loop: calls come by their own clock. Serial: a client has one call in flight, and begins the next one at the time it would have come by itself, or when the last has ended. Serial with client backoff: it also waits 100 ms × 2ʲ after the j-th call in a row that failed.",
		"On: up to 3 retries, at once or after 100, 200 and 400 ms. Off: jitter, budget.",
	},
	Advice: []string{
		"Do not count on backoff to protect a dependency from traffic that comes from outside, such as users: use a budget or a breaker, which remove load.",
		"Where your clients are workers that take the next task when the last is done, backoff inside the call cuts an outage's load by 7, and a pause between failed calls by 25.",
	},
	Limits: []string{
		"The number for client backoff depends on the length of the outage, because its pause has no cap here: about 8 calls fit into 20 s.",
	},
	Sources: []string{
		"M. Brooker, What is Backoff For?, 2022. The expectations were measured with its published simulator.",
	},
	Run: runLoops,
}

type paced struct{ attempts, goodput float64 } // per second

func runLoops(lab *Lab) {
	const rate, horizon = 10.0, 20 * time.Second
	const ofClients = 100
	clients := Pick(lab, 5, ofClients, ofClients) // what they do is measured as if there were 100
	atOnce := retry.Constant(0)
	backoff := retry.Exponential(100*time.Millisecond, 10*time.Second)
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
	runs := Runs(lab, len(variants)*len(ps), Pick(lab, 4, 1, 20), func(w *sim.World, variant int) func() paced {
		v, p := variants[variant/len(ps)], ps[variant%len(ps)]
		server := &sim.Server{Service: sim.Sum(sim.Exponential(10*time.Millisecond), sim.Exponential(10*time.Millisecond)),
			Fails: func(time.Duration) float64 { return p }}
		pipeline := compose(retry.New(retry.Attempts(4), v.delays, retry.NoJitter(), retry.NoBudget()))
		call := func(a *sim.Actor) error { return pipeline.Run(a, server.Call) }
		tally := &sim.Tally{}
		if v.start == nil {
			tally = w.Open(sim.Poisson(float64(clients)*rate), horizon, call)
		} else {
			tally = w.Tally()
			for range clients {
				v.start(w, tally, call)
			}
		}
		return func() paced {
			scale := ofClients / float64(clients)
			return paced{scale * float64(server.Requests) / horizon.Seconds(), scale * float64(tally.Succeeded) / horizon.Seconds()}
		}
	})
	attempts := func(r paced) float64 { return r.attempts }
	goodput := func(r paced) float64 { return r.goodput }
	at := func(variant, p int) []paced { return runs[variant*len(ps)+p] }

	lab.Expect("attempts/s, open loop, no backoff, p = 1", column(at(0, 5), attempts), 4000, Relative(.02), "1000 · 4")
	lab.Expect("attempts/s, open loop, backoff, p = 1", column(at(1, 5), attempts), 4000, Relative(.02), "1000 · 4")
	lab.Expect("attempts/s, serial, p = 1", column(at(2, 5), attempts), 520, Relative(.05), "Brooker's program; 100·4/0.78")
	lab.Expect("attempts/s, serial with client backoff, p = 1", column(at(3, 5), attempts), 160, Relative(.10), "Brooker's program; 8 calls in 20 s")
	for i, p := range []float64{0, .5, .75} {
		j := []int{0, 2, 3}[i]
		expected := [][4]float64{{997, 1009, 985, 830}, {1878, 1906, 810, 641}, {2776, 2758, 635, 504}}[i]
		for v, variant := range variants {
			lab.Expect("attempts/s, "+variant.name+", p = "+short(p), column(at(v, j), attempts), expected[v], Relative(.05), "Brooker's program")
		}
		if i > 0 {
			good := [][4]float64{{945, 948, 407, 317}, {685, 694, 158, 127}}[i-1]
			for v, variant := range variants {
				lab.Expect("goodput/s, "+variant.name+", p = "+short(p), column(at(v, j), goodput), good[v], Relative(.06), "Brooker's program")
			}
		}
	}

	load := plot.Panel{Title: "Attempts at the dependency", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "attempts per second", Min: plot.At(0)}}
	good := plot.Panel{Title: "Goodput", X: load.X, Y: plot.Axis{Label: "successful calls per second", Min: plot.At(0)}}
	for i, v := range variants {
		part := runs[i*len(ps) : (i+1)*len(ps)]
		load.Series = append(load.Series, series(v.name, ps, part, attempts))
		good.Series = append(good.Series, series(v.name, ps, part, goodput))
	}
	load.Series = append(load.Series, theoryLine("1000 (1 − p⁴) / (1 − p)", over(0, 1, 50), func(p float64) float64 { return 1000 * theory.Attempts(p, 4) }))
	lab.Draw(&plot.Figure{Title: "Backoff removes load only where clients wait for themselves", Columns: 2, Panels: []plot.Panel{load, good}})
}

// gap returns the time between two events that come at a rate, stretched by a factor.
func gap(factor, perSecond float64) time.Duration {
	return time.Duration(factor / perSecond * float64(time.Second))
}
