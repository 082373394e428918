package policyredis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/policy"
)

// Two processes give back what they have taken. Neither knows of the other, and together they mint nothing.
func TestFault283_RefundsOfSeveralProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := fake(scriptInGo())
		a := policyredis.New(server, "refunds", 100, 2)
		b := policyredis.New(server, "refunds", 100, 2)
		admit := func(l *policyredis.Limiter) *policy.Permit {
			permit, err := policy.Acquire(t.Context(), l)
			require.NoError(t, err)
			return permit
		}
		ofA, ofB := admit(a), admit(b)
		require.Error(t, attempt(a), "it hears of all debt")
		ofA.Settle(policy.Outcome{Kind: policy.NotCalled})
		time.Sleep(10 * time.Millisecond) // without that attempt the bucket would be full again now, and without both as well
		made := admitted(a, 5)
		ofB.Settle(policy.Outcome{Kind: policy.NotCalled})
		made += admitted(b, 5)
		require.LessOrEqual(t, made, 2)
	})
}
