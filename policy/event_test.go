package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
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

func TestObserveOnly(t *testing.T) {
	observer := policy.ObserveOnly(policy.ObserverFunc(func(context.Context, policy.Event) {}), policy.EventRejected, policy.EventStopped)
	kinds := observer.(policy.KindObserver).ObservedKinds()
	require.Equal(t, []policy.EventKind{policy.EventRejected, policy.EventStopped}, kinds)
	kinds[0] = policy.EventCall
	require.Equal(t, policy.EventRejected, observer.(policy.KindObserver).ObservedKinds()[0])
}

func TestFault280_AnEventAsJSONAndInLogs(t *testing.T) {
	event := policy.Event{
		Kind: policy.EventStopped, Pipeline: "users", Layer: layer{}, Attempt: 3,
		Outcome: policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend},
		Reason:  policy.NewReason("retry.exhausted", "attempts exhausted"),
		Elapsed: time.Second, Queued: 2 * time.Second, Wait: 500 * time.Millisecond,
	}
	text, err := json.Marshal(event)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"kind": "stopped", "pipeline": "users", "layer": "policy_test.layer", "attempt": 3,
		"outcome": {"kind": "returned", "class": "transient", "error": "backend failed"},
		"reason": "attempts exhausted", "elapsed": 1, "queued": 2, "wait": 0.5
	}`, string(text))
	require.Equal(t, "[event=stopped pipeline=users layer=policy_test.layer attempt=3 outcome=returned class=transient "+
		"error=backend failed reason=attempts exhausted elapsed=1s queued=2s wait=500ms]", event.LogValue().String())

	event.Outcome.Err = errors.New("a\nb")
	require.Contains(t, event.String(), "event=stopped pipeline=users layer=policy_test.layer attempt=3")
	require.NotContains(t, event.String(), "\n")

	text, err = json.Marshal(policy.Attempt{Number: 2, Outcome: event.Outcome, Blocked: errBackend, Elsewhere: true, Asked: 1})
	require.NoError(t, err)
	require.JSONEq(t, `{"number": 2, "outcome": {"kind": "returned", "class": "transient", "error": "a\nb"},
		"blocked": "backend failed", "elsewhere": true, "asked": 1}`, string(text))
	text, err = json.Marshal(policy.Decision{Again: true, Wait: time.Second, Err: errBackend, Reason: errBackend})
	require.NoError(t, err)
	require.JSONEq(t, `{"again": true, "wait": 1, "error": "backend failed", "reason": "backend failed"}`, string(text))

	text, err = json.Marshal(policy.Event{Kind: policy.EventCall})
	require.NoError(t, err)
	require.JSONEq(t, `{"kind": "call", "outcome": {"kind": "not called"}}`, string(text))
	require.Equal(t, "[event=call outcome=not called]", policy.Event{Kind: policy.EventCall}.LogValue().String())
	refused := policy.Event{Kind: policy.EventRejected, Outcome: policy.Outcome{Err: &policy.Rejection{Kind: "gate"}}}
	require.Equal(t, "rejected", refused.Code())
	require.Contains(t, refused.LogValue().String(), "code=rejected")
	text, err = json.Marshal(policy.Outcome{Kind: policy.Returned, Canceled: true, Err: errors.New("x")})
	require.NoError(t, err)
	require.JSONEq(t, `{"kind": "returned", "canceled": true, "error": "x"}`, string(text))
}
