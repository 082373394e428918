package resilience_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func TestPermit(t *testing.T) {
	guard := &probe{}
	permit, err := policy.Acquire(t.Context(), guard)
	require.NoError(t, err)
	require.Equal(t, t.Context(), permit.Context())
	require.True(t, permit.Done(errBackend))
	require.False(t, permit.Done(nil), "FAULT 34: the second settlement is no settlement")
	require.False(t, permit.Settle(policy.Outcome{Kind: policy.Exited}))
	require.EqualValues(t, 1, guard.settled.Load())
	require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}, *guard.last.Load())

	guard.refuse = errRefused
	_, err = policy.Acquire(t.Context(), guard)
	require.ErrorIs(t, err, errRefused)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guard.refuse = nil
	_, err = policy.Acquire(ctx, guard)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, guard.admitted.Load(), "nothing is taken under an ended context")
}

func TestPermitOfATimeoutGivesTheDerivedContext(t *testing.T) {
	permit, err := policy.Acquire(t.Context(), timeout.PerAttempt(time.Hour))
	require.NoError(t, err)
	_, has := permit.Context().Deadline()
	require.True(t, has)
	require.True(t, permit.Done(nil))
	require.Error(t, permit.Context().Err(), "released")
}
