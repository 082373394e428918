package ratelimit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// Who is refused when the rate becomes 0 leaves what is there to those behind, to the last token.
func TestFault129_SetRateZeroLeavesTheTokensToThoseBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 8, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		acquire(t, l, 4)
		results := make([]error, 3)
		for i, cost := range []int{6, 1, 3} {
			go func() { _, results[i] = policy.Acquire(costing(context.Background(), cost), l) }()
			synctest.Wait()
		}
		require.Equal(t, 3, l.Snapshot().Waiting)
		require.NoError(t, l.SetRate(0))
		synctest.Wait()
		require.ErrorIs(t, results[0], ratelimit.ErrLimited, "4 tokens are there")
		require.NoError(t, results[1])
		require.NoError(t, results[2])
		require.Zero(t, l.Snapshot().Tokens)
	})
}
