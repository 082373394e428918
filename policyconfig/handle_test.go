package policyconfig_test

import (
	"context"
	"testing"

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

// BenchmarkHandle compares a call by a handle with one by its pipeline: at most 2 ns more.
func BenchmarkHandle(b *testing.B) {
	handle := load(b, layersOf(`{"kind": "breaker"}`)).Pipeline("users")
	op := func(context.Context) (int, error) { return 1, nil }
	ctx := context.Background()
	for _, bench := range []struct {
		name  string
		layer policy.Layer
	}{{"pipeline", handle.Current()}, {"handle", handle}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = resilience.Do(ctx, bench.layer, op)
			}
		})
	}
}
