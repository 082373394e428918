package ratelimit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// A limiter that was made outside of a bubble, as one in a package variable is, goes on by the bubble's clock.
func TestFault118_ALimiterMadeOutsideOfABubble(t *testing.T) {
	for _, limit := range []*ratelimit.Limiter{ratelimit.New(10, 1), ratelimit.New(10, 1, ratelimit.MaxWait(time.Second))} {
		synctest.Test(t, func(t *testing.T) {
			for range 5 {
				_, err := resilience.Do(t.Context(), limit, func(context.Context) (int, error) { return 0, nil })
				require.NoError(t, err)
				time.Sleep(100 * time.Millisecond)
			}
			admitted := 0
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				if _, err := resilience.Do(ctx, limit, func(context.Context) (int, error) { return 0, nil }); err == nil {
					admitted++
				}
				cancel()
			}
			require.Equal(t, 1, admitted, "and mints nothing")
		})
	}
}

// What a limiter tells of time, and what it makes of a deadline, is by the clock of those who ask.
func TestFault118_MomentsByTheReplacedClock(t *testing.T) {
	plain, waiting := ratelimit.New(10, 1), ratelimit.New(10, 1, ratelimit.MaxWait(time.Second))
	synctest.Test(t, func(t *testing.T) {
		require.True(t, admitted(t, plain))
		_, err := policy.Acquire(t.Context(), plain)
		require.True(t, rejection(t, err).Until.Equal(time.Now().Add(100*time.Millisecond)))
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 100*time.Millisecond, wait)

		require.True(t, admitted(t, waiting))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = policy.Acquire(ctx, waiting)
		require.ErrorContains(t, err, "outlast the deadline")
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond+1)
		defer cancel()
		start := time.Now()
		permit, err := policy.Acquire(ctx, waiting)
		require.NoError(t, err)
		permit.Done(nil)
		require.Equal(t, 100*time.Millisecond, time.Since(start))
	})
}
