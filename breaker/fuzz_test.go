package breaker

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// asking is a failure that says when to come back.
type asking time.Duration

func (asking) Error() string                       { return "busy" }
func (a asking) RetryAfter() (time.Duration, bool) { return time.Duration(a), true }

// How long the breaker opens, whatever the configuration, the chance and the failing error say: at least the open time,
// at most what growth, jitter and the hint allow together, and never less for a later opening in a row.
func FuzzOpenTime(f *testing.F) {
	f.Add(int64(time.Second), 2.0, int64(time.Hour), 0.1, 0.5, int64(time.Minute), int64(time.Hour), uint16(3))
	f.Add(int64(time.Millisecond), 1e300, int64(math.MaxInt64), 1.0, 0.999, int64(math.MaxInt64), int64(math.MaxInt64), uint16(2000))
	f.Add(int64(math.MaxInt64), 1.0, int64(math.MaxInt64), 1.0, 1.0, int64(time.Millisecond), int64(math.MinInt64), uint16(1))
	f.Add(int64(time.Hour), 1.0000001, int64(time.Hour), 0.0, 0.0, int64(1), int64(-1), uint16(65535))
	f.Fuzz(func(t *testing.T, base int64, factor float64, limit int64, jitter, luck float64, most, hint int64, nth uint16) {
		options := []Option{OpenFor(time.Duration(base)), Growth(factor, time.Duration(limit)), Jitter(jitter), RetryAfter(time.Duration(most))}
		c, err := configure(nil, options)
		if err != nil || !(luck >= 0 && luck < 1) {
			return
		}
		c.openTime.random = func() float64 { return luck }
		n := int(nth) + 1
		grown := c.openTime.of(n, nil)
		if grown < time.Duration(base) || float64(grown) > math.Min(float64(limit)*(1+jitter), math.MaxInt64)*(1+1e-15) {
			t.Fatalf("opening %d lasts %v", n, grown)
		}
		if later := c.openTime.of(n+1, nil); later < grown {
			t.Fatalf("opening %d lasts %v, and the next one %v", n, grown, later)
		}
		asked := c.openTime.of(n, asking(hint))
		if want := max(grown, min(time.Duration(hint), time.Duration(most))); asked != want {
			t.Fatalf("asked for %v, at most %v: %v instead of %v", time.Duration(hint), time.Duration(most), asked, want)
		}
		playOpening(t, time.Duration(base), asking(hint), options)
	})
}

// playOpening opens a breaker by a failure and checks that it says the truth about when it is open.
func playOpening(t *testing.T, least time.Duration, cause error, options []Option) {
	const longest = 100 * 365 * 24 * time.Hour // the clock of a bubble does not go much further
	synctest.Test(t, func(t *testing.T) {
		b := New(append(options, ConsecutiveFailures(1))...)
		settleWith(t, b, cause)
		_, _, err := b.Admit(context.Background())
		wait, ok := policy.RetryAfter(err)
		if !errors.Is(err, ErrOpen) || !ok || wait < least {
			t.Fatalf("after a failure: %v, %v", err, wait)
		}
		if wait > longest {
			return
		}
		time.Sleep(wait - 1)
		if b.Ready(context.Background()) == nil {
			t.Fatal("ready a nanosecond early")
		}
		time.Sleep(1)
		settleWith(t, b, nil)
		if s := b.Snapshot(); s.State != Closed || s.Requests != 2 || s.Failures != 1 {
			t.Fatalf("%+v", s)
		}
	})
}

func settleWith(t *testing.T, b *Breaker, outcome error) {
	permit, err := policy.Acquire(context.Background(), b)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	permit.Done(outcome)
}

// What Validate accepts, New accepts, and works: it opens only by its rules, the counts add up, and it recovers.
func FuzzConfiguration(f *testing.F) {
	f.Add(5, 0.5, 20, int64(time.Second), 0.5, 10, 10, int64(10*time.Second), 10, 1, 1, int64(time.Second), int64(time.Minute), 0, 0, uint8(255), []byte{1, 0, 1, 1, 2})
	f.Add(1, 1e-9, 1, int64(time.Microsecond), 1.0, 1, 100_000, int64(math.MaxInt64), 10_000, 10_000, math.MaxInt, int64(math.MaxInt64), int64(math.MaxInt64), 0, 0, uint8(3), []byte{1, 1, 1, 1, 1, 1})
	f.Add(0, math.NaN(), -1, int64(-1), math.Inf(1), math.MinInt, -1, int64(0), 0, 0, 0, int64(0), int64(-1), 0, 0, uint8(127), []byte{0})
	f.Add(math.MaxInt, 1.0, math.MaxInt, int64(1), 0.0, 0, 1, int64(time.Millisecond), 1, 1, 1, int64(time.Millisecond), int64(time.Millisecond), 0, 0, uint8(20), []byte{1, 2, 3})
	f.Add(3, 0.5, 20, int64(time.Second), 0.5, 10, 10, int64(10*time.Second), 10, 3, 4, int64(time.Second), int64(0), 2, 3, uint8(1<<4|1<<5|1<<6), []byte{1, 1, 1, 7, 7, 1, 1, 0})
	f.Add(1, 0.5, 1, int64(time.Second), 0.5, 1, 1, int64(time.Second), 1, 0, 0, int64(time.Millisecond), int64(0), 0, 0, uint8(1<<5), []byte{})
	f.Add(1, 0.5, 1, int64(time.Second), 0.5, 1, 0, int64(time.Second), 0, 1, 0, int64(0), int64(0), 0, 0, uint8(1<<6), []byte{})
	f.Fuzz(func(t *testing.T, row int, rate float64, calls int, slow int64, share float64, slowCalls, window int, length int64, buckets, probes, successes int, lease, ramp int64, failedProbes, failureCount int, which uint8, outcomes []byte) {
		var options []Option
		for i, option := range []Option{
			ConsecutiveFailures(row), FailureRate(rate, calls), SlowCalls(time.Duration(slow), share, slowCalls), CountWindow(window),
			TimeWindow(time.Duration(length), buckets), Probes(probes), Successes(successes), ProbeLease(time.Duration(lease)),
		} {
			if which>>i&1 != 0 {
				options = append(options, option)
			}
		}
		if ramp != 0 {
			options = append(options, Ramp(time.Duration(ramp)))
		}
		options = append(options, FailedProbes(failedProbes))
		if failureCount != 0 {
			options = append(options, FailureCount(failureCount))
		}
		err := Validate(options...)
		func() {
			defer func() {
				if problem := recover(); (problem != nil) != (err != nil) {
					t.Fatalf("Validate says %v, New %v", err, problem)
				}
			}()
			New(options...)
		}()
		if err != nil {
			return
		}
		outcomes = outcomes[:min(len(outcomes), 200)]
		synctest.Test(t, func(t *testing.T) {
			b := New(options...)
			play(t, b, outcomes)
			recovers(t, b)
		})
		// The same configuration for a breaker that has a history, and back.
		synctest.Test(t, func(t *testing.T) {
			b := New(ConsecutiveFailures(2), FailureRate(0.5, 5), Probes(2), Successes(3))
			for range 2 {
				play(t, b, outcomes)
				for _, opts := range [][]Option{options, {ConsecutiveFailures(2)}} {
					before := b.Snapshot()
					if err := b.Reconfigure(opts...); err != nil {
						t.Fatalf("valid, but not for a breaker that is used: %v", err)
					}
					if after := b.Snapshot(); after.State != before.State || after.Counts != before.Counts || after.Generation != before.Generation {
						t.Fatalf("%+v after %+v", after, before)
					}
					play(t, b, outcomes)
				}
			}
			if err := b.Reconfigure(options...); err != nil {
				t.Fatal(err)
			}
			recovers(t, b)
		})
	})
}

func play(t *testing.T, b *Breaker, outcomes []byte) {
	bad := 0
	for _, o := range outcomes {
		if o%8 == 7 {
			time.Sleep(time.Duration(o) * 100 * time.Millisecond)
		}
		permit, err := policy.Acquire(context.Background(), b)
		if err != nil {
			if !errors.Is(err, policy.ErrRejected) || bad == 0 && b.Snapshot().Changes == 0 {
				t.Fatalf("refused although nothing was bad: %v", err)
			}
			continue
		}
		takes := time.Duration(o>>4) * 10 * time.Millisecond
		time.Sleep(takes)
		switch o % 3 {
		case 0:
			permit.Done(nil)
		case 1:
			permit.Done(errFuzzed)
		default:
			permit.Settle(policy.Outcome{})
		}
		if o%3 == 1 || takes > 0 { // failed, or possibly slow
			bad++
		}
		if s := b.Snapshot(); s.Requests != s.Successes+s.Failures+s.Neutral+s.Stale+s.InFlight {
			t.Fatalf("%+v", s)
		}
		_ = b.String()
	}
}

// recovers checks that a breaker closes again when all is well, whatever has happened.
func recovers(t *testing.T, b *Breaker) {
	b.Trip()
	for range 3 {
		time.Sleep(b.current().rules.lease%(1<<60) + 6*time.Second)
		for range min(b.current().rules.successes, 100) {
			if permit, err := policy.Acquire(context.Background(), b); err == nil {
				permit.Done(nil)
			}
		}
	}
	if state := b.Snapshot().State; state != Closed && b.current().rules.successes <= 100 {
		t.Fatalf("still %v", state)
	}
}

var errFuzzed = errors.New("down")
