package scenario

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

var budgets = Scenario{
	Name:     "L2",
	Page:     "retry-budgets",
	Question: "Retry budget, fixed retries, or retries behind a breaker?",
	Answer:   "A budget is like retries when failures are rare and like no retries when they are common: in a hard outage three retries send 400 % of the load, a budget of 10 % sends 110 %.",
	Setup: []string{
		"100 clients with 10 calls a second each, open loop, for 20 s, so 200 calls per client. Request and answer travel Exp(10 ms) each. An attempt fails with probability p. Each client has its own state.",
		"On: the budget named. Off: delays and jitter.",
		"The bucket of 5, the counter of failures, the bucket of 500 and the bound on concurrent retries are policies of other libraries, written here as guards of a few lines.",
	},
	Advice: []string{
		"Keep a budget on. The library's default, 20 % of the calls plus 10 per second, is sized for one retrier that serves many calls. In a client with few calls the 10 per second dominate: at 10 calls per second they allow 220 %. Use NewBudget(0.1, 0), or one budget for all clients of the process, where the load in an outage matters.",
		"Do not stop retries by a counter of all failures since the start: it helps less than the budget at every p (93 % success against 99 % at p = 0.1), because it stops all retries once the share is reached.",
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
	Params: []Param{
		{"rate", "calls of each client", "per second", 10, 2, 100, false},
		{"ratio", "the bucket's and the library's budget", "of calls", .1, .01, 1, false},
		{"retries", "of those who have no budget", "", 3, 1, 10, true},
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
	const many = 1000 // attempts: the budget is what ends them
	ratio, retries := lab.In("ratio"), int(math.Round(lab.In("retries")))
	expectedRatio, most := lab.Param("ratio"), int(lab.Param("retries"))+1
	type rule = func(now func() float64) reference.Rule
	policies := []struct {
		name     string
		layers   func() []policy.Layer // of one client
		attempts int                   // and the same by hand
		rule     rule
	}{
		{"no retries", func() []policy.Layer { return nil }, 1, reference.Never},
		{short(float64(most-1)) + " retries", func() []policy.Layer { return []policy.Layer{atOnce(retries+1, retry.NoBudget())} }, most, reference.Always},
		{"bucket of 5, " + short(100*expectedRatio) + " %", func() []policy.Layer {
			return []policy.Layer{atOnce(many, retry.NoBudget()), bucket(5, ratio, 1, 1, 0)}
		}, many, reference.Bucket(5, expectedRatio, 1, 1, 0)},
		{short(float64(most-1)) + " retries, counter of failures 10 %", func() []policy.Layer {
			return []policy.Layer{atOnce(retries+1, retry.NoBudget()), failureCounter(.1)}
		}, most, reference.Counter(.1)},
		{"library: NewBudget(" + short(expectedRatio) + ", 0)", func() []policy.Layer {
			return []policy.Layer{atOnce(many, retry.WithBudget(retry.NewBudget(ratio, 0)))}
		}, many, reference.Earned(expectedRatio, 0)},
		{"library: NewBudget(0.2, 10), after Finagle", func() []policy.Layer {
			return []policy.Layer{atOnce(many, retry.WithBudget(retry.NewBudget(.2, 10)))}
		}, many, reference.Earned(.2, 10)},
		{"library: NewTokenBudget(10, 0.1), after gRPC", func() []policy.Layer {
			return []policy.Layer{atOnce(5, retry.WithBudget(retry.NewTokenBudget(10, .1)))}
		}, 5, reference.Tokens(10, .1)},
		{"bucket of 500, cost 14, after AWS", func() []policy.Layer {
			return []policy.Layer{atOnce(3, retry.NoBudget()), bucket(500, 0, 13.5, 14, 14)}
		}, 3, reference.Bucket(500, 0, 13.5, 14, 14)},
		{"bucket of 500, cost 5, after AWS for throttling", func() []policy.Layer {
			return []policy.Layer{atOnce(3, retry.NoBudget()), bucket(500, 0, 4.5, 5, 5)}
		}, 3, reference.Bucket(500, 0, 4.5, 5, 5)},
		{"20 % of attempts in flight, after Envoy", func() []policy.Layer {
			return []policy.Layer{atOnce(4, retry.NoBudget()), concurrentRetries(.2, 3)}
		}, 4, nil},
	}
	const clients = 10 // of each world: they know nothing of each other
	const horizon = 20 * time.Second
	model := func(w *sim.World, clients int, rate, p float64, horizon time.Duration, layers func() []policy.Layer) func() loaded {
		server := &sim.Server{Service: sim.Sum(sim.Exponential(10*time.Millisecond), sim.Exponential(10*time.Millisecond)),
			Fails: func(time.Duration) float64 { return p }}
		pipelines := make([]*resilience.Pipeline, clients)
		for i := range pipelines {
			pipelines[i] = compose(layers()...)
		}
		who := w.Rand("client")
		tally := w.Open(sim.Poisson(rate*float64(clients)), horizon, func(a *sim.Actor) error {
			return pipelines[who.IntN(clients)].Run(a, server.Call)
		})
		return func() loaded { return loaded{tally.Success(), float64(server.Requests) / float64(tally.Calls)} }
	}
	ps := []float64{.01, .05, .1, .25, .5, .75, 1}
	checked := func(policy int, p float64) bool {
		return policies[policy].rule != nil && (p == 1 || policy < 5 && (p == .05 || p == .1 || p == .5))
	}
	runs := Runs(lab, len(policies)*len(ps), Pick(lab, 1, 3, 50), func(w *sim.World, variant int) func() loaded {
		policy, p, until := variant/len(ps), ps[variant%len(ps)], horizon
		if !checked(policy, p) && lab.quick() {
			until = time.Second // it is only drawn
		}
		return model(w, clients, lab.In("rate"), p, until, policies[policy].layers)
	})
	at := func(policy int, p float64) []loaded { return runs[policy*len(ps)+slices.Index(ps, p)] }
	success := func(r loaded) float64 { return 100 * r.success }
	load := func(r loaded) float64 { return 100 * r.load }

	for i, policy := range policies {
		for _, p := range ps {
			if !checked(i, p) {
				continue
			}
			what := policy.name + ", p = " + short(p)
			by := remember(lab, what, func() two {
				return pair(reference.Budgeted(p, policy.attempts, clients, lab.Param("rate"), policy.rule))
			})
			good, sent := by.a, by.b
			lab.Expect("success %, "+what, column(at(i, p), success), good.Times(100), "the same client, by hand; after Brooker")
			lab.Expect("load %, "+what, column(at(i, p), load), sent.Times(100), "the same client, by hand; after Brooker")
		}
	}

	// The same load from more and more clients: what a full bucket allows counts for each.
	sizes := []float64{10, 30, 100, 300, 1000}
	of := func(n float64) float64 { return max(1, n/100) } // clients of a world, and how many worlds' worth is measured
	total := 100 * lab.Param("rate")
	plateau := Runs(lab, 2*len(sizes), Pick(lab, 2, 4, 20), func(w *sim.World, variant int) func() loaded {
		n := sizes[variant%len(sizes)]
		return model(w, int(of(n)), total/n, 1, horizon, policies[2+2*(variant/len(sizes))].layers)
	})
	for i, n := range sizes {
		for j, policy := range []int{2, 4} {
			sent := remember(lab, "clients"+policies[policy].name+short(n), func() two { return pair(reference.Budgeted(1, many, int(of(n)), total/n, policies[policy].rule)) }).b
			lab.Expect("load %, "+policies[policy].name+", p = 1, "+short(n)+" clients", column(plateau[j*len(sizes)+i], load), sent.Times(100), "the same client, by hand")
		}
	}

	figure := &plot.Figure{Title: "A budget retries when failures are rare and stops when they are common", Columns: 2}
	successes := plot.Panel{Title: "Success", X: plot.Axis{Label: "probability that an attempt fails"}, Y: plot.Axis{Label: "calls that succeed, %"}}
	loads := plot.Panel{Title: "Load on the dependency", X: successes.X, Y: plot.Axis{Label: "attempts per call, %", Min: plot.At(90)}}
	for i, policy := range policies[:7] {
		part := runs[i*len(ps) : (i+1)*len(ps)]
		successes.Series = append(successes.Series, series(policy.name, ps, part, success))
		loads.Series = append(loads.Series, series(policy.name, ps, part, load))
	}
	clientsPanel := plot.Panel{Title: "The same " + short(total) + " calls/s in a hard outage, from more and more clients",
		X: plot.Axis{Label: "clients", Log: true}, Y: plot.Axis{Label: "attempts per call, %", Min: plot.At(100)},
		Series: []plot.Series{
			series(policies[2].name, sizes, plateau[:len(sizes)], load),
			series(policies[4].name, sizes, plateau[len(sizes):], load),
			theoryLine("1 + ratio + 4/m", geometric(sizes[0], sizes[len(sizes)-1], 40), func(n float64) float64 { return 100 * (1 + expectedRatio + 4/(total*horizon.Seconds()/n)) }),
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
