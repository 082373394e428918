package policytest_test

import (
	"testing"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/timeout"
)

func TestOurTimeoutsKeepTheContract(t *testing.T) {
	policytest.Guard(t, func() policy.Guard { return timeout.Total(time.Second) })
	policytest.Guard(t, func() policy.Guard { return timeout.PerAttempt(time.Second) })
}
