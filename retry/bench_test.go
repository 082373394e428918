package retry_test

import (
	"context"
	"testing"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/retry"
)

func BenchmarkOperationAlone(b *testing.B) {
	ctx := context.Background()
	op := succeed
	for b.Loop() {
		_, _ = op(ctx)
	}
}

func BenchmarkFirstSuccess(b *testing.B) {
	ctx, pipeline := context.Background(), resilience.Compose(retry.New())
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(ctx, pipeline, succeed)
	}
}

func BenchmarkFirstSuccessParallel(b *testing.B) {
	ctx, pipeline := context.Background(), resilience.Compose(retry.New())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = resilience.Do(ctx, pipeline, succeed)
		}
	})
}

func BenchmarkTwoFailures(b *testing.B) {
	ctx, pipeline := context.Background(), resilience.Compose(retry.New(retry.Constant(0)))
	op := func(ctx context.Context) (int, error) {
		if retry.Attempt(ctx) < 3 {
			return 0, errBackend
		}
		return 1, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(ctx, pipeline, op)
	}
}
