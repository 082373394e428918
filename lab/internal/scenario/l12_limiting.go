package scenario

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
)

var limiting = Scenario{
	Name:     "L12",
	Page:     "limits",
	Question: "Rate limit, concurrency limit, or adaptive throttle?",
	Answer:   "A rate limit keeps an agreement, a concurrency limit protects you from slowness, and a throttle follows what a dependency accepts: it sends K times that, so K = 2 means 500/s to a dependency that accepts 250.",
	Setup: []string{
		"Waiting: ratelimit.New(10, 1) with callers that wait; Poisson arrivals.",
		"Throttle: 1,000 calls/s, which take no time, on a backend that accepts 250/s (a token bucket with 0.1 s of burst). throttle.K(k) over a window of 120 s, padding 1 (the book's formula). 400 s, of which the last 200 count.",
		"Slowness: more calls than can be served; the latency doubles from 50 to 100 ms halfway. ratelimit.New(100, 1) is compared with bulkhead.New(5), both with callers that wait.",
		"On: the policy named. Off: everything else.",
	},
	Advice: []string{
		"Against a quota: a rate limiter. Waiting costs ρ / (2 r (1 − ρ)), so keep the offered rate below 80 % of the quota or refuse instead of waiting.",
		"Against slowness: a bulkhead. When the latency doubles, a rate limit lets twice as many calls pile up; a bulkhead halves the throughput instead.",
		"Against an overload whose size you do not know: a throttle with K = 2. A lower K wastes less on refusals (275/s sent for 250 accepted at K = 1.1), and notices a recovery later.",
		"Do not use fixed windows: around a boundary they admit twice the limit.",
	},
	Limits: []string{
		"K ≥ 4 never throttles here, because the dependency accepts a quarter of what is offered.",
		"All of them are per process. Give each of k processes a k-th of the quota.",
	},
	Sources: []string{
		"M/D/1: Wq = ρ / (2 r (1 − ρ)).",
		"Google, Site Reliability Engineering, chapter 21, adaptive throttling; in the steady state sent = K × accepted.",
	},
	Params: []Param{
		{"limit", "of the rate limiter whose callers wait", "per second", 10, 5, 20, false},
		{"accepts", "of the backend behind the throttle", "per second", 250, 50, 900, false},
		{"k", "of the throttle, the second of four", "", 2, 1.2, 3.5, false},
		{"slots", "of the bulkhead against slowness", "", 5, 1, 15, true},
	},
	Run: runLimiting,
}

func runLimiting(lab *Lab) {
	waiting(lab)
	bursts(lab)
	throttling(lab)
	slowness(lab)
}

func waiting(lab *Lab) {
	rate := lab.Param("limit")
	loads := []float64{.5 * rate, .8 * rate, .3 * rate, .7 * rate, .9 * rate}
	calls := Pick(lab, []float64{3000, 3000, 200, 200, 200}, []float64{20_000, 20_000, 1000, 3000, 8000},
		[]float64{100_000, 100_000, 100_000, 100_000, 100_000})
	runs := Runs(lab, len(loads), Pick(lab, 3, 5, 10), func(w *sim.World, variant int) func() float64 {
		pipeline := compose(ratelimit.New(lab.In("limit"), 1, ratelimit.MaxWait(1000*time.Hour), ratelimit.MaxWaiters(1_000_000)))
		server := &sim.Server{}
		tally := w.Open(sim.Poisson(loads[variant]), gap(calls[variant], loads[variant]), func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		return func() float64 { return tally.MeanLatency().Seconds() }
	})
	measured := plot.Series{Name: "measured", Style: plot.Points}
	for i, load := range loads {
		if i < 2 {
			byHand := remember(lab, "wait"+short(load), func() two { return pair(reference.Queue(1, load/rate, calls[i]*rate/load, 0, true, 30)) }).b
			expected := reference.Number{Mean: theory.DeterministicWait(load, rate), Deviation: byHand.Deviation / rate}
			lab.Expect("mean wait in s, "+short(rate)+"/s, "+short(load)+"/s offered", runs[i], expected, "M/D/1: ρ/(2r(1−ρ))")
		}
		measured.X, measured.Y = append(measured.X, load), append(measured.Y, mean(runs[i]))
	}
	lab.Draw(&plot.Figure{Name: "wait", Title: "A rate limiter whose callers wait is a queue", Panels: []plot.Panel{{
		Title: short(rate) + " tokens per second, burst 1", X: plot.Axis{Label: "calls per second", Min: plot.At(0)}, Y: plot.Axis{Label: "mean wait, s", Min: plot.At(0)},
		Series: []plot.Series{measured, theoryLine("ρ / (2 r (1 − ρ))", over(0, slices.Max(loads), 60), func(load float64) float64 { return theory.DeterministicWait(load, rate) })},
	}}})
}

// fixedWindow is how a limit is often written, for comparison: so many in each second of the clock.
type fixedWindow struct {
	limit, admitted int
	window          int64
}

func (*fixedWindow) Stage() policy.Stage { return policy.StageRateLimit }

func (f *fixedWindow) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if now := time.Now().Unix(); now != f.window {
		f.window, f.admitted = now, 0
	}
	if f.admitted == f.limit {
		return ctx, policy.Ticket{}, &policy.Rejection{Kind: "fixed window"}
	}
	f.admitted++
	return ctx, policy.Ticket{}, nil
}

func (*fixedWindow) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// bursts checks the bound of a token bucket in every window, whatever its length: at most burst + rate × length.
func bursts(lab *Lab) {
	type outcome struct {
		excess float64 // the most that any window admitted above rate × length
		most   float64 // the most in any window of a second
		at     []float64
	}
	const rate, burst = 100.0, 20
	variants := []func() policy.Layer{
		func() policy.Layer { return ratelimit.New(rate, burst) },
		func() policy.Layer { return &fixedWindow{limit: rate} },
	}
	runs := Runs(lab, len(variants), Pick(lab, 4, 4, 10), func(w *sim.World, variant int) func() outcome {
		var at []float64
		pipeline := compose(variants[variant]())
		server := &sim.Server{Attempted: func(now time.Duration) { at = append(at, now.Seconds()) }}
		// A burst of 0.7 s in every 2 s, across the boundary between two seconds of the clock.
		load := sim.Varying(600, func(now time.Duration) float64 {
			if part := now % (2 * time.Second); part > 700*time.Millisecond && part < 1400*time.Millisecond {
				return 600
			}
			return 1
		})
		w.Open(load, 30*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		return func() outcome {
			o := outcome{at: at}
			lowest, first := math.Inf(1), 0
			for i, t := range at {
				lowest = min(lowest, float64(i)-t*rate) // for windows that begin with this one
				o.excess = max(o.excess, float64(i+1)-t*rate-lowest)
				for at[first] <= t-1 {
					first++
				}
				o.most = max(o.most, float64(i-first+1))
			}
			return o
		}
	})
	lab.ExpectWithin("token bucket: most admitted in any window above rate × length", column(runs[0], func(o outcome) float64 { return o.excess }), 15, burst+1e-6, "at most the burst, 20")
	lab.ExpectWithin("fixed window: most admitted in any second at 100/s", column(runs[1], func(o outcome) float64 { return o.most }), 190, 200, "twice the limit")
	p := plot.Panel{Title: "Load comes between 0.7 s and 1.4 s", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "admitted in the last second", Min: plot.At(0)}}
	for i, name := range []string{"token bucket, 100/s, burst 20", "fixed window, 100 in each second"} {
		s := plot.Series{Name: name, Style: plot.Step}
		at := runs[i][0].at
		for t := 0.0; t <= 4; t += .02 {
			n := 0.0
			for _, admitted := range at {
				if admitted > t-1 && admitted <= t {
					n++
				}
			}
			s.X, s.Y = append(s.X, t), append(s.Y, n)
		}
		p.Series = append(p.Series, s)
	}
	p.Series = append(p.Series, plot.Series{Name: "agreed", Colour: plot.Grey, X: []float64{0, 4}, Y: []float64{rate, rate}})
	lab.Draw(&plot.Figure{Name: "bursts", Title: "A fixed window admits twice its limit around a boundary", Panels: []plot.Panel{p}})
}

func throttling(lab *Lab) {
	type outcome struct{ sent, accepted float64 } // per second
	const horizon, from = 400 * time.Second, 200 * time.Second
	ks, real := []float64{1.1, lab.Param("k"), 3, 5}, []float64{1.1, lab.In("k"), 3, 5}
	accepts := lab.Param("accepts")
	scale := Pick(lab, 10.0, 5, 5) // the rates are that much less, and measured as if they were not
	errOverloaded := errors.New("overloaded")
	runs := Runs(lab, len(ks), Pick(lab, 1, 1, 5), func(w *sim.World, variant int) func() outcome {
		var o outcome
		backend := compose(ratelimit.New(lab.In("accepts")/scale, 25)) // what the dependency does to protect itself
		pipeline := compose(throttle.New(throttle.K(real[variant]), throttle.Window(120*time.Second, 120), throttle.Padding(1), throttle.Rand(w.Source("throttle"))))
		w.Open(sim.Poisson(1000/scale), horizon, func(a *sim.Actor) error {
			counted := 0.0
			if a.Now() >= from {
				counted = scale / (horizon - from).Seconds()
			}
			return pipeline.Run(a, func(ctx context.Context) error {
				o.sent += counted
				if backend.Run(ctx, func(context.Context) error { return nil }) != nil {
					return errOverloaded
				}
				o.accepted += counted
				return nil
			})
		})
		return func() outcome { return o }
	})
	sent := func(o outcome) float64 { return o.sent }
	for i, k := range ks {
		by := remember(lab, "throttle"+short(k), func() two { return pair(reference.Throttled(k, 1000/scale, accepts/scale, 25, 12)) })
		out, in := by.a, by.b
		lab.Expect("sent/s, K = "+short(k), column(runs[i], sent), out.Times(scale), "the same throttle, by hand; K × accepted")
		lab.Expect("accepted/s, K = "+short(k), column(runs[i], func(o outcome) float64 { return o.accepted }), in.Times(scale), "the same throttle, by hand; the capacity")
	}
	lab.Draw(&plot.Figure{Name: "throttle", Title: "An adaptive throttle sends K times what is accepted", Panels: []plot.Panel{{
		Title: "1,000 calls/s, of which the backend accepts " + short(accepts), X: plot.Axis{Label: "K", Min: plot.At(1)}, Y: plot.Axis{Label: "per second", Min: plot.At(0)},
		Series: []plot.Series{
			{Name: "sent", Style: plot.Points, X: ks, Y: []float64{mean(column(runs[0], sent)), mean(column(runs[1], sent)), mean(column(runs[2], sent)), mean(column(runs[3], sent))}},
			series("accepted", ks, runs, func(o outcome) float64 { return o.accepted }),
			theoryLine("min(K · accepted, 1000)", over(1, slices.Max(ks), 40), func(k float64) float64 { return min(accepts*k, 1000) }),
		},
	}}})
}

func slowness(lab *Lab) {
	type outcome struct{ inFlight, throughput []float64 } // by second
	const seconds = 40
	slots := lab.Param("slots")
	variants := []struct {
		name  string
		layer func() policy.Layer
	}{
		{"rate limit, 100/s", func() policy.Layer { return ratelimit.New(100, 1, ratelimit.MaxWait(time.Second)) }},
		{"bulkhead of " + short(slots), func() policy.Layer {
			return bulkhead.New(int(math.Round(lab.In("slots"))), bulkhead.Queue(100, 10*time.Second))
		}},
	}
	runs := Runs(lab, len(variants), Pick(lab, 2, 2, 5), func(w *sim.World, variant int) func() outcome {
		o := outcome{make([]float64, seconds), make([]float64, seconds)}
		pipeline := compose(variants[variant].layer())
		inFlight := 0.0
		latency := func(at time.Duration) time.Duration {
			if at < seconds/2*time.Second {
				return 50 * time.Millisecond
			}
			return 100 * time.Millisecond
		}
		operation := sim.Operation(func(a *sim.Actor) error {
			inFlight++
			err := a.Sleep(latency(a.Now()))
			inFlight--
			if second := int(a.Now() / time.Second); second < seconds {
				o.throughput[second]++
			}
			return err
		})
		w.Every(10*time.Millisecond+time.Microsecond, func(at time.Duration) {
			if second := int(at / time.Second); second < seconds {
				o.inFlight[second] += inFlight / 100
			}
		})
		w.Open(sim.Poisson(200), seconds*time.Second, func(a *sim.Actor) error { return pipeline.Run(a, operation) })
		return func() outcome { return o }
	})
	// There is always somebody who waits, so chance has little to say: only what is under way at the borders.
	full := func(v float64) reference.Number { return reference.Number{Mean: v, Error: v / 200} }
	part := func(values func(outcome) []float64, from, until int) func(outcome) float64 {
		return func(o outcome) float64 { return mean(values(o)[from:until]) }
	}
	inFlight := func(o outcome) []float64 { return o.inFlight }
	throughput := func(o outcome) []float64 { return o.throughput }
	for i, expected := range [][4]float64{{5, 10, 100, 100}, {slots, slots, 20 * slots, 10 * slots}} {
		name := variants[i].name
		lab.Expect("in flight at 50 ms, "+name, column(runs[i], part(inFlight, 5, 20)), full(expected[0]), "Little")
		lab.Expect("in flight at 100 ms, "+name, column(runs[i], part(inFlight, 22, 40)), full(expected[1]), "Little")
		lab.Expect("throughput/s at 50 ms, "+name, column(runs[i], part(throughput, 5, 20)), full(expected[2]), "Little")
		lab.Expect("throughput/s at 100 ms, "+name, column(runs[i], part(throughput, 22, 40)), full(expected[3]), "Little")
	}
	panel := func(title, label string, values func(outcome) []float64) plot.Panel {
		p := plot.Panel{Title: title, X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: label, Min: plot.At(0)}, Shades: []plot.Span{{From: seconds / 2, To: seconds, Kind: "latency doubled"}}}
		for i, v := range variants {
			p.Series = append(p.Series, plot.Series{Name: v.name, X: over(0, seconds-1, seconds-1), Y: values(runs[i][0])})
		}
		return p
	}
	lab.Draw(&plot.Figure{Name: "slowness", Title: "The latency doubles at 20 s", Columns: 2, Panels: []plot.Panel{
		panel("Calls in flight", "calls", inFlight), panel("Throughput", "calls per second", throughput),
	}})
}
