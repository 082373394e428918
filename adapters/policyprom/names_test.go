package policyprom

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

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

// all returns every policy of this module that reports.
func all() []policy.Reporter {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	return []policy.Reporter{
		breaker.New(breaker.FailureRate(0.5, 2), breaker.SlowCalls(time.Second, 0.5, 2)),
		bulkhead.New(1, bulkhead.Queue(1, time.Second)),
		bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 10),
		ratelimit.New(1, 1, ratelimit.MaxWait(time.Second)),
		ratelimit.NewPerKey(1, 1, func(context.Context) string { return "" }),
		throttle.New(),
		retry.New(), retry.NewBudget(0.2, 10), retry.NewTokenBudget(10, 0.1), retry.NewConcurrencyBudget(0.2, 3),
		hedge.New(),
		timeout.Total(time.Second), timeout.PerAttempt(time.Second), timeout.Abandon(time.Second),
		hosts, keyed.By(func(context.Context) string { return "a" }, hosts),
	}
}

// The table of names and the policies say the same.
func TestEveryValueOfEveryPolicyHasAName(t *testing.T) {
	here := map[valueKey]policy.Value{}
	for _, reporter := range all() {
		report := reporter.Report()
		require.NotEmpty(t, known[report.Kind], "kind %q", report.Kind)
		require.Equal(t, stateful[report.Kind] != "", report.State.Name != "", "kind %q: states", report.Kind)
		for _, v := range report.Values {
			here[valueKey{report.Kind, v.Name}] = v
		}
	}
	for kind, values := range known {
		for _, v := range values {
			found, ok := here[valueKey{kind, v.name}]
			require.True(t, ok, "no %s reports %q", kind, v.name)
			require.Equal(t, v.kind, found.Kind, "%s %s", kind, v.name)
			require.Equal(t, v.unit, found.Unit, "%s %s", kind, v.name)
			delete(here, valueKey{kind, v.name})
		}
	}
	for key := range here {
		require.Contains(t, []string{"rejected", "shadow_rejected"}, key.name, "%s %s has no entry", key.kind, key.name)
	}
}

func TestNoNameIsGivenTwice(t *testing.T) {
	seen := map[string]bool{}
	newDescs("p").all(func(desc *prometheus.Desc) {
		name := strings.Split(desc.String(), `"`)[1]
		require.False(t, seen[name], name)
		require.True(t, strings.HasPrefix(name, prefix), name)
		seen[name] = true
	})
	require.Greater(t, len(seen), 80)
}
