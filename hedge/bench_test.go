package hedge_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
)

func ok(context.Context) (int, error) { return 1, nil }

// A call that may not be hedged costs what any wrapper costs; one that may be costs a goroutine, a timer and a
// cancellable context on top.
func TestAllocations(t *testing.T) {
	ctx := t.Context()
	plain := hedge.New(hedge.After(time.Hour))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, plain, ok) }), 3.0)
	warming := hedge.New(hedge.Idempotent(), hedge.Quantile(0.999))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, warming, ok) }), 3.0)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = warming.Report() }), 1.0)
	hedged := after(time.Hour)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, hedged, ok) }), 17.0)
}

func BenchmarkNotHedged(b *testing.B) {
	h := hedge.New(hedge.After(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(b.Context(), h, ok)
	}
}

func BenchmarkHedgedFirstAnswers(b *testing.B) {
	h := hedge.New(hedge.Idempotent(), hedge.After(time.Hour), hedge.Quantile(0.95))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(b.Context(), h, ok)
	}
}
