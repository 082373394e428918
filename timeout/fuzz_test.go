package timeout_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/timeout"
)

// FuzzFromLatency: whatever is accepted grants a limit between floor and most, whatever the latencies are.
func FuzzFromLatency(f *testing.F) {
	f.Add(0.99, 3.0, int64(time.Millisecond), int64(time.Second), int64(time.Millisecond))
	f.Add(0.5, 100.0, int64(1), int64(1<<63-1), int64(1<<40))
	f.Add(0.5, 1.0, int64(1), int64(1), int64(-1))
	f.Fuzz(func(t *testing.T, q, factor float64, floor, most, takes int64) {
		if timeout.ValidateFromLatency(q, factor, time.Duration(floor), time.Duration(most)) != nil {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			limit := timeout.FromLatency(q, factor, time.Duration(floor), time.Duration(most))
			for range 120 {
				_, _ = resilience.Do(t.Context(), limit, func(context.Context) (int, error) {
					time.Sleep(time.Duration(takes % (1 << 50)))
					return 0, nil
				})
				if now := limit.Snapshot().Limit; now < time.Duration(floor) || now > time.Duration(most) {
					t.Fatal(now, limit)
				}
			}
		})
	})
}
