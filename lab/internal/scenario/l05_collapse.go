package scenario

import (
	"strconv"
	"time"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// collapse is two smaller experiments about the same thing: a slow time without any retry, and a spike of load with
// retries that are or are not backed off.
func collapse(lab *Lab) {
	slowTime(lab)
	spike(lab)
}

// slowTime: 90 calls/s unless it is set on 10 slots of Exp(0.1 s); for 8 s everything takes three times as long.
func slowTime(lab *Lab) {
	type outcome struct{ backlog, goodput, empty float64 }
	rate := lab.Param("slowrate")
	const from, until = 20 * time.Second, 28 * time.Second
	runs := Runs(lab, 1, Pick(lab, 1, 6, 40), func(w *sim.World, _ int) func() outcome {
		var o outcome
		server := &sim.Server{Service: sim.Exponential(100 * time.Millisecond), Slots: 10, Queue: sim.Unbounded,
			Slower: func(at time.Duration) float64 {
				if at >= from && at < until {
					return 3
				}
				return 1
			}}
		good := make([]float64, 160)
		pipeline := compose(timeout.PerAttempt(time.Second))
		tally := w.Open(sim.Poisson(lab.In("slowrate")), 160*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		tally.Ended = func(came, _ time.Duration, err error) {
			if err == nil {
				good[int(came/time.Second)]++
			}
		}
		w.At(until, func() { o.backlog = float64(server.Waiting()) })
		w.Every(100*time.Millisecond, func(at time.Duration) {
			if at > until && o.empty == 0 && server.Waiting() == 0 {
				o.empty = (at - until).Seconds()
			}
		})
		return func() outcome {
			for second := 28; second+5 <= len(good) && o.goodput == 0; second++ {
				if mean(good[second:second+5]) >= .9*rate {
					o.goodput = float64(second) - until.Seconds()
				}
			}
			return o
		}
	})
	source := "the same server, by hand"
	if rate == 90 {
		source += "; fluid: 453, 35 and 45"
	}
	by := remember(lab, "slow time", func() [3]reference.Number {
		backlog, goodput, empty := reference.SlowTime(rate, 10, .1, 3, from.Seconds(), until.Seconds(), 40)
		return [3]reference.Number{backlog, goodput, empty}
	})
	lab.Expect("slow time: requests that wait at its end", column(runs[0], func(o outcome) float64 { return o.backlog }), by[0], source)
	lab.Expect("slow time: s until the goodput is back", column(runs[0], func(o outcome) float64 { return o.goodput }), by[1], source)
	lab.Expect("slow time: s until the queue is empty", column(runs[0], func(o outcome) float64 { return o.empty }), by[2], source)
}

// spike: 40 calls/s, for 5 s 80/s, on a server that is slower the more it has to do, with three attempts of 3 s.
func spike(lab *Lab) {
	type outcome struct{ goodput, timeouts []float64 } // by second of their end
	delays := [][]retry.Option{
		{retry.Constant(0)},
		{retry.Exponential(20*time.Second, 40*time.Second), retry.FullJitter()},
	}
	names := []string{"no backoff", "backoff with jitter"}
	rate := func(at time.Duration) float64 {
		if at >= 20*time.Second && at < 25*time.Second {
			return 80
		}
		return 40
	}
	runs := Runs(lab, len(delays), Pick(lab, 1, 5, 20), func(w *sim.World, variant int) func() outcome {
		o := outcome{make([]float64, 80), make([]float64, 80)}
		hop, busy := sim.Exponential(100*time.Millisecond), 0
		count := func(into []float64, at time.Duration) {
			if second := int(at / time.Second); second < len(into) {
				into[second]++
			}
		}
		// serve is one attempt. The server does not notice when the caller has gone.
		serve := sim.Operation(func(a *sim.Actor) error {
			network := a.Rand("network")
			err := a.Sleep(hop(network))
			if err == nil {
				busy++
				work := time.Second + time.Duration(busy)*10*time.Millisecond
				w.At(a.Now()+work, func() { busy-- })
				err = a.Sleep(work + hop(network))
			}
			if err != nil {
				count(o.timeouts, a.Now())
			} else {
				count(o.goodput, a.Now())
			}
			return err
		})
		again := retry.New(append(delays[variant], retry.Attempts(3), retry.NoBudget(), retry.Rand(w.Source("jitter")))...)
		pipeline := compose(again, timeout.PerAttempt(3*time.Second))
		w.Open(sim.Varying(80, rate), 80*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, serve) })
		return func() outcome { return o }
	})
	between := func(from, until int) func(outcome) float64 {
		return func(o outcome) float64 { return mean(o.goodput[from:until]) }
	}
	const source = "Brooker's simple_collapse_sim"
	for i, name := range names {
		lab.Expect("spike, "+name+": goodput/s before", column(runs[i], between(5, 20)), reference.Count(40*15).Times(1./15), "what comes; "+source)
	}
	// Whether the spike is enough depends on chance; three published runs all collapsed.
	var collapsed []outcome
	for _, o := range runs[0] {
		if mean(o.goodput[60:79]) < 1 {
			collapsed = append(collapsed, o)
		}
	}
	if len(runs[0]) > 3 {
		lab.ExpectThat("spike, no backoff: some runs never recover", len(collapsed) > 0, strconv.Itoa(len(collapsed))+" of "+strconv.Itoa(len(runs[0])), "at least one", source+": 3 of 3")
	}
	if len(collapsed) > 0 {
		// Nobody is answered within 3 s any more: each call makes its three attempts.
		lab.Expect("spike, no backoff: timeouts/s from 60 s on, where it collapses", column(collapsed, func(o outcome) float64 { return mean(o.timeouts[60:79]) }), reference.Count(40*19).Times(3./19), "3 attempts of 40 calls/s; "+source+": 118 to 124")
	}
	recovered := reference.Count(40 * 19).Times(1. / 19)
	recovered.Error = .4 // what was put off comes back for some time yet
	lab.Expect("spike, backoff with jitter: goodput/s at the end", column(runs[1], between(60, 79)), recovered, "what comes; "+source)

	p := plot.Panel{Title: "Goodput", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "successful calls per second", Min: plot.At(0)}}
	for i, name := range names {
		p.Series = append(p.Series, plot.Series{Name: name, X: over(0, 79, 79), Y: runs[i][0].goodput})
	}
	p.Series = append(p.Series, theorySteps("calls that come", over(0, 79, 79), func(x float64) float64 { return rate(time.Duration(x * 1e9)) }))
	p.Shades = []plot.Span{{From: 20, To: 25, Kind: "80 calls/s"}}
	lab.Draw(&plot.Figure{Name: "spike", Title: "A spike of 5 s: three attempts at once, or backed off", Panels: []plot.Panel{p}})
}
