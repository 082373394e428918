package policy_test

// What only a changed package showed to be untested; see proof/mutate.

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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

func TestTheWaitOfARejectionIsRoundedWhenItIsPrinted(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		2*time.Second + 1234567:   "2.001s",
		time.Second:               "1s",
		time.Second - 1:           "1s",
		time.Second - 999_000:     "999.001ms",
		time.Second + 499_999:     "1s",
		time.Second + 500_001:     "1.001s",
		time.Millisecond:          "1ms",
		time.Millisecond + 1_499:  "1.001ms",
		time.Millisecond - 1:      "999.999µs",
		5*time.Microsecond + 1:    "5.001µs",
		time.Hour + 7*time.Second: "1h0m7s",
	} {
		synctest.Test(t, func(t *testing.T) {
			rejection := &policy.Rejection{Kind: "limit", Until: time.Now().Add(wait)}
			require.Equal(t, "limit (retry after "+want+")", rejection.Error())
		})
	}
}
