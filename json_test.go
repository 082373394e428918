package resilience_test

import (
	"context"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// TestLivePoliciesInJSON: a policy that is a field of something that is written as JSON is its report, not {}.
func TestLivePoliciesInJSON(t *testing.T) {
	breakers := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	for _, live := range []policy.Reporter{
		breaker.New(), retry.New(), retry.NewBudget(0.1, 1), retry.NewTokenBudget(10, 0.1), retry.NewConcurrencyBudget(0.1, 3),
		ratelimit.New(math.Inf(1), 0), ratelimit.NewPerKey[string](1, 2, nil),
		bulkhead.New(3), bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 9), hedge.New(hedge.After(time.Second)),
		throttle.New(), timeout.Total(time.Second), timeout.PerAttempt(time.Second), timeout.FromLatency(0.9, 2, time.Millisecond, time.Second),
		timeout.Abandon(time.Second), breakers, keyed.By(func(context.Context) string { return "" }, breakers),
	} {
		report, err := json.Marshal(live.Report())
		require.NoError(t, err, "%T", live)
		text, err := json.Marshal(map[string]any{"policy": live})
		require.NoError(t, err, "%T", live)
		require.JSONEq(t, `{"policy": `+string(report)+`}`, string(text), "%T", live)
		require.Contains(t, string(report), `"kind":`)
	}
	pipeline := resilience.Compose(resilience.Name("users"), timeout.Total(time.Second))
	text, err := json.Marshal(pipeline)
	require.NoError(t, err)
	report, err := json.Marshal(pipeline.Report())
	require.NoError(t, err)
	require.JSONEq(t, string(report), string(text))
	require.Contains(t, string(text), `{"name":"Total","args":[{"name":"limit","value":"1s"}]}`)
}
