package timeout_test

import (
	"testing"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/timeout"
)

func TestConformance(t *testing.T) {
	for name, newTimeout := range map[string]func() policy.Guard{
		"total":        func() policy.Guard { return timeout.Total(time.Second) },
		"per attempt":  func() policy.Guard { return timeout.PerAttempt(time.Second) },
		"from latency": func() policy.Guard { return timeout.FromLatency(0.99, 3, time.Millisecond, time.Second) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Guard(t, newTimeout) })
	}
	t.Run("abandon", func(t *testing.T) {
		policytest.Wrapper(t, func() policy.Wrapper { return timeout.Abandon(time.Minute) })
	})
}
