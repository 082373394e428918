package bulkhead_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func BenchmarkAdmitAndSettle(b *testing.B) {
	for name, limiter := range map[string]*bulkhead.Bulkhead{
		"plain":  bulkhead.New(16),
		"queue":  bulkhead.New(16, bulkhead.Queue(8, time.Second)),
		"weight": bulkhead.New(16, bulkhead.WeightOf(func(context.Context) int { return 2 })),
	} {
		ctx := context.Background()
		once := func() {
			if ctx, ticket, err := limiter.Admit(ctx); err == nil {
				limiter.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
			}
		}
		b.Run(name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once()
				}
			})
		})
	}
}

func BenchmarkRefused(b *testing.B) {
	full := bulkhead.New(1)
	permit, err := policy.Acquire(context.Background(), full)
	if err != nil {
		b.Fatal(err)
	}
	defer permit.Done(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = full.Admit(context.Background())
	}
}

// BenchmarkQueue is the price of waiting: 8 goroutines for one slot.
func BenchmarkQueue(b *testing.B) {
	one := bulkhead.New(1, bulkhead.Queue(1000, time.Hour))
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resilience.Do(context.Background(), one, nothing)
		}
	})
}

func BenchmarkDo(b *testing.B) {
	plain := bulkhead.New(16)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(context.Background(), plain, nothing)
	}
}
