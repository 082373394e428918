package policy_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

func TestCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.False(t, policy.Canceled(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.True(t, policy.Canceled(ctx))
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(time.Second)
		require.False(t, policy.Canceled(ctx), "a deadline")
		bounded, end := context.WithCancelCause(t.Context())
		end(fmt.Errorf("attempt timeout: %w", context.DeadlineExceeded))
		require.False(t, policy.Canceled(bounded), "a timeout that cancels")
		left, end := context.WithCancelCause(t.Context())
		end(errBackend)
		require.True(t, policy.Canceled(left))
	})
}

func TestNoWait(t *testing.T) {
	require.True(t, policy.MayWait(t.Context()))
	require.False(t, policy.MayWait(policy.NoWait(t.Context())))
}

func TestANilPermitMayBeSettled(t *testing.T) {
	var permit *policy.Permit
	require.Equal(t, "no permit", permit.String())
	require.False(t, permit.Done(errBackend))
	require.False(t, permit.Settle(policy.Outcome{}))
	require.Equal(t, context.Background(), permit.Context())
}
