package scenario

import (
	"cmp"
	"context"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

var amplification = Scenario{
	Name:     "L1",
	Page:     "retry-amplification",
	Question: "What do retries at every layer cost?",
	Answer:   "They multiply, but only when failure is close to total: 4 attempts at each of 3 layers are 64 attempts per call when everything fails, and still 2.0 when half of it does.",
	Setup: []string{
		"A chain of d layers; each makes up to n attempts of the layer below. An attempt at the bottom fails with probability p, independently. Nothing takes time.",
		"On: retry.Attempts(n) at the layers named, with retry.RetryNested: by default a retry leaves alone what a retry inside has given up. Off: delays, jitter, budgets (except where one is named).",
	},
	Advice: []string{
		"Retry at one layer of a call path. Which one makes no difference to the load (the curves of top and bottom are one): choose the layer nearest to the failure that knows what is safe to repeat.",
		"Where several layers must retry, let them share a budget. 10 % of the calls of three layers bounds the worst case at 1.375 attempts per call instead of 64.",
		"Do not judge a retry policy by its cost on a normal day. At p = 0.1 all variants cost 1.11 attempts; they differ by a factor of 47 on the day of an outage.",
	},
	Limits: []string{
		"Failures are independent here. Failures that come in bursts are retried into the same burst.",
		"A shared budget needs a shared process. Across processes, tell the caller not to retry (an error that it takes as permanent).",
	},
	Sources: []string{
		"The products telescope: (1 − p^(n^d)) / (1 − p).",
		"64 = 4³: Google, Site Reliability Engineering, chapter 22. 243 = 3⁵: Amazon Builders' Library, Timeouts, retries and backoff with jitter.",
	},
	Run: runAmplification,
}

// chain returns an operation that is d layers of retries around bottom. layer makes the retry policy of a layer, nil
// for none; 0 is the bottom one.
func chain(d int, bottom func(context.Context) error, layer func(i int) *retry.Retrier) func(context.Context) error {
	op := bottom
	for i := range d {
		below := op
		var layers []policy.Layer
		if retrier := layer(i); retrier != nil {
			layers = append(layers, retrier)
		}
		pipeline := compose(layers...)
		op = func(ctx context.Context) error { return pipeline.Run(ctx, below) }
	}
	return op
}

type amplified struct{ attempts, success float64 }

func runAmplification(lab *Lab) {
	atOnce := func(n int, more ...retry.Option) *retry.Retrier {
		return retry.New(append([]retry.Option{retry.Attempts(n), retry.Constant(0), retry.RetryNested()}, more...)...)
	}
	variants := []struct {
		name  string
		n, d  int
		layer func() func(i int) *retry.Retrier
	}{
		{"4 attempts at each of 3 layers", 4, 3, func() func(int) *retry.Retrier {
			return func(int) *retry.Retrier { return atOnce(4, retry.NoBudget()) }
		}},
		{"4 attempts at the top only", 4, 1, func() func(int) *retry.Retrier {
			return func(i int) *retry.Retrier {
				if i < 2 {
					return nil
				}
				return atOnce(4, retry.NoBudget())
			}
		}},
		{"4 attempts at the bottom only", 4, 1, func() func(int) *retry.Retrier {
			return func(i int) *retry.Retrier {
				if i > 0 {
					return nil
				}
				return atOnce(4, retry.NoBudget())
			}
		}},
		{"4 attempts at each of 3 layers, one budget of 10 %", 4, 3, func() func(int) *retry.Retrier {
			budget := retry.NewBudget(0.1, 0)
			return func(int) *retry.Retrier { return atOnce(4, retry.WithBudget(budget)) }
		}},
		{"3 attempts at each of 5 layers", 3, 5, func() func(int) *retry.Retrier {
			return func(int) *retry.Retrier { return atOnce(3, retry.NoBudget()) }
		}},
	}
	ps := []float64{.1, .3, .5, .7, .8, .9, .95, .99, 1}
	// The number of attempts of a call varies as much as its mean: the points that are checked need many calls.
	calls := Pick(lab,
		map[float64]int{.1: 1000, .5: 1000, .9: 1000, .99: 300, 1: 100},
		map[float64]int{.1: 5000, .5: 10_000, .9: 20_000, .99: 8000, 1: 300},
		map[float64]int{.1: 40_000, .5: 40_000, .9: 40_000, .99: 40_000, 1: 20_000})
	others := Pick(lab, 20, 1500, 1500)
	runs := Runs(lab, len(variants)*len(ps), Pick(lab, 8, 4, 20), func(w *sim.World, variant int) func() amplified {
		v, p := variants[variant/len(ps)], ps[variant%len(ps)]
		attempts := 0
		luck := w.Rand("luck")
		bottom := func(context.Context) error {
			attempts++
			if luck.Float64() < p {
				return sim.ErrFailed
			}
			return nil
		}
		top := chain(max(3, v.d), bottom, v.layer())
		tally := w.Tally()
		w.Go(func(a *sim.Actor) {
			for range cmp.Or(calls[p], others) {
				_ = tally.Call(a, func(a *sim.Actor) error { return top(a) })
			}
		})
		return func() amplified { return amplified{float64(attempts) / float64(tally.Calls), tally.Success()} }
	})
	at := func(variant int, p float64) []amplified {
		for i := range ps {
			if ps[i] == p {
				return runs[variant*len(ps)+i]
			}
		}
		panic("no such p")
	}
	attempts := func(r amplified) float64 { return r.attempts }

	lab.Expect("attempts per call, 4 × 3 layers, p = 1", column(at(0, 1), attempts), 64, Exactly(), "4³, SRE book ch. 22")
	lab.Expect("attempts per call, 3 × 5 layers, p = 1", column(at(4, 1), attempts), 243, Exactly(), "3⁵, Builders' Library")
	for _, p := range []float64{.99, .9, .5, .1} {
		for _, v := range []int{0, 4} {
			lab.Expect("attempts per call, "+variants[v].name+", p = "+short(p), column(at(v, p), attempts),
				theory.Attempts(p, theory.Layers(variants[v].n, variants[v].d)), Relative(.01), "(1−p^(n^d))/(1−p)")
		}
	}
	for _, v := range []int{1, 2} {
		lab.Expect("attempts per call, "+variants[v].name+", p = 0.9", column(at(v, .9), attempts), theory.Attempts(.9, 4), Relative(.01), "(1−p⁴)/(1−p)")
	}
	lab.Expect("success, 4 × 3 layers, p = 0.99", column(at(0, .99), func(r amplified) float64 { return r.success }), theory.Success(.99, 64), Relative(.01), "1−p^(n^d)")
	lab.ExpectWithin("attempts per call, one shared budget of 10 %, p = 1", column(at(3, 1), attempts), 1, 1.376, "r ≤ 0.1 (3 + 2r)")

	figure := &plot.Figure{Title: "Attempts multiply across layers, when failure is near total", Columns: 2}
	load := plot.Panel{Title: "Load", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "attempts per call", Log: true}}
	success := plot.Panel{Title: "Success", X: load.X, Y: plot.Axis{Label: "share of calls that succeed", Min: plot.At(0)}}
	for i, v := range variants {
		part := runs[i*len(ps) : (i+1)*len(ps)]
		load.Series = append(load.Series, series(v.name, ps, part, attempts))
		success.Series = append(success.Series, series(v.name, ps, part, func(r amplified) float64 { return r.success }))
	}
	load.Series = append(load.Series, theoryLine("theory, 4 × 3", over(.1, .999, 100), func(p float64) float64 { return theory.Attempts(p, 64) }))
	figure.Panels = []plot.Panel{load, success}
	lab.Draw(figure)
}
