package bulkhead_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
)

// What Validate accepts, New accepts, and works.
func FuzzValidate(f *testing.F) {
	f.Add(1, 1, int64(time.Second), 1, true)
	f.Add(0, 0, int64(0), 0, false)
	f.Add(bulkhead.MaxLimit, bulkhead.MaxLimit, int64(1)<<62, bulkhead.MaxLimit, true)
	f.Fuzz(func(t *testing.T, limit, length int, wait int64, weight int, queue bool) {
		options := []bulkhead.Option{bulkhead.WeightOf(func(context.Context) int { return weight })}
		if queue {
			options = append(options, bulkhead.Queue(length, time.Duration(wait)))
		}
		err := bulkhead.Validate(limit, options...)
		defer func() {
			if problem := recover(); (problem != nil) != (err != nil) {
				t.Fatalf("Validate says %v, New %v", err, problem)
			}
		}()
		b := bulkhead.New(limit, options...)
		_, err = resilience.Do(context.Background(), b, nothing)
		if fits := weight >= 1 && weight <= limit; fits != (err == nil) {
			t.Fatalf("weight %d of %d: %v", weight, limit, err)
		}
		err = nil
		if s := b.Snapshot(); s.InFlight != 0 || s.Waiting != 0 || s.Limit != limit {
			t.Fatalf("%+v", s)
		}
	})
}
