package policy_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

func TestCauseInWords(t *testing.T) {
	for want, cause := range map[string]policy.Cause{
		"": {},
		"26 of the last 40 calls failed (65 %), the limit is 50 % of at least 20": {
			Rule: "FailureRate", What: "failed", Bad: 26, Calls: 40, Limit: 0.5, Minimum: 20,
		},
		"5 calls in a row failed, the limit is 5":                                     {Rule: "ConsecutiveFailures", What: "failed", Bad: 5, Limit: 5},
		"7 of the last 9 calls were slow (77.8 %), the limit is 33.3 % of at least 5": {What: "were slow", Bad: 7, Calls: 9, Limit: 1.0 / 3, Minimum: 5},
		"12 of the last 300 calls failed, the limit is 12":                            {Rule: "FailureCount", What: "failed", Bad: 12, Calls: 300, Limit: 12},
		"Trip": {Rule: "Trip"},
	} {
		require.Equal(t, want, cause.String())
	}
	require.Equal(t, "20 of the last 20 calls failed (100 %), the limit is 100 % of at least 20",
		policy.Cause{Rule: "FailureRate", What: "failed", Bad: 20, Calls: 20, Limit: 1, Minimum: 20}.String())
}

func TestFault280_AReportAsJSONAndInLogs(t *testing.T) {
	since := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	report := policy.Report{
		Kind: "breaker", Name: "users", Stage: policy.StageBreaker, Shadow: true,
		State: policy.State{
			Name: "open", Since: since, Until: since.Add(5 * time.Second), All: []string{"closed", "open"},
			Cause: policy.Cause{Rule: "ConsecutiveFailures", What: "failed", Bad: 5, Limit: 5, Err: errBackend},
		},
		Settings: []policy.Setting{
			{Name: "OpenFor", Args: []policy.Argument{{Name: "d", Value: 5 * time.Second}}},
			{Name: "Classify", Code: true},
		},
		Values: []policy.Value{
			{Name: "in_flight", Unit: policy.UnitCount, Kind: policy.Gauge, Number: 3, Limit: 16},
			{Name: "keys", Label: "open", Unit: policy.UnitCount, Kind: policy.Counter, Number: 2},
			{Name: "failure_rate", Unit: policy.UnitRatio, Kind: policy.Gauge, Unknown: true},
			{Name: "odd", Unit: policy.UnitRatio, Kind: policy.Gauge, Number: math.NaN(), Limit: math.Inf(1)},
		},
	}
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"kind": "breaker", "name": "users", "stage": "breaker", "shadow": true,
		"state": {
			"name": "open", "since": "2026-11-27T12:00:00Z", "until": "2026-11-27T12:00:05Z",
			"cause": {"rule": "ConsecutiveFailures", "what": "failed", "bad": 5, "limit": 5,
				"text": "5 calls in a row failed, the limit is 5", "error": "backend failed"}
		},
		"settings": [{"name": "OpenFor", "args": [{"name": "d", "value": "5s"}]}, {"name": "Classify", "code": true}],
		"values": [
			{"name": "in_flight", "unit": "1", "kind": "gauge", "number": 3, "limit": 16},
			{"name": "keys", "label": "open", "unit": "1", "kind": "counter", "number": 2},
			{"name": "failure_rate", "unit": "ratio", "kind": "gauge", "number": null, "unknown": true},
			{"name": "odd", "unit": "ratio", "kind": "gauge", "number": null}
		]
	}`, string(text))
	require.Equal(t, "[kind=breaker name=users state=open cause=5 calls in a row failed, the limit is 5 shadow=true in_flight=3 keys.open=2 odd=NaN]",
		report.LogValue().String())
	value, ok := report.Value("keys", "open")
	require.True(t, ok)
	require.Equal(t, 2.0, value.Number)
	_, ok = report.Value("keys", "")
	require.False(t, ok)

	text, err = json.Marshal(policy.Report{Kind: "retry", Stage: policy.StageRetry})
	require.NoError(t, err)
	require.JSONEq(t, `{"kind": "retry", "stage": "retry"}`, string(text))
}

func TestNames(t *testing.T) {
	type named interface {
		fmt.Stringer
		encoding.TextMarshaler
	}
	for value, name := range map[named]string{
		policy.StageFallback: "fallback", policy.StageShed: "shed", policy.StageTotalTimeout: "total timeout",
		policy.StageRetry: "retry", policy.StageHedge: "hedge", policy.StageBreaker: "breaker",
		policy.StageRateLimit: "rate limit", policy.StageBulkhead: "bulkhead",
		policy.StageAttemptTimeout: "attempt timeout", policy.StageChaos: "chaos", policy.Stage(650): "stage 650",
		policy.NotCalled: "not called", policy.Returned: "returned", policy.Panicked: "panicked", policy.Exited: "exited", policy.Kind(9): "kind 9",
		policy.Success: "success", policy.Failure: "failure", policy.Neutral: "neutral", policy.Verdict(9): "verdict 9",
		policy.EventAttempt: "attempt", policy.EventRejected: "rejected", policy.EventRetry: "retry", policy.EventWait: "wait",
		policy.EventStopped: "stopped", policy.EventCall: "call", policy.EventSettled: "settled", policy.EventKind(99): "event 99",
		policy.Unclassified: "unclassified", policy.Transient: "transient", policy.Permanent: "permanent", policy.Expected: "expected",
		policy.Throttled: "throttled", policy.Ignored: "ignored", policy.Class(99): "class 99",
		policy.Gauge: "gauge", policy.Counter: "counter", policy.ValueKind(9): "value kind 9",
	} {
		require.Equal(t, name, value.String())
		text, err := value.MarshalText()
		require.NoError(t, err)
		require.Equal(t, name, string(text))
	}
}

// An argument that is not finite, such as a rate without a limit, does not spoil the report.
func TestArgumentsThatAreNotFinite(t *testing.T) {
	for value, want := range map[float64]string{math.Inf(1): `"+Inf"`, math.Inf(-1): `"-Inf"`, 0.5: "0.5"} {
		text, err := json.Marshal(policy.Argument{Name: "perSecond", Value: value})
		require.NoError(t, err)
		require.JSONEq(t, `{"name": "perSecond", "value": `+want+`}`, string(text))
	}
}

type cannotBeWritten struct{}

func (cannotBeWritten) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }

func TestStateWithATimeThatJSONCannotHold(t *testing.T) {
	since := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	text, err := json.Marshal(policy.State{Name: "off", Since: since, Until: since.AddDate(9000, 0, 0)})
	require.NoError(t, err)
	require.JSONEq(t, `{"name": "off", "since": "2026-11-28T00:00:00Z"}`, string(text))
}

// What another package's layer has put into a setting does not spoil the report, nor all the others beside it.
func TestArgumentsThatAreNoData(t *testing.T) {
	for want, value := range map[string]any{
		`"{}"`: cannotBeWritten{}, `"<nil>"`: (chan int)(nil), `"[a b]"`: []string{"a", "b"}, `7`: int64(7), `null`: nil,
	} {
		text, err := json.Marshal(policy.Argument{Name: "x", Value: value})
		require.NoError(t, err)
		require.JSONEq(t, `{"name": "x", "value": `+want+`}`, string(text))
	}
}

// The error of a cause may be a page of HTML, or a thousand errors that were joined.
func TestTheErrorOfACauseIsBounded(t *testing.T) {
	text, err := json.Marshal(policy.Cause{Rule: "Trip", Err: errors.New("a\nb" + strings.Repeat("x", 1e6))})
	require.NoError(t, err)
	require.Contains(t, string(text), `"error":"a; bxxx`)
	require.Less(t, len(text), 600)
}
