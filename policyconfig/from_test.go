package policyconfig_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/retry"
)

// TestFromHandle: what a file says of a pipeline, with what it inherits and uses.
func TestFromHandle(t *testing.T) {
	registry := tenants
	registry.Classify = map[string]func(error) policy.Class{"http": func(error) policy.Class { return policy.Expected }}
	registry.OnChange = map[string]func(breaker.Change){"log": func(breaker.Change) {}}
	registry.Environment, registry.Environ = "P", func() []string { return []string{"P__MORE__RETRY__ATTEMPTS=7"} }
	set := loadWith(t, `{
		"budgets": {"api": {"kind": "budget", "ratio": 0.2, "perSecond": 10}, "unused": {"kind": "budget", "ratio": 0.2, "perSecond": 10}},
		"policies": {"db": {"kind": "breaker", "onChange": "log"}, "unused": {"kind": "breaker"}},
		"pipelines": {
			"base": {"classify": "http", "layers": [{"use": "db", "stage": "shed"}, {"kind": "retry", "withBudget": "api"},
				{"kind": "ratelimit", "perSecond": 10, "burst": 5, "perKey": {"key": "tenant", "max": 1000, "idle": "1h"}}]},
			"more": {"extends": "base", "name": "m", "layers": [{"kind": "hedge", "enabled": false}]}
		}}`, registry)
	file, err := policyconfig.From(set.Pipeline("more"))
	require.NoError(t, err)
	require.Equal(t, `{
  "$schema": "https://github.com/go-resilience/resilience/policyconfig/schema.json",
  "budgets": {
    "api": {"kind": "budget", "ratio": 0.2, "perSecond": 10}
  },
  "policies": {
    "db": {"kind": "breaker", "name": "db", "onChange": ["log"]}
  },
  "pipelines": {
    "more": {
      "name": "m",
      "classify": "http",
      "layers": [
        {"use": "db", "stage": "shed"},
        {"kind": "retry", "withBudget": "api", "attempts": 7},
        {"kind": "ratelimit", "perSecond": 10, "burst": 5, "perKey": {"key": "tenant", "max": 1000, "idle": "1h0m0s"}},
        {"kind": "hedge", "enabled": false}
      ]
    }
  }
}
`, string(file))
	registry.Environ = func() []string { return nil }
	again := loadWith(t, string(file), registry)
	require.Equal(t, set.Pipeline("more").String(), again.Pipeline("more").String())
	require.Equal(t, settings(set.Pipeline("more")), settings(again.Pipeline("more")))
}

// TestFrom_Code: code is asked for, and never lost silently.
func TestFrom_Code(t *testing.T) {
	written := resilience.Compose(
		resilience.Name("users"),
		breaker.New(breaker.Classify(func(error) policy.Class { return policy.Expected }), breaker.OnChange(func(breaker.Change) {}), breaker.OnChange(func(breaker.Change) {})),
		retry.New(retry.If(func(error) bool { return true })),
	)
	file, err := policyconfig.From(written)
	require.NoError(t, err)
	_, err = policyconfig.Load(file, policyconfig.Registry{})
	require.ErrorContains(t, err, `"if": nothing is registered in Registry.If under this name`)
	require.ErrorContains(t, err, `"classify": nothing is registered in Registry.Classify under this name`)
	require.ErrorContains(t, err, `"onChange 2": nothing is registered in Registry.OnChange under this name`)
	set := loadWith(t, string(file), policyconfig.Registry{
		If:       map[string]func(error) bool{"if": func(error) bool { return true }},
		Classify: map[string]func(error) policy.Class{"classify": func(error) policy.Class { return policy.Expected }},
		OnChange: map[string]func(breaker.Change){"onChange": func(breaker.Change) {}, "onChange 2": func(breaker.Change) {}},
	})
	require.Equal(t, settings(written), settings(set.Pipeline("users")))
}

func TestFrom_PerKey(t *testing.T) {
	guard := keyed.By(func(context.Context) string { return "" }, keyed.New(func(string) *breaker.Breaker { return breaker.New() }))
	_, err := policyconfig.From(resilience.Compose(guard))
	require.EqualError(t, err, "policyconfig.From: per key breaker: a layer per key cannot be written")
}

// withCode is a file that refers to all kinds of code.
const withCode = `{
		"policies": {"type": {"kind": "breaker", "onChange": ["log", "page"], "rand": "seeded"}},
		"pipelines": {"users": {"classify": "http", "observe": "metrics", "layers": [{"use": "type", "stage": "shed"}, {"kind": "layer", "layer": "maintenance"},
			{"kind": "retry", "withBudget": "program", "retryRejections": ["bulkhead.full", "own"]},
			{"kind": "bulkhead", "limit": 3, "mode": "shadow", "perKey": {"key": "tenant", "idle": "1h"}}]}}}`

// TestGoSource_Code: code is taken from a registry.
func TestGoSource_Code(t *testing.T) {
	source, err := policyconfig.Go([]byte(withCode))
	require.NoError(t, err)
	require.Equal(t, `// Package pipelines was written by policyconfig.Go.
package pipelines

import (
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/retry"
)

// Pipelines returns the pipelines by name. Call it once.
func Pipelines(registry policyconfig.Registry) map[string]*resilience.Pipeline {
	sharedType := breaker.New(breaker.Name("type"), breaker.OnChange(registry.OnChange["log"]), breaker.OnChange(registry.OnChange["page"]), breaker.Rand(registry.Rand["seeded"]()))
	return map[string]*resilience.Pipeline{
		"users": resilience.Compose(
			resilience.Name("users"),
			resilience.Classify(registry.Classify["http"]),
			resilience.Observe(registry.Observers["metrics"]),
			policy.At(policy.StageShed, sharedType),
			registry.Layers["maintenance"],
			retry.New(retry.WithBudget(registry.Budgets["program"]), retry.RetryRejections(bulkhead.ErrFull, registry.Rejection["own"])),
			keyed.By(registry.Keys["tenant"], keyed.New(func(string) *bulkhead.Bulkhead {
				return bulkhead.New(3, bulkhead.Shadow())
			}, keyed.Idle(time.Hour))),
		),
	}
}
`, string(source))
}
