package scenario

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
)

// play runs a part of a scenario, with the scenario's parameters.
func play(t *testing.T, of *Scenario, part func(*Lab), options Options) *Result {
	t.Helper()
	options.Size, options.seeds = Quick, testsize.Pick(1, 0)
	alone := *of
	alone.Run = part
	result := Play(&alone, options)
	require.NoError(t, result.Err)
	require.NotEmpty(t, result.Checks)
	return result
}

// Every scenario meets all its expectations in a quick run too, and in a short run with one seed. The whole ones are
// TestNoFalseAlarms and TestPagesShowWhatTheCodeDoes.
func TestScenarios(t *testing.T) {
	if raceEnabled {
		t.Skip("takes seconds of work")
	}
	for _, s := range All() {
		t.Run(s.Page, func(t *testing.T) {
			options := Options{Seed: 1, Size: Quick}
			if !testsize.Whole() {
				options.seeds = 1
				if s == &storm { // a smaller one
					options.Set = map[string]float64{"rate": 70, "capacity": 75, "queue": 38}
				}
			}
			result := Play(s, options)
			require.NoError(t, result.Err)
			require.NotEmpty(t, result.Checks)
			require.NotEmpty(t, result.Figures)
			for _, c := range result.Checks {
				assert.True(t, c.Passed, "%s: %s, expected %s (%s)", c.What, c.Measured, c.Expected, c.Source)
			}
		})
	}
}

// The verdicts must bite: each part passes with the library's policies, in TestScenarios, and fails with a broken one.
func TestVerdictsBite(t *testing.T) {
	cases := map[string]struct {
		of     *Scenario
		part   func(*Lab)
		broken func(policy.Layer) policy.Layer
		heavy  bool
	}{
		"breaker with uncapped probes":       {&halfOpen, stampede, uncapProbes, true},
		"breaker that never trips":           {&blastRadius, runBlastRadius, replace[*breaker.Breaker](open{policy.StageBreaker}), true},
		"retry that ignores its gate":        {&order, flagship, ignoreGate, true},
		"retry that ignores its budget":      {&amplification, runAmplification, replace[*retry.Retrier](stubborn{}), true},
		"limiter that admits everything":     {&limiting, bursts, replace[*ratelimit.Limiter](open{policy.StageRateLimit}), false},
		"limiter that makes nobody wait":     {&limiting, waiting, replace[*ratelimit.Limiter](open{policy.StageRateLimit}), true},
		"bulkhead that admits everything":    {&limiting, slowness, replace[*bulkhead.Bulkhead](open{policy.StageBulkhead}), false},
		"throttle that admits everything":    {&limiting, throttling, replace[*throttle.Throttle](open{policy.StageBreaker}), true},
		"hedge that makes no second attempt": {&hedging, tailAtScale, replace[*hedge.Hedge](open{policy.StageHedge}), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.heavy && (raceEnabled || !testsize.Whole()) {
				t.Skip("takes seconds of work")
			}
			compose = func(layers ...policy.Layer) *resilience.Pipeline {
				for i := range layers {
					layers[i] = c.broken(layers[i])
				}
				return sim.Compose(layers...)
			}
			defer func() { compose = sim.Compose }()
			require.False(t, play(t, c.of, c.part, Options{Seed: 1}).Passed(), "with the broken one")
		})
	}
}

// replace returns a function that replaces each layer of type L by another layer, also one that was moved.
func replace[L policy.Layer](by policy.Layer) func(policy.Layer) policy.Layer {
	return func(layer policy.Layer) policy.Layer {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		if _, ok := layer.(L); ok {
			return by
		}
		return layer
	}
}

// open is a guard that admits everything.
type open struct{ stage policy.Stage }

func (o open) Stage() policy.Stage { return o.stage }
func (open) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (open) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// stubborn makes four attempts, whatever its budget says.
type stubborn struct{}

func (stubborn) Stage() policy.Stage { return policy.StageRetry }
func (stubborn) Next(_ context.Context, a policy.Attempt) policy.Decision {
	return policy.Decision{Again: !a.Outcome.Succeeded() && a.Number < 4}
}

// ignoreGate makes a retry blind: it does not hear that the gates further in refuse, and takes a refusal for a failure.
func ignoreGate(layer policy.Layer) policy.Layer {
	if r, ok := layer.(*retry.Retrier); ok {
		return ungated{r}
	}
	return layer
}

type ungated struct{ *retry.Retrier }

func (u ungated) Next(ctx context.Context, a policy.Attempt) policy.Decision {
	if a.Asked > 0 {
		return policy.Decision{Again: true, State: a.State}
	}
	a.Blocked = nil
	if a.Outcome.Kind == policy.NotCalled {
		a.Outcome = policy.Outcome{Kind: policy.Returned, Err: errNoRetry}
	}
	return u.Retrier.Next(ctx, a)
}

// uncapProbes admits whatever comes while the breaker is half-open, after the first probe.
func uncapProbes(layer policy.Layer) policy.Layer {
	if b, ok := layer.(*breaker.Breaker); ok {
		return &uncapped{b}
	}
	return layer
}

type uncapped struct{ *breaker.Breaker }

func (u *uncapped) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	admitted, ticket, err := u.Breaker.Admit(ctx)
	if err != nil && u.State() == breaker.HalfOpen {
		return ctx, policy.Ticket{Period: 1 << 62}, nil
	}
	return admitted, ticket, err
}
