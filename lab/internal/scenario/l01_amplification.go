package scenario

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
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
		"On: retry.Attempts(n) at the layers named, with retry.RetryNested: by default a retry does not repeat what an inner retry has given up. Off: delays, jitter, budgets (except where one is named).",
	},
	Advice: []string{
		"Retry at one layer of a call path. Which one makes no difference to the load (the curves of top and bottom are one): choose the layer nearest to the failure that knows what is safe to repeat.",
		"Where several layers must retry, let them share a budget. A shared budget of 10 % of the three layers' calls bounds the worst case at 1.33 attempts per call instead of 64.",
		"Do not judge a retry policy by its cost on a normal day. At p = 0.1 all variants cost 1.11 attempts; they differ by a factor of 47 on the day of an outage.",
	},
	Limits: []string{
		"Failures are independent here. Failures that come in bursts are retried into the same burst.",
		"A shared budget needs a shared process. Across processes, tell the caller not to retry, with an error that it treats as permanent.",
	},
	Sources: []string{
		"The products telescope: (1 − p^(n^d)) / (1 − p).",
		"64 = 4³: Google, Site Reliability Engineering, chapter 22. 243 = 3⁵: Amazon Builders' Library, Timeouts, retries and backoff with jitter.",
	},
	Params: []Param{
		{"attempts", "attempts at each layer of three", "", 4, 1, 8, true},
		{"attempts5", "attempts at each layer of five", "", 3, 1, 4, true},
		{"ratio", "budget that three layers share", "of calls", .1, .01, 1, false},
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
	three, five, ratio := int(lab.Param("attempts")), int(lab.Param("attempts5")), lab.Param("ratio")
	n3, n5 := int(math.Round(lab.In("attempts"))), int(math.Round(lab.In("attempts5")))
	only := func(layer int) func() func(int) *retry.Retrier {
		return func() func(int) *retry.Retrier {
			return func(i int) *retry.Retrier {
				if i != layer {
					return nil
				}
				return atOnce(n3, retry.NoBudget())
			}
		}
	}
	variants := []struct {
		name  string
		n, d  int
		layer func() func(i int) *retry.Retrier
	}{
		{strconv.Itoa(three) + " attempts at each of 3 layers", three, 3, func() func(int) *retry.Retrier {
			return func(int) *retry.Retrier { return atOnce(n3, retry.NoBudget()) }
		}},
		{strconv.Itoa(three) + " attempts at the top only", three, 1, only(2)},
		{strconv.Itoa(three) + " attempts at the bottom only", three, 1, only(0)},
		{strconv.Itoa(three) + " attempts at each of 3 layers, one budget of " + short(100*ratio) + " %", three, 3, func() func(int) *retry.Retrier {
			budget := retry.NewBudget(lab.In("ratio"), 0)
			return func(int) *retry.Retrier { return atOnce(n3, retry.WithBudget(budget)) }
		}},
		{strconv.Itoa(five) + " attempts at each of 5 layers", five, 5, func() func(int) *retry.Retrier {
			return func(int) *retry.Retrier { return atOnce(n5, retry.NoBudget()) }
		}},
	}
	const shared = 3
	ps := []float64{.1, .3, .5, .7, .8, .9, .95, .99, 1}
	// The number of attempts of a call varies as much as its mean: the points that are checked need many calls.
	calls := map[float64]int{.1: 1000, .5: 1000, .9: 1500, .99: 600, 1: 100}
	others := Pick(lab, 20, 300, 300)
	runs := Runs(lab, len(variants)*len(ps), Pick(lab, 2, 8, 40), func(w *sim.World, variant int) func() amplified {
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
		return runs[variant*len(ps)+slices.Index(ps, p)]
	}
	attempts := func(r amplified) float64 { return r.attempts }
	success := func(r amplified) float64 { return r.success }

	for _, v := range []int{0, 1, 2, 4} {
		n := theory.Layers(variants[v].n, variants[v].d)
		for _, p := range []float64{1, .99, .9, .5, .1} {
			expected := reference.Each(theory.Attempts(p, n), theory.AttemptsDeviation(p, n), float64(calls[p]))
			lab.Expect("attempts per call, "+variants[v].name+", p = "+short(p), column(at(v, p), attempts), expected, "(1−p^(n^d))/(1−p)")
		}
		lab.Expect("success, "+variants[v].name+", p = 0.9", column(at(v, .9), success), reference.Share(theory.Success(.9, n), float64(calls[.9])), "1−p^(n^d)")
	}
	lab.Expect("attempts per call, "+variants[shared].name+", p = 1", column(at(shared, 1), attempts),
		reference.Exactly(reference.SharedBudget(3, three, ratio, calls[1])), "the same budget, counted by hand")

	figure := &plot.Figure{Title: "Attempts multiply across layers, when failure is near total", Columns: 2}
	load := plot.Panel{Title: "Load", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "attempts per call", Log: true}}
	good := plot.Panel{Title: "Success", X: load.X, Y: plot.Axis{Label: "share of calls that succeed", Min: plot.At(0)}}
	for i, v := range variants {
		part := runs[i*len(ps) : (i+1)*len(ps)]
		load.Series = append(load.Series, series(v.name, ps, part, attempts))
		good.Series = append(good.Series, series(v.name, ps, part, success))
	}
	for _, v := range []int{0, 4} {
		n := theory.Layers(variants[v].n, variants[v].d)
		load.Series = append(load.Series, theoryLine("theory, "+short(float64(variants[v].n))+" at "+short(float64(variants[v].d))+" layers", over(ps[0], ps[len(ps)-1], 100), func(p float64) float64 { return theory.Attempts(p, n) }))
	}
	figure.Panels = []plot.Panel{load, good}
	lab.Draw(figure)
}
