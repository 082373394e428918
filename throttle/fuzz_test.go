package throttle_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/throttle"
)

// What Validate accepts, New accepts, and works: nobody is refused as long as all goes well, the probability is that of
// the formula, and everything is forgotten after the window. Each byte is something that happens.
func FuzzConfiguration(f *testing.F) {
	f.Add(2.0, int64(30*time.Second), 30, 8, []byte{0, 1, 0, 1, 1, 1, 2, 3, 1, 130, 1, 1, 0, 0, 5})
	f.Add(1.0, int64(2), 2, 1, []byte{1, 1, 1, 1, 1, 1, 1, 255, 1, 1, 6, 0})
	f.Add(math.MaxFloat64, int64(math.MaxInt64), 1000, math.MaxInt, []byte{1, 1, 255, 255, 1})
	f.Add(math.NaN(), int64(-1), 0, 0, []byte{})
	f.Add(2.0, int64(time.Second), 10, 8, []byte{3, 3, 3, 150, 160, 150, 0, 0}) // what was never called, and its bucket is old
	f.Fuzz(func(t *testing.T, k float64, length int64, buckets, padding int, steps []byte) {
		options := []throttle.Option{
			throttle.K(k), throttle.Window(time.Duration(length), buckets), throttle.Padding(padding), throttle.Rand(lowest{}),
		}
		err := throttle.Validate(options...)
		func() {
			defer func() {
				if problem := recover(); (problem != nil) != (err != nil) {
					t.Fatalf("Validate says %v, New %v", err, problem)
				}
			}()
			throttle.New(options...)
		}()
		if err == nil {
			synctest.Test(t, func(t *testing.T) {
				play(t, throttle.New(options...), k, float64(padding), time.Duration(length), steps[:min(len(steps), 300)])
			})
		}
	})
}

func play(t *testing.T, guard *throttle.Throttle, k, padding float64, length time.Duration, steps []byte) {
	type attempt struct {
		ctx    context.Context
		ticket policy.Ticket
	}
	var running []attempt
	bad, refused := false, uint64(0)
	counts := int64(0) // attempts that may count
	for _, step := range steps {
		s := guard.Snapshot()
		requests, accepts := float64(s.Requests), float64(s.Accepts)
		if want := max(0, (requests-k*accepts)/(requests+padding)); s.Probability != want || want >= 1 || s.Rejected != refused {
			t.Fatalf("%+v, want probability %v and %d refused", s, want, refused)
		}
		if s.Requests < 0 || s.Accepts < 0 || s.Requests > counts {
			t.Fatalf("%+v of %d attempts", s, counts)
		}
		if step >= 128 {
			time.Sleep(min(length, 1<<50) / 100 * time.Duration(step-128))
			bad = bad || len(running) > 0 // what hangs counts as not accepted
			continue
		}
		ctx, ticket, err := guard.Admit(context.Background())
		counts++
		switch {
		case err == nil: // the lowest draw refuses whenever the probability is above zero
			running = append(running, attempt{ctx, ticket})
		case !bad || s.Probability == 0:
			t.Fatalf("refused although nothing was bad: %v", err)
		default:
			refused++
		}
		if (err != nil) != (s.Probability > 0) {
			t.Fatalf("refused: %v, with %+v", err, s)
		}
		if step%8 >= 6 || len(running) == 0 {
			continue // it hangs
		}
		at := int(step) % len(running)
		outcome := []policy.Outcome{{Kind: policy.Returned}, {Kind: policy.Returned, Err: errBackend}, {Kind: policy.Panicked}, {}}[step%4]
		bad = bad || !outcome.Succeeded()
		guard.Settle(running[at].ctx, running[at].ticket, outcome)
		running = append(running[:at], running[at+1:]...)
		if outcome.Kind == policy.NotCalled {
			counts--
		}
	}
	for _, a := range running {
		guard.Settle(a.ctx, a.ticket, policy.Outcome{Kind: policy.Returned})
	}
	if length < 1<<60 {
		time.Sleep(length)
		if s := guard.Snapshot(); s.Requests != 0 || s.Accepts != 0 || guard.Ready(t.Context()) != nil {
			t.Fatalf("not forgotten: %+v", s)
		}
	}
}
