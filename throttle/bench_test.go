package throttle_test

import (
	"context"
	"testing"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/throttle"
)

func BenchmarkSuccess(b *testing.B) {
	ok := func(context.Context) (int, error) { return 0, nil }
	b.Run("serial", func(b *testing.B) {
		guard, ctx := throttle.New(), b.Context()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = resilience.Do(ctx, guard, ok)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		guard, ctx := throttle.New(), b.Context()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = resilience.Do(ctx, guard, ok)
			}
		})
	})
}

func BenchmarkRefusal(b *testing.B) {
	guard, ctx := throttle.New(), b.Context()
	fail := func(context.Context) (int, error) { return 0, errBackend }
	for range 100_000 {
		_, _ = resilience.Do(ctx, guard, fail)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(ctx, guard, fail)
	}
}

func BenchmarkReady(b *testing.B) {
	guard, ctx := throttle.New(), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_ = guard.Ready(ctx)
	}
}

// BenchmarkClock is the floor: Admit reads the clock once.
func BenchmarkClock(b *testing.B) {
	clock := stopwatch.Start()
	for b.Loop() {
		_ = clock.Elapsed()
	}
}
