package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestFault120_TheWaitOfARejectionIsExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.001, 1e6), rapid.Float64Range(1e-6, 1e9), rapid.SampledFrom([]float64{1, 3, 7, 10, 100, 10.0 / 13, 1.0 / 3600, 1e9, 1e-6})).Draw(r, "rate")
		burst := rapid.IntRange(1, 1000).Draw(r, "burst")
		idle := rapid.SliceOfN(rapid.Int64Range(0, int64(min(1e17, 5e9/perSecond))), 1, 10).Draw(r, "idle")
		costs := rapid.SliceOfN(rapid.IntRange(1, burst), len(idle), len(idle)).Draw(r, "costs")
		// shorter than it takes to refill one token: otherwise a single caller is never refused
		maxWait := time.Duration(rapid.Float64Range(0, 0.9).Draw(r, "max wait in tokens") / perSecond * 1e9)
		check(r, t, func(fail func(string, ...any)) { waitIsExact(fail, perSecond, burst, maxWait, idle, costs) })
	})
}

// Found by the property: near its end a wait of eleven days was measured from a moment that was late already.
func TestFault120_TheWaitOfARejectionIsExactAfterDays(t *testing.T) {
	perSecond := 0.00017547607421875
	maxWait := time.Duration(0.9 / perSecond * 1e9)
	synctest.Test(t, func(t *testing.T) {
		waitIsExact(t.Fatalf, perSecond, 193, maxWait, []int64{0, 0}, []int{17, 193})
	})
}

// waitIsExact exhausts a limiter, comes back a nanosecond before the time that it is told, and then at that time.
func waitIsExact(fail func(string, ...any), perSecond float64, burst int, maxWait time.Duration, idle []int64, costs []int) {
	options := []ratelimit.Option{ratelimit.CostOf(costMark)}
	if maxWait > 0 {
		options = append(options, ratelimit.MaxWait(maxWait))
	}
	l := ratelimit.New(perSecond, burst, options...)
	for i := range idle {
		time.Sleep(time.Duration(idle[i]))
		ask := costing(context.Background(), costs[i])
		_, _, err := l.Admit(ask)
		for ; err == nil; _, _, err = l.Admit(ask) {
		}
		wait, ok := policy.RetryAfter(err)
		if !ok || wait <= 0 {
			fail("%v: wait %v, %v", err, wait, ok)
		}
		time.Sleep(wait - 1)
		if _, _, err := l.Admit(ask); err == nil {
			fail("admitted a nanosecond before")
		} else if left, _ := policy.RetryAfter(err); left != 1 {
			fail("a nanosecond before, the wait is %v", left)
		}
		time.Sleep(time.Nanosecond)
		if _, _, err := l.Admit(ask); err != nil {
			fail("refused at the moment itself: %v", err)
		}
	}
}

// With others in the queue the moment is that at which the wait fits MaxWait, within a nanosecond for each of them: they
// are granted at whole nanoseconds, and what comes in above the burst until then overflows.
func TestFault120_TheWaitOfARejectionBehindAQueue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.SampledFrom([]float64{1, 3, 7, 10, 10.0 / 13, 100, 999.9, 1e5}).Draw(r, "rate")
		burst := rapid.IntRange(1, 20).Draw(r, "burst")
		tokens := rapid.IntRange(1, 50).Draw(r, "tokens of wait")
		length := rapid.IntRange(1, 60).Draw(r, "queue")
		costs := rapid.SliceOfN(rapid.IntRange(1, burst), 100, 100).Draw(r, "costs")
		maxWait := time.Duration(float64(tokens) / perSecond * 1e9)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst, ratelimit.CostOf(costMark), ratelimit.MaxWait(maxWait), ratelimit.MaxWaiters(length))
			ctx, leave := context.WithCancel(context.Background())
			defer synctest.Wait()
			defer leave()
			for _, cost := range costs {
				ask := func() error {
					result := make(chan error, 1)
					go func() {
						_, _, err := l.Admit(costing(ctx, cost))
						result <- err
					}()
					synctest.Wait()
					select {
					case err := <-result:
						return err
					default:
						return nil // it waits, and that is admission enough
					}
				}
				err := ask()
				if err == nil {
					continue
				}
				wait, ok := policy.RetryAfter(err)
				if !ok || wait <= 0 {
					fail("%v: wait %v, %v", err, wait, ok)
				}
				about := time.Duration(1 + l.Snapshot().Waiting)
				if wait > about {
					time.Sleep(wait - about)
					wait = about
					if ask() == nil {
						fail("admitted too early")
					}
				}
				time.Sleep(wait + about)
				synctest.Wait()
				if again := ask(); again != nil {
					fail("after %v, refused when the time has come: %v", err, again)
				}
			}
		})
	})
}

func TestRejection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(4, 1, ratelimit.Name("api"))
		require.True(t, admitted(t, l))
		_, err := policy.Acquire(context.Background(), l)
		r := rejection(t, err)
		require.Equal(t, "rate limiter", r.Kind)
		require.Equal(t, "api", r.Name)
		require.Equal(t, ratelimit.ErrLimited, r.Reason)
		require.True(t, r.Until.Equal(time.Now().Add(250*time.Millisecond)))
		require.EqualError(t, err, `rate limiter "api": no token (retry after 250ms)`)
	})
}

func TestFault275_ReasonsAreTold(t *testing.T) {
	reasons := []error{ratelimit.ErrMaxWait, ratelimit.ErrDeadline, ratelimit.ErrQueueFull, ratelimit.ErrCost, ratelimit.ErrExhausted}
	bubble(t, func(t *testing.T) {
		empty := func(perSecond float64, options ...ratelimit.Option) *ratelimit.Limiter {
			l := ratelimit.New(perSecond, 2, append(options, ratelimit.CostOf(costMark))...)
			acquire(t, l, 2)
			return l
		}
		wait := ratelimit.MaxWait(time.Second)
		full := empty(1, ratelimit.MaxWait(time.Minute), ratelimit.MaxWaiters(1))
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		go func() { _, _, _ = full.Admit(ctx) }()
		synctest.Wait()
		soon, cancel := in(500 * time.Millisecond)
		defer cancel()
		for _, test := range []struct {
			name    string
			limiter *ratelimit.Limiter
			ctx     context.Context
			reason  error
			code    string
			again   bool
		}{
			{"no queue", empty(1), t.Context(), nil, "ratelimit.limited", true},
			{"no wait", empty(1, wait), policy.NoWait(t.Context()), nil, "ratelimit.limited", true},
			{"max wait", empty(0.1, wait), t.Context(), ratelimit.ErrMaxWait, "ratelimit.limited", true},
			{"deadline", empty(1, wait), soon, ratelimit.ErrDeadline, "ratelimit.deadline", true},
			{"queue full", full, t.Context(), ratelimit.ErrQueueFull, "ratelimit.full", true},
			{"cost above burst", empty(1, wait), costing(t.Context(), 3), ratelimit.ErrCost, "ratelimit.cost", false},
			{"cost below 0", empty(1), costing(t.Context(), -1), ratelimit.ErrCost, "ratelimit.cost", false},
			{"rate 0", empty(0, wait), t.Context(), ratelimit.ErrExhausted, "ratelimit.exhausted", false},
		} {
			_, _, err := test.limiter.Admit(test.ctx)
			require.ErrorIs(t, err, ratelimit.ErrLimited, test.name)
			require.ErrorIs(t, err, policy.ErrRejected, test.name)
			for _, reason := range reasons {
				require.Equal(t, reason == test.reason, errors.Is(err, reason), "%s: %v", test.name, reason)
			}
			require.Equal(t, test.code, policy.Code(err), test.name)
			_, again := policy.RetryAfter(err)
			require.Equal(t, test.again, again, test.name)
			require.NotErrorIs(t, err, context.DeadlineExceeded, test.name)
		}
	})
	for _, reason := range reasons {
		require.ErrorIs(t, reason, ratelimit.ErrLimited)
		require.NotErrorIs(t, ratelimit.ErrLimited, reason)
		require.True(t, strings.HasPrefix(policy.Code(reason), "ratelimit."))
		require.True(t, strings.HasPrefix(reason.Error(), ratelimit.ErrLimited.Error()+": "))
	}
}

func TestFault271_TextsAreOneLine(t *testing.T) {
	l := ratelimit.New(0, 1, ratelimit.Name("a\r\nb"))
	acquire(t, l, 1)
	_, _, err := l.Admit(t.Context())
	long := ratelimit.Name(strings.Repeat("\n", 10_000))
	for _, text := range []string{err.Error(), l.String(), l.Reconfigure(1, 1, long).Error(), ratelimit.Validate(math.NaN(), -1, nil).Error()} {
		require.NotContains(t, text, "\n")
		require.NotContains(t, text, "\r")
		require.Less(t, len(text), 500)
	}
}
