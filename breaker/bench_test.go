package breaker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

var errBench = errors.New("bench")

// modes are the ways in which a healthy breaker counts.
var modes = []struct {
	name string
	opts []breaker.Option
}{
	{"consecutive", nil},
	{"count window", []breaker.Option{breaker.FailureRate(0.5, 20), breaker.CountWindow(100)}},
	{"time window", []breaker.Option{breaker.FailureRate(0.5, 20)}},
	{"time window and slow calls", []breaker.Option{breaker.FailureRate(0.5, 20), breaker.SlowCalls(time.Second, 0.5, 20)}},
}

func succeed(context.Context) (int, error) { return 1, nil }

func BenchmarkBare(b *testing.B) {
	ctx := b.Context()
	for b.Loop() {
		_, _ = succeed(ctx)
	}
}

func BenchmarkSuccess(b *testing.B) {
	for _, mode := range modes {
		b.Run(mode.name, func(b *testing.B) {
			br := breaker.New(mode.opts...)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = resilience.Do(ctx, br, succeed)
			}
		})
	}
}

// BenchmarkGuard is admission and settlement without the engine.
func BenchmarkGuard(b *testing.B) {
	for _, mode := range modes {
		b.Run(mode.name, func(b *testing.B) {
			br := breaker.New(mode.opts...)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				ctx, ticket, _ := br.Admit(ctx)
				br.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
			}
		})
	}
}

func BenchmarkSuccessParallel(b *testing.B) {
	for _, mode := range modes {
		b.Run(mode.name, func(b *testing.B) {
			br := breaker.New(mode.opts...)
			b.SetParallelism(32) // 64 goroutines on two cores
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				ctx := b.Context()
				for pb.Next() {
					_, _ = resilience.Do(ctx, br, succeed)
				}
			})
		})
	}
}

// BenchmarkMixed fails every tenth attempt.
func BenchmarkMixedParallel(b *testing.B) {
	for _, mode := range modes {
		b.Run(mode.name, func(b *testing.B) {
			br := breaker.New(mode.opts...)
			b.SetParallelism(32) // 64 goroutines on two cores
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				ctx := b.Context()
				for i := 0; pb.Next(); i++ {
					_, _ = resilience.Do(ctx, br, func(context.Context) (int, error) {
						if i%10 == 0 {
							return 0, errBench
						}
						return 1, nil
					})
				}
			})
		})
	}
}

func BenchmarkRejection(b *testing.B) {
	br := breaker.New(breaker.OpenFor(time.Hour))
	br.Trip()
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = resilience.Do(ctx, br, succeed)
	}
}

func BenchmarkState(b *testing.B) {
	br := breaker.New()
	for b.Loop() {
		_ = br.State()
	}
}

func BenchmarkSnapshot(b *testing.B) {
	br := breaker.New(breaker.FailureRate(0.5, 20))
	for b.Loop() {
		_ = br.Snapshot()
	}
}

// BenchmarkMutex is what the lock-free path is measured against: the least that a breaker behind a mutex must do.
func BenchmarkMutex(b *testing.B) {
	admitAndSettle := func(mu *sync.Mutex, state, streak *int) {
		mu.Lock()
		open := *state != 0
		mu.Unlock()
		if open {
			return
		}
		mu.Lock()
		*streak = 0
		mu.Unlock()
	}
	b.Run("serial", func(b *testing.B) {
		var mu sync.Mutex
		var state, streak int
		for b.Loop() {
			admitAndSettle(&mu, &state, &streak)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		var mu sync.Mutex
		var state, streak int
		b.SetParallelism(32) // 64 goroutines on two cores
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				admitAndSettle(&mu, &state, &streak)
			}
		})
	})
}
