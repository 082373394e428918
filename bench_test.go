package resilience_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// noLimit is a rate that a benchmark never reaches.
const noLimit = 1e9

func fetch(context.Context) (int, error) { return 42, nil }

// BenchmarkDo is a successful call: each policy alone, the engine with guards that do nothing, and pipelines.
func BenchmarkDo(b *testing.B) {
	four := func() []policy.Layer {
		return []policy.Layer{
			retry.New(), breaker.New(breaker.FailureRate(0.5, 20)), ratelimit.New(noLimit, 1<<29), bulkhead.New(1 << 20),
		}
	}
	cases := []struct {
		name  string
		layer policy.Layer
	}{
		{"empty", resilience.Compose()},
		{"guards=1", resilience.Compose(&quietGuard{})},
		{"guards=5", resilience.Compose(&quietGuard{}, &quietGuard{}, &quietGuard{}, &quietGuard{}, &quietGuard{})},
		{"retry", retry.New()},
		{"breaker/consecutive", breaker.New()},
		{"breaker/rate", breaker.New(breaker.FailureRate(0.5, 20))},
		{"ratelimit", ratelimit.New(noLimit, 1<<29)},
		{"bulkhead", bulkhead.New(1 << 20)},
		{"timeout", timeout.PerAttempt(time.Second)},
		{"four", resilience.Compose(four()...)},
		{"six", resilience.Compose(append(four(), timeout.Total(time.Hour), timeout.PerAttempt(time.Second))...)},
	}
	for _, c := range cases {
		b.Run(c.name+"/serial", func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resilience.Do(ctx, c.layer, fetch); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := resilience.Do(ctx, c.layer, fetch); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkRejected is a call that an open breaker refuses.
func BenchmarkRejected(b *testing.B) {
	open := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Hour))
	_, _ = resilience.Do(context.Background(), open, func(context.Context) (int, error) { return 0, errBackend })
	for name, layer := range map[string]policy.Layer{"breaker": open, "retry+breaker": resilience.Compose(retry.New(), open)} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resilience.Do(ctx, layer, fetch); err == nil {
					b.Fatal("admitted")
				}
			}
		})
	}
}
