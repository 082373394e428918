package ratelimit_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestAllocations(t *testing.T) {
	ctx := context.Background()
	plain := ratelimit.New(0, ratelimit.MaxBurst)
	waiting := ratelimit.New(0, ratelimit.MaxBurst, ratelimit.MaxWait(time.Hour))
	priced := ratelimit.New(0, ratelimit.MaxBurst, ratelimit.CostOf(costMark))
	tight := ratelimit.New(ratelimit.MaxRate, 1, ratelimit.MaxWait(time.Hour))
	unlimited := ratelimit.New(math.Inf(1), 0)
	empty := ratelimit.New(0, 1)
	require.True(t, admitted(t, empty))
	do := func(l *ratelimit.Limiter) func() error {
		return func() error { _, err := resilience.Do(ctx, l, nothing); return err }
	}
	tests := []struct {
		name   string
		run    func() error
		allocs float64
	}{
		{"admit", func() error { _, _, err := plain.Admit(ctx); return err }, 0},
		{"admit and give back", func() error {
			ctx, ticket, err := plain.Admit(ctx)
			plain.Settle(ctx, ticket, neverCalled)
			return err
		}, 0},
		{"do", do(plain), 0},
		{"do with a queue", do(waiting), 0},
		{"do with a cost", do(priced), 0},
		{"do with a burst of 1", do(tight), 0},
		{"do without a limit", do(unlimited), 0},
		{"view", func() error { _, err := ratelimit.Policy[struct{}]{Limiter: plain}.Do(ctx, nothing); return err }, 0},
		{"refused", func() error {
			if _, _, err := empty.Admit(ctx); err == nil {
				t.Error("admitted")
			}
			return nil
		}, 1}, // the rejection, which has a moment of its own
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, test.run())
			require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = test.run() }), test.allocs)
		})
	}
	require.Equal(t, policy.StageRateLimit, plain.Stage())
}
