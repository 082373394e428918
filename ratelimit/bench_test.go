package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/ratelimit"
)

// The admissions beside those of the limiter inside, with the clock read (Allow) and without (AllowN).
func BenchmarkAdmit(b *testing.B) {
	ctx := context.Background()
	now := time.Now()
	bare := rate.NewLimiter(1e9, 1<<29)
	plain := ratelimit.New(1e9, 1<<29)
	waiting := ratelimit.New(1e9, 1<<29, ratelimit.MaxWait(time.Second))
	for _, test := range []struct {
		name string
		run  func()
	}{
		{"rate.AllowN", func() { bare.AllowN(now, 1) }},
		{"rate.Allow", func() { bare.Allow() }},
		{"Admit", func() { _, _, _ = plain.Admit(ctx) }},
		{"Admit with MaxWait", func() { _, _, _ = waiting.Admit(ctx) }},
		{"Do", func() { _, _ = resilience.Do(ctx, plain, nothing) }},
	} {
		b.Run(test.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				test.run()
			}
		})
		b.Run(test.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					test.run()
				}
			})
		})
	}
}

func BenchmarkRefused(b *testing.B) {
	ctx := context.Background()
	slow := ratelimit.New(1, 1)
	bare := rate.NewLimiter(1, 1)
	b.Run("rate.Allow", func(b *testing.B) {
		for b.Loop() {
			bare.Allow()
		}
	})
	b.Run("Admit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = slow.Admit(ctx)
		}
	})
}

// BenchmarkWait is the price of waiting: a queue that is served as fast as timers allow.
func BenchmarkWait(b *testing.B) {
	ctx := context.Background()
	l := ratelimit.New(1e6, 1000, ratelimit.MaxWait(time.Second))
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _, _ = l.Admit(ctx)
		}
	})
}
