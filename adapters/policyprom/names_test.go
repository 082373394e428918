package policyprom

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/internal/target/targettest"
	"github.com/go-resilience/resilience/policy"
)

// The table of names and the policies say the same.
func TestEveryValueOfEveryPolicyHasAName(t *testing.T) {
	here := map[valueKey]policy.Value{}
	for _, reporter := range targettest.Policies() {
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
