package policyconfig_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyconfig"
)

// FuzzLoad: no panic, no accepted nonsense. What Load accepts, Compose accepts; it says the same again; and it can be
// written as Go and as a file, which are the same once more. What it refuses has a place.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{everything, layersOf(users), overridden, attempts(3), "", "{}", layersOf(`{"kind": "breaker", "perKey": {"key": "tenant"}}`)} {
		f.Add([]byte(seed))
	}
	for _, text := range strings.SplitAfter(everything, "\n") {
		if text = strings.TrimRight(strings.TrimSpace(text), ","); strings.HasPrefix(text, "{") {
			f.Add([]byte(layersOf(text)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := policyconfig.Load(data, tenants)
		if err != nil {
			var config *policyconfig.Error
			require.True(t, errors.As(err, &config), "%T", err)
			require.NotEmpty(t, config.Problems)
			for _, p := range config.Problems {
				require.Positive(t, p.Line, err)
				require.Positive(t, p.Column, err)
				require.NotEmpty(t, p.Message)
			}
			return
		}
		require.Empty(t, validate(t, strings.TrimPrefix(string(data), "\ufeff")), "the schema accepts what Load does")
		plan, err := set.Plan(data)
		require.NoError(t, err)
		require.Equal(t, "no change", plan.String())
		_, err = policyconfig.Go(data)
		require.NoError(t, err)
		for _, name := range set.Names() {
			pipeline := set.Pipeline(name).Current()
			require.NoError(t, resilience.Validate(pipeline.Layers()...))
			file, err := policyconfig.From(pipeline)
			require.NoError(t, err)
			again, err := policyconfig.Load(file, policyconfig.Registry{
				Rejection: numbered[error]("retryRejections", bulkhead.ErrFull),
				Keys:      numbered("key", func(context.Context) string { return "" }),
			})
			require.NoError(t, err, "%s", file)
			read := again.Pipeline(again.Names()[0])
			require.Equal(t, pipeline.String(), read.String(), "%s", file)
			require.Equal(t, settings(pipeline), settings(read), "%s", file)
		}
	})
}

// FuzzEnvironment: no variable makes a panic; one that is accepted is one that a pipeline can be made with.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range []string{"USERS__RETRY__ATTEMPTS=3", "POLICIES__DB_MAIN__FAILURE_RATE__RATE=0.5", "BUDGETS__API__RATIO=1", "USERS__NAME=x", "USERS__RETRY__ENABLED=false"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, variable string) {
		set, err := policyconfig.Load([]byte(overridden), environment("P__"+variable))
		if err == nil {
			require.NoError(t, resilience.Validate(set.Pipeline("users").Current().Layers()...))
		} else {
			require.ErrorContains(t, err, "environment variable P__")
		}
	})
}
