package scenario

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/lab/internal/theory"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

var budgets = Scenario{
	Name:     "L2",
	Page:     "retry-budgets",
	Question: "Retry budget, fixed retries, or retries behind a breaker?",
	Answer:   "A budget is like retries when failures are rare and like no retries when they are common: in a hard outage three retries send 400 % of the load, a budget of 10 % sends 110 %.",
	Setup: []string{
		"100 clients with 10 calls a second each, open loop, for 20 s, so 200 calls per client. Request and answer travel Exp(10 ms) each. An attempt fails with probability p. State is per client.",
		"On: the budget named. Off: delays and jitter.",
		"The bucket of 5, the counter of failures, the bucket of 500 and the bound on concurrent retries are other people's policies, written here as guards of a few lines.",
	},
	Advice: []string{
		"Keep a budget on. The library's default, 20 % of the calls plus 10 per second, is sized for one retrier that serves many calls. In a client with few calls the 10 per second dominate: at 10 calls per second they allow 220 %. Use NewBudget(0.1, 0), or one budget for all clients of the process, where the load in an outage matters.",
		"Do not gate retries by a counter of all failures since the start: it helps less than the budget at every p (93 % success against 99 % at p = 0.1), because it stops all retries once the share is reached.",
		"The allowance of a full bucket is per client: (size − 1) divided by the calls of the run. A thousand clients with a bucket of 5 and 20 calls each send 130 %, not 110 %.",
	},
	Limits: []string{
		"A budget bounds the load; it does not empty a queue that has already built up (see the retry storm).",
		"Per-client state learns slowly in clients that make few calls.",
	},
	Sources: []string{
		"M. Brooker, Fixing retries with token buckets and circuit breakers, 2022, and its published simulator, whose measured numbers are the expectations here.",
		"Finagle's RetryBudget; gRPC proposal A6; AWS SDK standard retry mode; Envoy's retry budget.",
	},
	Run: runBudgets,
}

// errNoRetry is why the guards below refuse.
var errNoRetry = errors.New("no retry allowed")

// retryRule is a guard, innermost of a client's pipeline, that decides whether an attempt that is a retry may be made.
type retryRule struct {
	first func() // a call begins
	again func() bool
	ended func(retry, failed bool)
}

func (*retryRule) Stage() policy.Stage { return policy.StageHedge }

func (r *retryRule) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	ticket := policy.Ticket{Number: int64(retry.Attempt(ctx))}
	if ticket.Number == 1 {
		r.first()
	} else if !r.again() {
		return ctx, ticket, &policy.Rejection{Kind: "retry rule", Reason: errNoRetry}
	}
	return ctx, ticket, nil
}

func (r *retryRule) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	r.ended(ticket.Number > 1, !outcome.Succeeded())
}

// bucket is tokens that calls fill and retries take: a retry needs more than needs, and takes cost; a success of a
// retry gives refund back.
func bucket(size, perCall, needs, cost, refund float64) *retryRule {
	tokens := size
	return &retryRule{
		first: func() { tokens = min(size, tokens+perCall) },
		again: func() bool {
			if tokens <= needs {
				return false
			}
			tokens -= cost
			return true
		},
		ended: func(retry, failed bool) {
			if retry && !failed {
				tokens = min(size, tokens+refund)
			}
		},
	}
}

// failureCounter allows retries while failed attempts are at most a share of the calls, counted since the start.
func failureCounter(share float64) *retryRule {
	calls, failures := 0.0, 0.0
	return &retryRule{
		first: func() { calls++ },
		again: func() bool { return failures <= share*calls },
		ended: func(_, failed bool) {
			if failed {
				failures++
			}
		},
	}
}

// concurrentRetries bounds the retries in flight by a share of all attempts in flight, and at least least.
func concurrentRetries(share, least float64) *retryRule {
	active, retries := 0.0, 0.0
	return &retryRule{
		first: func() { active++ },
		again: func() bool {
			if retries+1 > max(least, share*(active+1)) {
				return false
			}
			active++
			retries++
			return true
		},
		ended: func(retry, _ bool) {
			active--
			if retry {
				retries--
			}
		},
	}
}

type loaded struct{ success, load float64 }

func runBudgets(lab *Lab) {
	atOnce := func(attempts int, option retry.Option) *retry.Retrier {
		return retry.New(retry.Attempts(attempts), retry.Constant(0), option)
	}
	policies := []struct {
		name   string
		layers func() []policy.Layer // of one client
	}{
		{"no retries", func() []policy.Layer { return nil }},
		{"3 retries", func() []policy.Layer { return []policy.Layer{atOnce(4, retry.NoBudget())} }},
		{"bucket of 5, 10 %", func() []policy.Layer {
			return []policy.Layer{atOnce(1000, retry.NoBudget()), bucket(5, .1, 1, 1, 0)}
		}},
		{"3 retries, counter of failures 10 %", func() []policy.Layer {
			return []policy.Layer{atOnce(4, retry.NoBudget()), failureCounter(.1)}
		}},
		{"library: NewBudget(0.1, 0)", func() []policy.Layer {
			return []policy.Layer{atOnce(1000, retry.WithBudget(retry.NewBudget(.1, 0)))}
		}},
		{"library: NewBudget(0.2, 10), after Finagle", func() []policy.Layer {
			return []policy.Layer{atOnce(1000, retry.WithBudget(retry.NewBudget(.2, 10)))}
		}},
		{"library: NewTokenBudget(10, 0.1), after gRPC", func() []policy.Layer {
			return []policy.Layer{atOnce(5, retry.WithBudget(retry.NewTokenBudget(10, .1)))}
		}},
		{"bucket of 500, cost 14, after AWS", func() []policy.Layer {
			return []policy.Layer{atOnce(3, retry.NoBudget()), bucket(500, 0, 13.5, 14, 14)}
		}},
		{"bucket of 500, cost 5, after AWS for throttling", func() []policy.Layer {
			return []policy.Layer{atOnce(3, retry.NoBudget()), bucket(500, 0, 4.5, 5, 5)}
		}},
		{"20 % of attempts in flight, after Envoy", func() []policy.Layer {
			return []policy.Layer{atOnce(4, retry.NoBudget()), concurrentRetries(.2, 3)}
		}},
	}
	// A quick run has fewer clients, who make as many calls each.
	scale := Pick(lab, 20, 1, 1)
	clients, rate := 100/scale, 1000.0/float64(scale)
	const usual = 20 * time.Second
	model := func(w *sim.World, clients int, p float64, horizon time.Duration, layers func() []policy.Layer) func() loaded {
		server := &sim.Server{Service: sim.Sum(sim.Exponential(10*time.Millisecond), sim.Exponential(10*time.Millisecond)),
			Fails: func(time.Duration) float64 { return p }}
		pipelines := make([]*resilience.Pipeline, clients)
		for i := range pipelines {
			pipelines[i] = compose(layers()...)
		}
		who := w.Rand("client")
		tally := w.Open(sim.Poisson(rate), horizon, func(a *sim.Actor) error {
			return pipelines[who.IntN(clients)].Run(a, server.Call)
		})
		return func() loaded { return loaded{tally.Success(), float64(server.Requests) / float64(tally.Calls)} }
	}
	ps := []float64{.01, .05, .1, .25, .5, .75, 1}
	runs := Runs(lab, len(policies)*len(ps), Pick(lab, 5, 1, 20), func(w *sim.World, variant int) func() loaded {
		policy, p := variant/len(ps), ps[variant%len(ps)]
		horizon := usual
		if drawn := policy >= 4 && p < 1 || policy != 1 && (p == .25 || p == .75); drawn && lab.quick() {
			horizon = time.Second // it is only drawn
		}
		return model(w, clients, p, horizon, policies[policy].layers)
	})
	at := func(policy int, p float64) []loaded {
		for i := range ps {
			if ps[i] == p {
				return runs[policy*len(ps)+i]
			}
		}
		panic("no such p")
	}
	success := func(r loaded) float64 { return 100 * r.success }
	load := func(r loaded) float64 { return 100 * r.load }

	for _, row := range []struct{ p, none, noneLoad, three, threeLoad, bucket, bucketLoad, counter, counterLoad float64 }{
		{.01, 99.1, 100, 100, 101.1, 100, 101.0, 99.92, 101.0},
		{.05, 95.2, 100, 100, 105.3, 99.99, 105.1, 99.5, 104.8},
		{.10, 90.1, 100, 99.99, 111.1, 98.7, 109.9, 93.2, 103.4},
		{.50, 50.0, 100, 93.6, 187.1, 55.9, 112.1, 50.1, 100},
		{1.0, 0, 100, 0, 400, 0, 112.1, 0, 100},
	} {
		for policy, cell := range [][2]float64{{row.none, row.noneLoad}, {row.three, row.threeLoad}, {row.bucket, row.bucketLoad}, {row.counter, row.counterLoad}} {
			what := policies[policy].name + ", p = " + short(row.p)
			lab.Expect("success %, "+what, column(at(policy, row.p), success), cell[0], Absolute(1.5), "Brooker's program")
			lab.Expect("load %, "+what, column(at(policy, row.p), load), cell[1], Absolute(1.5), "Brooker's program")
		}
	}
	const calls = 200.0 // per client
	for _, c := range []struct {
		policy   int
		expected float64
		formula  string
	}{
		{2, 1 + .1 + 4/calls, "1 + fill + (size−1)/m"},
		{4, 1 + .1 + 1/calls, "1 + ratio + 1/m"},
		{5, 1 + .2 + 10*20/calls + 100/calls, "1 + ratio + (rate·T + reserve)/m"},
		{6, 1 + 4/calls, "the 5th failure stops retries"},
		{7, 1 + 35/calls, "500/14 = 35 retries"},
		{8, 1 + 100/calls, "500/5 = 100 retries"},
	} {
		lab.Expect("load %, "+policies[c.policy].name+", p = 1", column(at(c.policy, 1), load), 100*c.expected, Relative(.02), c.formula)
	}
	for _, p := range ps[:6] {
		lab.Expect("load %, 3 retries, p = "+short(p), column(at(1, p), load), 100*theory.Attempts(p, 4), Relative(.02), "(1−p⁴)/(1−p)")
	}

	sizes := []float64{10, 30, 100, 300, 1000}
	plateau := Runs(lab, 2*len(sizes), Pick(lab, 2, 1, 5), func(w *sim.World, variant int) func() loaded {
		return model(w, max(1, int(sizes[variant%len(sizes)])/scale), 1, usual, policies[2+2*(variant/len(sizes))].layers)
	})
	for i, n := range sizes {
		lab.Expect("load %, bucket of 5, p = 1, "+short(n)+" clients", column(plateau[i], load), 100*(1+.1+4/(1000*20/n)), Relative(.02), "1 + fill + (size−1)/m")
	}

	figure := &plot.Figure{Title: "A budget retries when failures are rare and stops when they are common", Columns: 2}
	successes := plot.Panel{Title: "Success", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "calls that succeed, %"}}
	loads := plot.Panel{Title: "Load on the dependency", X: successes.X, Y: plot.Axis{Label: "attempts per call, %", Min: plot.At(90)}}
	for i, policy := range policies[:7] {
		part := runs[i*len(ps) : (i+1)*len(ps)]
		successes.Series = append(successes.Series, series(policy.name, ps, part, success))
		loads.Series = append(loads.Series, series(policy.name, ps, part, load))
	}
	loads.Y.Max = plot.At(410)
	clientsPanel := plot.Panel{Title: "The same 1,000 calls/s in a hard outage, from more and more clients",
		X: plot.Axis{Label: "clients", Log: true}, Y: plot.Axis{Label: "attempts per call, %", Min: plot.At(100), Max: plot.At(140)},
		Series: []plot.Series{
			series("bucket of 5, 10 %", sizes, plateau[:len(sizes)], load),
			series("library: NewBudget(0.1, 0)", sizes, plateau[len(sizes):], load),
			theoryLine("1 + 0.1 + 4/m", geometric(10, 1000, 40), func(n float64) float64 { return 100 * (1.1 + 4/(1000*20/n)) }),
		}}
	figure.Panels = []plot.Panel{successes, loads, clientsPanel}
	lab.Draw(figure)
}

// geometric returns n+1 numbers from low to high, at equal ratios.
func geometric(low, high float64, n int) []float64 {
	xs := over(math.Log(low), math.Log(high), n)
	for i := range xs {
		xs[i] = math.Exp(xs[i])
	}
	return xs
}
