package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

func TestRetryAfterThatIsNotKnownIsZero(t *testing.T) {
	wait, known := (&policy.Rejection{}).RetryAfter()
	require.False(t, known)
	require.Zero(t, wait)
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

func TestFault094_ARejectionIsNoFailure(t *testing.T) {
	rejection := &policy.Rejection{Kind: "breaker", Name: "db", Reason: errSentinel}
	err := fmt.Errorf("while reading: %w", rejection)
	require.ErrorIs(t, err, policy.ErrRejected)
	require.ErrorIs(t, err, errSentinel)
	got, ok := errors.AsType[*policy.Rejection](err)
	require.True(t, ok)
	require.Equal(t, rejection, got)
	require.Equal(t, `breaker "db": open`, rejection.Error())
	require.Equal(t, "breaker: open", (&policy.Rejection{Kind: "breaker", Reason: errSentinel}).Error())
	require.Equal(t, "maintenance", (&policy.Rejection{Kind: "maintenance"}).Error())
	require.Equal(t, "gate: one; two", (&policy.Rejection{Kind: "gate", Reason: errors.New("one\ntwo")}).Error())
	require.NotErrorIs(t, errBackend, policy.ErrRejected)
}

func TestRetryAfterCountsFromTheMomentOfAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rejection := &policy.Rejection{Kind: "breaker", Reason: errSentinel, Until: time.Now().Add(5 * time.Second)}
		wait, ok := policy.RetryAfter(rejection)
		require.True(t, ok)
		require.Equal(t, 5*time.Second, wait)
		require.Equal(t, "breaker: open (retry after 5s)", rejection.Error())
		time.Sleep(3 * time.Second)
		wait, _ = policy.RetryAfter(rejection)
		require.Equal(t, 2*time.Second, wait)
		time.Sleep(time.Hour)
		wait, ok = policy.RetryAfter(rejection)
		require.True(t, ok)
		require.Zero(t, wait)
	})
}

type hint struct {
	wait time.Duration
	ok   bool
}

func (h hint) Error() string                     { return "hint" }
func (h hint) RetryAfter() (time.Duration, bool) { return h.wait, h.ok }

func TestRetryAfterFindsTheFirstThatKnows(t *testing.T) {
	cases := map[string]struct {
		err  error
		wait time.Duration
		ok   bool
	}{
		"nil":                {nil, 0, false},
		"none":               {errBackend, 0, false},
		"wrapped":            {fmt.Errorf("a: %w", fmt.Errorf("b: %w", hint{time.Second, true})), time.Second, true},
		"joined":             {errors.Join(errBackend, fmt.Errorf("x: %w", hint{time.Minute, true})), time.Minute, true},
		"first":              {errors.Join(hint{1, true}, hint{2, true}), 1, true},
		"one does not know":  {errors.Join(hint{1, false}, hint{2, true}), 2, true},
		"negative":           {hint{-time.Hour, true}, 0, true},
		"huge":               {hint{math.MaxInt64, true}, math.MaxInt64, true},
		"unknown rejection":  {&policy.Rejection{Kind: "bulkhead", Reason: errSentinel}, 0, false},
		"the reason's hint":  {&policy.Rejection{Kind: "bulkhead", Reason: hint{3, true}}, 3, true},
		"nil inside a joint": {errors.Join(nil, hint{2, true}), 2, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			wait, ok := policy.RetryAfter(c.err)
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.wait, wait)
		})
	}
}

func TestARejectionAsJSONAndInLogs(t *testing.T) {
	until := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	rejection := &policy.Rejection{Kind: "breaker", Name: "users", Reason: policy.NewReason("breaker.open", "circuit open"), Until: until}
	text, err := json.Marshal(rejection)
	require.NoError(t, err)
	require.JSONEq(t, `{"kind":"breaker","name":"users","reason":"circuit open","code":"breaker.open","until":"2026-11-27T12:00:00Z"}`, string(text))
	text, err = json.Marshal(&policy.Rejection{Kind: "gate"})
	require.NoError(t, err)
	require.JSONEq(t, `{"kind":"gate","reason":"","code":"rejected"}`, string(text))
	require.Equal(t, "[kind=breaker name=users reason=circuit open code=breaker.open retry_after=0s]", rejection.LogValue().String())
	require.Equal(t, policy.Ignored, policy.ClassOf(fmt.Errorf("inner: %w", rejection)))
}
