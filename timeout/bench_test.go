package timeout_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/timeout"
)

func ok(context.Context) (int, error) { return 1, nil }

func TestAllocations(t *testing.T) {
	ctx := t.Context()
	attempt := timeout.PerAttempt(time.Hour)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, attempt, ok) }), 5.0)
}

func BenchmarkPerAttempt(b *testing.B) {
	limit := timeout.PerAttempt(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(b.Context(), limit, ok)
	}
}
