package hedge_test

import (
	"testing"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

func TestConformance(t *testing.T) {
	for name, newHedge := range map[string]func() policy.Wrapper{
		"hedged":        func() policy.Wrapper { return after(10 * time.Millisecond) },
		"at once":       func() policy.Wrapper { return after(time.Nanosecond, hedge.Extra(3), hedge.AfterFailure()) },
		"not hedged":    func() policy.Wrapper { return hedge.New() },
		"not yet known": func() policy.Wrapper { return hedge.New(hedge.Idempotent()) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Wrapper(t, newHedge) })
	}
}
