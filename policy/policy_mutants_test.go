package policy_test

// What only a changed package showed to be untested; see proof/mutate.

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

func TestObserverFuncCallsTheFunction(t *testing.T) {
	var heard []policy.Event
	observer := policy.ObserverFunc(func(_ context.Context, event policy.Event) { heard = append(heard, event) })
	observer.Observe(t.Context(), policy.Event{Kind: policy.EventCall, Attempt: 3})
	require.Equal(t, []policy.Event{{Kind: policy.EventCall, Attempt: 3}}, heard)
}

func TestRetryAfterThatIsNotKnownIsZero(t *testing.T) {
	wait, known := (&policy.Rejection{}).RetryAfter()
	require.False(t, known)
	require.Zero(t, wait)
}

func TestAtTakesTheFirstStage(t *testing.T) {
	require.Equal(t, policy.Stage(1), policy.At(1, layer{}).Stage())
}
