package resilience_test

import (
	"testing"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// TestConformance runs the rules of the contract over every policy of this module.
func TestConformance(t *testing.T) {
	for name, newGuard := range map[string]func() policy.Guard{
		"breaker, consecutive":  func() policy.Guard { return breaker.New() },
		"breaker, count window": func() policy.Guard { return breaker.New(breaker.FailureRate(0.5, 5), breaker.CountWindow(10)) },
		"breaker, time window":  func() policy.Guard { return breaker.New(breaker.FailureRate(0.5, 5)) },
		"rate limit":            func() policy.Guard { return ratelimit.New(10, 5) },
		"rate limit, waiting":   func() policy.Guard { return ratelimit.Every(2*time.Hour, 5, ratelimit.MaxWait(24*time.Hour)) },
		"bulkhead":              func() policy.Guard { return bulkhead.New(3) },
		"bulkhead, queue":       func() policy.Guard { return bulkhead.New(3, bulkhead.Queue(2, 24*time.Hour)) },
		"total timeout":         func() policy.Guard { return timeout.Total(time.Second) },
		"attempt timeout":       func() policy.Guard { return timeout.PerAttempt(time.Second) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Guard(t, newGuard) })
	}
	for name, newRepeater := range map[string]func() policy.Repeater{
		"retry": func() policy.Repeater { return retry.New() },
		"retry, constant": func() policy.Repeater {
			return retry.New(retry.Attempts(5), retry.Constant(time.Second), retry.NoJitter())
		},
	} {
		t.Run(name, func(t *testing.T) { policytest.Repeater(t, newRepeater) })
	}
}
