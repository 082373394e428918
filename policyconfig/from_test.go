package policyconfig_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
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

// TestFrom_PerKey: what stands per key is what its registry makes for a key that says nothing.
func TestFrom_PerKey(t *testing.T) {
	key := func(context.Context) string { return "" }
	written := resilience.Compose(
		resilience.Name("users"),
		keyed.By(key, keyed.New(func(string) *breaker.Breaker { return breaker.New(breaker.Name("b"), breaker.Probes(2)) }, keyed.Max(100), keyed.Idle(time.Hour))),
		policy.At(policy.StageShed, keyed.By(key, keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(10, 5, ratelimit.Shadow()) }, keyed.MaxKeyLength(9)))),
		keyed.By(key, keyed.New(func(string) *bulkhead.Bulkhead { return bulkhead.New(3) })),
		keyed.By(key, keyed.New(func(string) *throttle.Throttle { return throttle.New() })),
		keyed.By(key, keyed.New(func(string) *timeout.Timeout { return timeout.PerAttempt(time.Second) })),
	)
	file, err := policyconfig.From(written)
	require.NoError(t, err)
	require.Contains(t, string(file), `{"kind": "breaker", "name": "b", "probes": 2, "perKey": {"key": "key 2", "max": 100, "idle": "1h0m0s"}},`)
	require.Contains(t, string(file), `{"kind": "ratelimit", "perSecond": 10, "burst": 5, "mode": "shadow", "perKey": {"key": "key", "maxKeyLength": 9}, "stage": "shed"},`)
	set := loadWith(t, string(file), policyconfig.Registry{Keys: numbered("key", key)})
	require.Equal(t, written.String(), set.Pipeline("users").String())
	require.Equal(t, settings(written), settings(set.Pipeline("users")))
}

// numbered returns the names that From gives to code of an option.
func numbered[V any](option string, code V) map[string]V {
	names := map[string]V{option: code}
	for n := 2; n <= 100; n++ {
		names[fmt.Sprint(option, " ", n)] = code
	}
	return names
}

func TestFrom_PerKeyRefused(t *testing.T) {
	numbers := keyed.By(func(context.Context) int { return 0 }, keyed.New(func(int) *breaker.Breaker { return breaker.New() }))
	key := func(context.Context) string { return "" }
	option := keyed.IdleIf(func(*breaker.Breaker) bool { return true })
	kept := keyed.By(key, keyed.New(func(string) *breaker.Breaker { return breaker.New(breaker.Name("kept")) }, option))
	_, err := policyconfig.From(resilience.Compose(numbers, kept))
	require.EqualError(t, err, "policyconfig.From: per key breaker: cannot be written: the keys must be of type string, and the guards of one type of this module; "+
		`per key breaker "kept": has the option IdleIf, which a file cannot have`)
}

// TestFrom_CodeOfItsOwn: two functions have two names, since one need not be the other.
func TestFrom_CodeOfItsOwn(t *testing.T) {
	classify := func(error) policy.Class { return policy.Expected }
	file, err := policyconfig.From(resilience.Compose(breaker.New(breaker.Classify(classify)), throttle.New(throttle.Classify(classify))))
	require.NoError(t, err)
	require.Contains(t, string(file), `{"kind": "breaker", "classify": "classify"}`)
	require.Contains(t, string(file), `{"kind": "throttle", "classify": "classify 2"}`)
}

// withCode is a file that refers to all kinds of code.
const withCode = `{
		"policies": {"type": {"kind": "breaker", "onChange": ["log", "page"], "rand": "seeded"}},
		"pipelines": {"users": {"classify": "http", "observe": "metrics", "layers": [{"use": "type", "stage": "shed"}, {"kind": "layer", "layer": "maintenance"},
			{"kind": "retry", "withBudget": "program", "retryRejections": ["bulkhead.full", "own"]},
			{"kind": "bulkhead", "limit": 3, "mode": "shadow", "perKey": {"key": "tenant", "idle": "1h"}},
			{"kind": "ratelimit", "perSecond": 10, "burst": 20, "perKey": {"key": "client", "keys": 500}}]}}}`

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
	"github.com/go-resilience/resilience/ratelimit"
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
			ratelimit.NewPerKey(10, 20, registry.Keys["client"], ratelimit.Keys(500)),
		),
	}
}
`, string(source))
}

// TestFrom_WhatAFileCannotHold: what Go allows and Load refuses is an error at once.
func TestFrom_WhatAFileCannotHold(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{
		`/pipelines/pipeline/layers/0/name: "a\nb": must be a text`:           {breaker.New(breaker.Name("a\nb"))},
		`/pipelines/pipeline/layers/0/name: "xxx`:                             {breaker.New(breaker.Name(strings.Repeat("x", 201)))},
		`/pipelines/a\nb: "a\nb": no name`:                                    {resilience.Name("a\nb"), breaker.New()},
		"/pipelines/$comment: an object: must be a text":                      {resilience.Name("$comment"), breaker.New()},
		`/pipelines/pipeline/layers/0/stage: 2000000: must be a whole number`: {policy.At(2_000_000, breaker.New())},
	} {
		_, err := policyconfig.From(resilience.Compose(layers...))
		_, ok := errors.AsType[*policy.ConfigError](err)
		require.True(t, ok, "%v", err)
		require.ErrorContains(t, err, name)
	}
}
