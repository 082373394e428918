package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// What Validate accepts, New accepts, and works: neither debt nor gift, and every refusal is one of the limiter.
func FuzzValidate(f *testing.F) {
	f.Add(100.0, 10, int64(time.Second), 1, 3)
	f.Add(0.0, 1, int64(0), 0, 1)
	f.Add(1e9, 1<<53, int64(1)<<62, 1<<53, 2)
	f.Add(1e-9, 5, int64(1), -1, 2)
	f.Fuzz(func(t *testing.T, perSecond float64, burst int, wait int64, cost, calls int) {
		options := []ratelimit.Option{ratelimit.CostOf(func(context.Context) int { return cost })}
		if wait != 0 {
			options = append(options, ratelimit.MaxWait(time.Duration(wait)))
		}
		err := ratelimit.Validate(perSecond, burst, options...)
		defer func() {
			if problem := recover(); (problem != nil) != (err != nil) {
				t.Fatalf("Validate says %v, New %v", err, problem)
			}
		}()
		l := ratelimit.New(perSecond, burst, options...)
		_ = l.String()
		for range calls % 10 {
			ctx, cancel := in(time.Microsecond) // nobody waits in earnest
			_, failure := resilience.Do(ctx, l, nothing)
			cancel()
			if r, ok := failure.(*policy.Rejection); ok && r.Reason == nil {
				t.Fatalf("%v", failure)
			}
			s := l.Snapshot()
			if !(s.Tokens >= 0 && s.Tokens <= float64(burst)) || s.Waiting != 0 {
				t.Fatalf("%+v", s)
			}
		}
		err = nil
	})
}
