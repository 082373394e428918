package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errSentinel = errors.New("open")
	errBackend  = errors.New("backend failed")
)

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

func TestVerdict(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithTimeout(t.Context(), -1)
	defer cancelLate()
	rejection := &policy.Rejection{Kind: "bulkhead", Reason: errSentinel}
	neutralFor := func(target error) func(error) policy.Verdict {
		return func(err error) policy.Verdict {
			if errors.Is(err, target) {
				return policy.Neutral
			}
			return policy.Failure
		}
	}
	returned := func(err error) policy.Outcome { return policy.Outcome{Kind: policy.Returned, Err: err} }
	cases := map[string]struct {
		ctx      context.Context
		outcome  policy.Outcome
		classify func(error) policy.Class
		want     policy.Verdict
	}{
		"not called":                         {t.Context(), policy.Outcome{}, nil, policy.Neutral},
		"FAULT 59: a panic is a failure":     {t.Context(), policy.Outcome{Kind: policy.Panicked}, nil, policy.Failure},
		"a panic under a cancelled context":  {cancelled, policy.Outcome{Kind: policy.Panicked}, nil, policy.Failure},
		"an exit":                            {t.Context(), policy.Outcome{Kind: policy.Exited}, nil, policy.Failure},
		"success":                            {t.Context(), returned(nil), neutralFor(nil), policy.Success},
		"success under a cancelled context":  {cancelled, returned(nil), nil, policy.Success},
		"an error":                           {t.Context(), returned(errBackend), nil, policy.Failure},
		"FAULT 75: the caller's cancel":      {cancelled, returned(context.Canceled), nil, policy.Neutral},
		"FAULT 85: cancellation as text":     {cancelled, returned(errors.New("canceling statement")), nil, policy.Neutral},
		"Canceled while the caller waits":    {t.Context(), returned(context.Canceled), nil, policy.Failure},
		"FAULT 76: a deadline is a failure":  {late, returned(context.DeadlineExceeded), nil, policy.Failure},
		"FAULT 76: a deadline, classified":   {late, returned(context.DeadlineExceeded), neutralFor(context.DeadlineExceeded), policy.Neutral},
		"classified":                         {t.Context(), returned(errBackend), neutralFor(errBackend), policy.Neutral},
		"a nested rejection":                 {t.Context(), returned(fmt.Errorf("inner: %w", rejection)), nil, policy.Neutral},
		"a rejection after a failed attempt": {t.Context(), returned(errors.Join(rejection, errBackend)), nil, policy.Failure},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, c.outcome.Verdict(c.ctx, c.classify))
		})
	}
}

func TestAtRefusesNonsense(t *testing.T) {
	for _, c := range []struct {
		stage policy.Stage
		layer policy.Layer
		want  string
	}{
		{10, nil, "policy.At: the layer is nil"},
		{0, layer{}, "policy.At: stage 0: must be positive"},
		{-1, nil, "policy.At: the layer is nil; stage -1: must be positive"},
	} {
		require.PanicsWithError(t, c.want, func() { policy.At(c.stage, c.layer) })
	}
}

type layer struct{}

func (layer) Stage() policy.Stage { return policy.StageChaos }

func TestConfigError(t *testing.T) {
	problems := policy.ConfigError{Policy: "breaker"}
	require.NoError(t, problems.Err())
	problems.Add("Probes(%d): must be positive", 0)
	problems.Add("OpenFor(%v): must be positive", -time.Second)
	err := problems.Err()
	require.EqualError(t, err, "breaker: Probes(0): must be positive; OpenFor(-1s): must be positive")
	problems.Add("later")
	require.Len(t, errorAs[*policy.ConfigError](t, err).Problems, 2)
}

func errorAs[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	require.True(t, ok)
	return e
}

func TestNames(t *testing.T) {
	stages := map[policy.Stage]string{
		policy.StageFallback: "fallback", policy.StageShed: "shed", policy.StageTotalTimeout: "total timeout",
		policy.StageRetry: "retry", policy.StageHedge: "hedge", policy.StageBreaker: "breaker",
		policy.StageRateLimit: "rate limit", policy.StageBulkhead: "bulkhead",
		policy.StageAttemptTimeout: "attempt timeout", policy.StageChaos: "chaos", 650: "stage 650",
	}
	for stage, name := range stages {
		require.Equal(t, name, stage.String())
	}
	for kind, name := range map[policy.Kind]string{
		policy.NotCalled: "not called", policy.Returned: "returned", policy.Panicked: "panicked", policy.Exited: "exited", 9: "kind 9",
	} {
		require.Equal(t, name, kind.String())
	}
	for verdict, name := range map[policy.Verdict]string{
		policy.Success: "success", policy.Failure: "failure", policy.Neutral: "neutral", 9: "verdict 9",
	} {
		require.Equal(t, name, verdict.String())
	}
	for kind, name := range map[policy.EventKind]string{
		policy.EventAttempt: "attempt", policy.EventRejected: "rejected", policy.EventRetry: "retry",
		policy.EventWait: "wait", policy.EventStopped: "stopped", policy.EventCall: "call", 99: "event 99",
	} {
		require.Equal(t, name, kind.String())
	}
}
