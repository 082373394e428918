package policyconfig_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// TestHandleAllocatesNothing: a call by a handle allocates what a call by the pipeline does, which is nothing.
func TestHandleAllocatesNothing(t *testing.T) {
	handle := load(t, layersOf(`{"kind": "breaker"}, {"kind": "bulkhead", "limit": 8}`)).Pipeline("users")
	ctx := context.Background()
	op := func(context.Context) (int, error) { return 1, nil }
	for _, layer := range []policy.Layer{handle, handle.Current()} {
		require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(ctx, layer, op) }), "%T", layer)
	}
}

func TestHandleIsASource(t *testing.T) {
	handle := load(t, layersOf(`{"kind": "retry"}, {"kind": "breaker"}`)).Pipeline("users")
	require.Equal(t, policy.StageRetry, handle.Stage())
	require.NoError(t, handle.Ready(t.Context()))
	require.True(t, handle.Idle())
	require.Equal(t, "users", handle.Name())
	require.Equal(t, handle.Current().Report().Name, handle.Report().Name)
	require.ErrorContains(t, resilience.Validate(handle), "a source of pipelines cannot be composed")
	result, err := resilience.For[int](handle).Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, result)
	value, permit, err := resilience.Open(t.Context(), handle, func(context.Context) (int, error) { return 8, nil })
	require.NoError(t, err)
	require.Equal(t, 8, value)
	require.True(t, permit.Done(nil))
	_, err = handle.Acquire(t.Context())
	require.Error(t, err, "a pipeline with a retry cannot be acquired")
}

// BenchmarkHandle measures what a call by a handle costs more than one by its pipeline: about 2 ns. The two take turns, and
// the twentieth part of the batches that was the least disturbed counts, so that a busy machine gives the same answer.
func BenchmarkHandle(b *testing.B) {
	handle := load(b, layersOf(`{"kind": "breaker"}`)).Pipeline("users")
	op := func(context.Context) (int, error) { return 1, nil }
	ctx := context.Background()
	const batch = 500
	var took [2][]time.Duration
	layers := [2]policy.Layer{handle.Current(), handle}
	for b.Loop() {
		for i, layer := range layers {
			start := time.Now()
			for range batch {
				_, _ = resilience.Do(ctx, layer, op)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	var quiet [2]float64
	for i := range took {
		slices.Sort(took[i])
		quiet[i] = float64(took[i][len(took[i])/20]) / batch
	}
	b.ReportMetric(0, "ns/op") // of both, which says nothing
	b.ReportMetric(quiet[0], "pipeline-ns")
	b.ReportMetric(quiet[1], "handle-ns")
	b.ReportMetric(quiet[1]-quiet[0], "more-ns")
}
