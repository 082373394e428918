package timeout_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func ok(context.Context) (int, error) { return 1, nil }

func TestAllocations(t *testing.T) {
	ctx := t.Context()
	attempt := timeout.PerAttempt(time.Hour)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, attempt, ok) }), 5.0)
	both := resilience.Compose(timeout.Total(2*time.Hour), attempt)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, both, ok) }), 11.0)
	follows := timeout.FromLatency(0.99, 3, time.Second, time.Hour)
	require.LessOrEqual(t, testing.AllocsPerRun(500, func() { _, _ = resilience.Do(ctx, follows, ok) }), 5.0)
	abandons := timeout.Abandon(time.Hour)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, abandons, ok) }), 14.0)
	for _, reporter := range []policy.Reporter{attempt, follows, abandons} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = reporter.Report() }), 1.0)
	}
}

func BenchmarkPerAttempt(b *testing.B) {
	limit := timeout.PerAttempt(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(b.Context(), limit, ok)
	}
}

func BenchmarkAbandon(b *testing.B) {
	limit := timeout.Abandon(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(b.Context(), limit, ok)
	}
}

func BenchmarkFromLatency(b *testing.B) {
	limit := timeout.FromLatency(0.99, 3, time.Second, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(b.Context(), limit, ok)
	}
}
