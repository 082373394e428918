package policyredis_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestPerKey(t *testing.T) {
	v := newVirtual(t)
	p := policyredis.NewPerKey(v.client, hourly, 2, tenantOf, patient(), policyredis.Name("tenants"))
	pipeline := resilience.Compose(p)
	on := func(tenant string) context.Context { return context.WithValue(t.Context(), tenantKey{}, tenant) }
	run := func(tenant string) error { return pipeline.Run(on(tenant), func(context.Context) error { return nil }) }
	require.NoError(t, run("ann"))
	require.NoError(t, run("ann"))
	err := run("ann")
	require.ErrorIs(t, err, ratelimit.ErrLimited)
	require.NotContains(t, err.Error(), "ann", "keys are in no error")
	require.NoError(t, run("bob"), "another limit")
	require.ElementsMatch(t, []string{"ratelimit:{ann}", "ratelimit:{bob}"}, v.Keys())
	require.NoError(t, p.Allow(t.Context(), "bob", 1), "the same limit, without a pipeline")
	require.ErrorIs(t, p.Allow(t.Context(), "bob", 1), ratelimit.ErrLimited)
	level, err := p.Peek(t.Context(), "bob")
	require.NoError(t, err)
	require.Zero(t, level.Tokens)
	require.EqualValues(t, 2, value(t, p, "keys"))
	require.Equal(t, `rate limit "tenants" 1 per 1h0m0s burst 2 per key in redis ratelimit:{…}`, p.String())
	require.False(t, p.Idle())
	require.NoError(t, p.Drain(t.Context()))
	require.NoError(t, p.Reconfigure(hourly, 3, patient()))
	require.NoError(t, p.Allow(t.Context(), "bob", 1))
	require.Error(t, p.Reconfigure(hourly, 3, policyredis.Keys(5)))
}

// A flood of keys grows nothing beyond the bound, and every key keeps its own limit in the store.
func TestPerKeyIsBounded(t *testing.T) {
	v := newVirtual(t)
	p := policyredis.NewPerKey(v.client, hourly, 2, tenantOf, patient(), policyredis.Keys(10))
	for round := range 3 {
		for i := range 50 {
			err := p.Allow(t.Context(), fmt.Sprint(i), 1)
			require.Equal(t, round < 2, err == nil, "key %d, round %d: %v", i, round, err)
		}
	}
	require.LessOrEqual(t, value(t, p, "keys"), 10.0)

	// What goes back for a key without a place must not be another key's.
	on := func(tenant string) context.Context { return context.WithValue(t.Context(), tenantKey{}, tenant) }
	permit, err := policy.Acquire(on("late"), p)
	require.NoError(t, err)
	permit.Settle(policy.Outcome{Kind: policy.NotCalled})
	require.ErrorIs(t, p.Allow(t.Context(), "49", 1), ratelimit.ErrLimited)
}

// Without the store, keys without a place share one local bucket: they get less, and never more.
func TestPerKeyWithoutTheStore(t *testing.T) {
	p := policyredis.NewPerKey(answers(nil, errDown), hourly, 4, tenantOf, policyredis.Keys(10), policyredis.FailLocal(2), patient())
	yes := 0
	for range 3 {
		for i := range 50 {
			if p.Allow(t.Context(), fmt.Sprint(i), 1) == nil {
				yes++
			}
		}
	}
	require.Equal(t, 2*11, yes, "the share of ten keys, and of those that have no place")
	require.EqualValues(t, 3, p.Snapshot().Calls, "one breaker for all keys")
	require.Equal(t, policyredis.Local, p.Snapshot().Mode)
}

// What was charged to the bucket that keys without a place share is not taken out of another.
func TestPerKeyAPlaceThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server downing
		p := policyredis.NewPerKey(server.client(), 1, 10, tenantOf, policyredis.Keys(1))
		on := func(tenant string) context.Context { return context.WithValue(t.Context(), tenantKey{}, tenant) }
		require.NoError(t, p.Allow(t.Context(), "first", 1))
		require.EqualValues(t, 1, value(t, p, "keys"))
		var permits []*policy.Permit
		time.Sleep(999 * time.Millisecond)
		for range 5 {
			permit, err := policy.Acquire(on("late"), p)
			require.NoError(t, err)
			permits = append(permits, permit)
		}
		time.Sleep(2 * time.Millisecond)
		server.down = true
		yes := 0
		for p.Allow(t.Context(), "late", 1) == nil {
			yes++
		}
		require.EqualValues(t, 1, value(t, p, "keys"), "it has taken the place of the first")
		require.Equal(t, 10, yes)
		for _, permit := range permits {
			permit.Settle(policy.Outcome{Kind: policy.NotCalled})
		}
		require.Error(t, p.Allow(t.Context(), "late", 1), "it has had its burst")
	})
}

// Allow says what Admit says, in the same order: first that the context has ended, then that the cost is too high.
func TestPerKeyAllowIsAdmit(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p := policyredis.NewPerKey(answers(int64(0), nil), hourly, 2, func(context.Context) string { return "key" }, costing(), patient())
	for _, cost := range []int{-1, 0, 1, 3} {
		for _, ctx := range []context.Context{t.Context(), ended} {
			_, _, err := p.Admit(context.WithValue(ctx, costKey{}, cost))
			require.Equal(t, err, p.Allow(ctx, "key", cost), cost)
			if ctx == ended {
				require.ErrorIs(t, err, context.Canceled, cost)
			} else {
				require.Equal(t, cost < 0 || cost > 2, err != nil, cost)
			}
		}
	}
}
