package policyotel

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/internal/target/targettest"
	"github.com/go-resilience/resilience/policy"
)

// The table of names and the policies say the same.
func TestO7_EveryValueOfEveryPolicyHasAName(t *testing.T) {
	here := map[key]policy.Value{}
	for _, reporter := range targettest.Policies() {
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
