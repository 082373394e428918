package policyconfig_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long reports whether tests run at full length.
func long() bool { return testsize.Whole() }

var errDown = errors.New("down")

func fail(context.Context) error    { return errDown }
func succeed(context.Context) error { return nil }

func load(t testing.TB, file string) *policyconfig.Set {
	return loadWith(t, file, policyconfig.Registry{})
}

func loadWith(t testing.TB, file string, registry policyconfig.Registry) *policyconfig.Set {
	t.Helper()
	set, err := policyconfig.Load([]byte(file), registry)
	require.NoError(t, err)
	return set
}

func apply(t testing.TB, set *policyconfig.Set, file string) policyconfig.Changes {
	t.Helper()
	changes, err := set.Apply([]byte(file))
	require.NoError(t, err)
	return changes
}

// problemsOf returns what is wrong with a file.
func problemsOf(t testing.TB, file string) []policyconfig.Problem {
	t.Helper()
	_, err := policyconfig.Load([]byte(file), policyconfig.Registry{})
	var config *policyconfig.Error
	require.ErrorAs(t, err, &config)
	return config.Problems
}

// layersOf returns a file with one pipeline, "users".
func layersOf(layers string) string { return `{"pipelines": {"users": {"layers": [` + layers + `]}}}` }

// find returns the layer of a type in a pipeline.
func find[L policy.Layer](t testing.TB, source resilience.Source) L {
	t.Helper()
	for _, layer := range source.Current().Layers() {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		if l, ok := layer.(L); ok {
			return l
		}
	}
	var none L
	require.Fail(t, "no such layer", "%T in %v", none, source)
	return none
}

var (
	_ = find[*breaker.Breaker]
	_ = find[*ratelimit.Limiter]
	_ = find[*bulkhead.Bulkhead]
)
