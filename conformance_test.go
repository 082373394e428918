package resilience_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// TestConformance runs the rules of the contract over every policy of this module.
func TestConformance(t *testing.T) {
	for name, newGuard := range map[string]func() policy.Guard{
		"breaker, consecutive":  func() policy.Guard { return breaker.New() },
		"breaker, count window": func() policy.Guard { return breaker.New(breaker.FailureRate(0.5, 5), breaker.CountWindow(10)) },
		"breaker, time window":  func() policy.Guard { return breaker.New(breaker.FailureRate(0.5, 5)) },
		"breaker, slow calls, ramp": func() policy.Guard {
			return breaker.New(breaker.SlowCalls(time.Second, 0.5, 5), breaker.Probes(3), breaker.Ramp(time.Minute), breaker.Growth(2, time.Hour))
		},
		"breaker per key": func() policy.Guard { return perKey(func(string) *breaker.Breaker { return breaker.New() }) },
		"rate limit per key": func() policy.Guard {
			return noGate{perKey(func(string) *ratelimit.Limiter { return ratelimit.New(10, 5) })}
		},
		"bulkhead per key": func() policy.Guard {
			return noGate{perKey(func(string) *bulkhead.Bulkhead { return bulkhead.New(3, bulkhead.Queue(2, 24*time.Hour)) })}
		},
		"throttle":             func() policy.Guard { return throttle.New() },
		"adaptive bulkhead":    func() policy.Guard { return bulkhead.Adaptive(bulkhead.Vegas(), 3, 5) },
		"timeout from latency": func() policy.Guard { return timeout.FromLatency(0.99, 3, time.Millisecond, time.Second) },
		"rate limit":           func() policy.Guard { return ratelimit.New(10, 5) },
		"rate limit, waiting":  func() policy.Guard { return ratelimit.Every(2*time.Hour, 5, ratelimit.MaxWait(24*time.Hour)) },
		"rate limit per key, in a word": func() policy.Guard {
			return ratelimit.NewPerKey(10, 300, func(context.Context) string { return "key" })
		},
		"bulkhead":        func() policy.Guard { return bulkhead.New(3) },
		"bulkhead, queue": func() policy.Guard { return bulkhead.New(3, bulkhead.Queue(2, 24*time.Hour)) },
		"total timeout":   func() policy.Guard { return timeout.Total(time.Second) },
		"attempt timeout": func() policy.Guard { return timeout.PerAttempt(time.Second) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Guard(t, newGuard) })
	}
	for name, newRepeater := range map[string]func() policy.Repeater{
		"retry": func() policy.Repeater { return retry.New() },
		"retry, constant": func() policy.Repeater {
			return retry.New(retry.Attempts(5), retry.Constant(time.Second), retry.NoJitter())
		},
		"retry, patient": func() policy.Repeater {
			return retry.New(retry.AwaitRecovery(time.Minute), retry.RetryRejections(bulkhead.ErrFull))
		},
		"retry, throttled": func() policy.Repeater { return retry.New(retry.WithBudget(retry.NewTokenBudget(1000, 0.1))) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Repeater(t, newRepeater) })
	}
	for name, newWrapper := range map[string]func() policy.Wrapper{
		"hedge":   func() policy.Wrapper { return hedge.New(hedge.After(10*time.Millisecond), hedge.Idempotent()) },
		"abandon": func() policy.Wrapper { return timeout.Abandon(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Wrapper(t, newWrapper) })
	}
}

// perKey is a guard per key, of which the test uses one.
func perKey[V policy.Guard](newGuard func(string) V) policy.Guard {
	return keyed.By(func(context.Context) string { return "key" }, keyed.New(newGuard))
}

// noGate hides the Ready of a guard per key, which answers nil for guards that are no gates.
type noGate struct{ policy.Guard }
