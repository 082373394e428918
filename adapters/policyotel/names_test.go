package policyotel

import (
	"context"
	"regexp"
	"testing"
	"time"

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
func TestO7_EveryValueOfEveryPolicyHasAName(t *testing.T) {
	here := map[key]policy.Value{}
	for _, reporter := range all() {
		report := reporter.Report()
		require.Equal(t, states[report.Kind] != "", report.State.Name != "", "kind %q: states", report.Kind)
		for _, v := range report.Values {
			here[key{report.Kind, v.Name}] = v
		}
	}
	for id, m := range known {
		found, ok := here[id]
		require.True(t, ok, "nothing reports %v", id)
		require.Equal(t, m.kind, found.Kind, "%v", id)
		require.Equal(t, found.Unit == policy.UnitSeconds, m.unit == "s", "%v", id)
		delete(here, id)
	}
	for id := range here {
		require.Contains(t, []string{"rejected", "shadow_rejected"}, id.value, "%v has no name", id)
	}
}

// The rules for names of the semantic conventions: words in lower case with dots between, no _total, and no name that is also
// the beginning of another one.
func TestO7_TheNamesAreByTheRules(t *testing.T) {
	names := map[string]metricOf{}
	for _, m := range known {
		for _, name := range []string{m.name, m.limit} {
			if before, ok := names[name]; ok && name == m.name {
				require.Equal(t, before.unit, m.unit, name)
				require.Equal(t, before.kind, m.kind, name)
			}
			if name != "" {
				names[name] = m
			}
		}
	}
	for _, name := range []string{nameCalls, nameFailures, namePipelineDuration, nameAttemptDuration, nameRejections, nameShadowRejections,
		nameShadow, nameOtherState, nameOtherValue, nameOtherLimit, nameOtherEvents, states["breaker"], states["bulkhead"]} {
		require.NotContains(t, names, name)
		names[name] = metricOf{}
	}
	rule := regexp.MustCompile(`^resilience(\.[a-z]+(_[a-z]+)*)+$`)
	for name := range names {
		require.Regexp(t, rule, name)
		require.NotRegexp(t, `_total$`, name)
		for other := range names {
			require.NotContains(t, other, name+".", "%s is a name and a namespace", name)
		}
	}
}
