package hedge_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
)

// FuzzConfiguration: whatever is accepted works, and whatever does not is refused.
func FuzzConfiguration(f *testing.F) {
	f.Add(int64(0), 0.95, 1, 0.1, 10.0, 1000)
	f.Add(int64(-1), 0.0, 0, -1.0, 1e300, -1)
	f.Add(int64(1<<63-1), 0.999, 10, 10.0, 1e9, 1<<62)
	f.Fuzz(func(t *testing.T, delay int64, q float64, extra int, ratio, perSecond float64, running int) {
		opts := []hedge.Option{
			hedge.Idempotent(), hedge.After(time.Duration(delay)), hedge.Quantile(q), hedge.Extra(extra),
			hedge.Limit(ratio, perSecond), hedge.MaxRunning(running),
		}
		if hedge.Validate(opts...) != nil {
			return
		}
		h := hedge.New(opts...)
		for range 2 {
			value, err := resilience.Do(t.Context(), h, func(context.Context) (int, error) { return 7, nil })
			if value != 7 || err != nil {
				t.Fatal(value, err)
			}
		}
		_ = h.String()
		if h.Snapshot().Delay <= 0 || h.Check(nil, nil) != nil {
			t.Fatal(h.Snapshot())
		}
	})
}
