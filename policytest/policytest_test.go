package policytest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScript(t *testing.T) {
	first, third := errors.New("first"), errors.New("third")
	op, calls := policytest.Script("value", first, nil, third)
	require.Zero(t, calls())
	for i, want := range []error{first, nil, third, nil, nil} {
		value, err := op(t.Context())
		require.Equal(t, want, err)
		require.Equal(t, map[bool]string{true: "value", false: ""}[err == nil], value)
		require.Equal(t, i+1, calls())
	}
}

func TestRecorder(t *testing.T) {
	var recorder policytest.Recorder
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { recorder.Observe(context.Background(), policy.Event{Kind: policy.EventRetry}) })
	}
	all.Wait()
	recorder.Observe(context.Background(), policy.Event{Kind: policy.EventCall})
	require.Equal(t, 8, recorder.Count(policy.EventRetry))
	require.Equal(t, policy.EventCall, recorder.Kinds()[8])
	events := recorder.Events()
	events[0].Kind = policy.EventStopped
	require.Zero(t, recorder.Count(policy.EventStopped))
	recorder.Reset()
	require.Empty(t, recorder.Events())
}
