package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestFault066_PanicSpendsTheToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 3)
		require.PanicsWithValue(t, "boom", func() {
			resilience.Do(context.Background(), l, func(context.Context) (int, error) { panic("boom") })
		})
		require.Equal(t, ratelimit.Snapshot{PerSecond: 1, Burst: 3, Tokens: 2, Admitted: 1}, l.Snapshot())
	})
}

func TestFault072_EndedContextTakesNothing(t *testing.T) {
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	for _, l := range []*ratelimit.Limiter{ratelimit.New(0, 1), ratelimit.New(0, 1, ratelimit.MaxWait(time.Hour))} {
		for range 1000 {
			_, err := resilience.Do(ctx, l, func(context.Context) (int, error) {
				t.Error("entered")
				return 0, nil
			})
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, policy.ErrRejected)
		}
		require.Equal(t, ratelimit.Snapshot{Burst: 1, Tokens: 1}, l.Snapshot())
	}
}

func TestFault078_WaitThatCannotFitTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(2*time.Second, 1, ratelimit.MaxWait(time.Hour))
		require.True(t, admitted(t, l))
		start := time.Now()
		for _, deadline := range []time.Duration{1, 300 * time.Millisecond, 2 * time.Second} {
			ctx, cancel := in(deadline)
			_, err := policy.Acquire(ctx, l)
			cancel()
			require.ErrorIs(t, err, ratelimit.ErrLimited)
			require.ErrorContains(t, err, "outlast the deadline")
			wait, ok := policy.RetryAfter(err)
			require.True(t, ok)
			require.Equal(t, 2*time.Second, wait)
			require.Zero(t, time.Since(start))
		}
		ctx, cancel := in(2*time.Second + 1)
		defer cancel()
		permit, err := policy.Acquire(ctx, l) // fits by a nanosecond
		require.NoError(t, err)
		permit.Done(nil)
		require.Equal(t, 2*time.Second, time.Since(start), "no token was taken by those refused")
	})
}

func TestFault117_WindowBound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.01, 1000), rapid.SampledFrom([]float64{1, 3, 10, 10.0 / 13, 100, 1.0 / 3600, 1e9})).Draw(r, "rate")
		burst := rapid.IntRange(1, 20).Draw(r, "burst")
		steps := slice(r, rapid.Int64Range(0, int64(3e9/perSecond)), 200)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			var admissions []time.Duration
			start := time.Now()
			for _, step := range steps {
				time.Sleep(time.Duration(step))
				if _, _, err := l.Admit(context.Background()); err == nil {
					admissions = append(admissions, time.Since(start))
				}
			}
			checkWindows(fail, admissions, perSecond, burst)
		})
	})
}

// checkWindows fails when in any window more than burst + rate·window were admitted, with nothing but rounding allowed
// for: a thousandth of a nanosecond of refill, and a bit of the level for each admission.
func checkWindows(fail func(string, ...any), admissions []time.Duration, perSecond float64, burst int) {
	for i := range admissions {
		for j := i; j < len(admissions); j++ {
			n, window := j-i+1, admissions[j]-admissions[i]
			if allowed := float64(burst) + perSecond*window.Seconds(); float64(n) <= allowed {
				continue
			}
			// So close to it, float64 is too coarse to judge by.
			allowed := new(big.Rat).SetFloat64(perSecond)
			allowed.Mul(allowed, big.NewRat(int64(window), int64(time.Second)))
			allowed.Add(allowed, new(big.Rat).SetFloat64(perSecond*1e-12+float64(n*burst)*0x1p-52))
			if big.NewRat(int64(n-burst), 1).Cmp(allowed) > 0 {
				fail("%d admitted within %v at rate %v burst %d", n, window, perSecond, burst)
			}
		}
	}
}

// The earliest moments are the hard ones: always come back exactly when the limiter says.
func TestFault117_WindowBoundForTheGreedy(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.01, 1e6), rapid.SampledFrom([]float64{1, 3, 7, 10, 10.0 / 13, 100, 1.0 / 3600, 1e9, 3e8})).Draw(r, "rate")
		burst := rapid.IntRange(1, 5).Draw(r, "burst")
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			var admissions []time.Duration
			start := time.Now()
			for range 200 {
				_, _, err := l.Admit(context.Background())
				if err == nil {
					admissions = append(admissions, time.Since(start))
					continue
				}
				wait, _ := policy.RetryAfter(err)
				time.Sleep(wait)
			}
			checkWindows(fail, admissions, perSecond, burst)
		})
	})
}

func TestFault119_WindowBoundUnderContention(t *testing.T) {
	const perSecond, burst = 1e5, 7
	for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(time.Millisecond)}} {
		l := ratelimit.New(perSecond, burst, options...)
		var workers sync.WaitGroup
		var mu sync.Mutex
		var admissions int
		start := time.Now()
		for range 64 {
			workers.Go(func() {
				mine := 0
				for time.Since(start) < 100*time.Millisecond {
					if permit, err := policy.Acquire(context.Background(), l); err == nil {
						permit.Done(nil)
						mine++
					}
				}
				mu.Lock()
				defer mu.Unlock()
				admissions += mine
			})
		}
		workers.Wait()
		elapsed := time.Since(start)
		t.Logf("%d admitted in %v, %.0f allowed", admissions, elapsed, burst+perSecond*elapsed.Seconds())
		require.LessOrEqual(t, float64(admissions), burst+perSecond*elapsed.Seconds())
		require.Greater(t, admissions, burst)
		require.Zero(t, l.Snapshot().Waiting)
	}
}

func TestFault120_TheWaitOfARejectionIsExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.001, 1e6), rapid.Float64Range(1e-6, 1e9), rapid.SampledFrom([]float64{1, 3, 7, 10, 100, 10.0 / 13, 1.0 / 3600, 1e9, 1e-6})).Draw(r, "rate")
		burst := rapid.IntRange(1, 1000).Draw(r, "burst")
		idle := rapid.SliceOfN(rapid.Int64Range(0, int64(min(1e17, 5e9/perSecond))), 1, 10).Draw(r, "idle")
		costs := rapid.SliceOfN(rapid.IntRange(1, burst), len(idle), len(idle)).Draw(r, "costs")
		// shorter than it takes to refill one token: otherwise a single caller is never refused
		maxWait := time.Duration(rapid.Float64Range(0, 0.9).Draw(r, "max wait in tokens") / perSecond * 1e9)
		check(r, t, func(fail func(string, ...any)) {
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
		})
	})
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

func TestFault121_CancelledWaitersCostNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 1, ratelimit.MaxWait(time.Hour))
		require.True(t, admitted(t, l))
		ctx, cancel := context.WithCancel(context.Background())
		var waiters sync.WaitGroup
		for range 20 {
			waiters.Go(func() {
				if _, err := policy.Acquire(ctx, l); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		require.Equal(t, 20, l.Snapshot().Waiting)
		cancel()
		waiters.Wait()
		start := time.Now()
		require.True(t, admitted(t, l))
		require.Equal(t, 50*time.Millisecond, time.Since(start))
		require.Equal(t, ratelimit.Snapshot{PerSecond: 10, Burst: 1, PeakWaiting: 20, Admitted: 2}, l.Snapshot())
	})
}

func TestFault121_WaitersMoveUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 5, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		require.True(t, admitted(t, l))
		acquire(t, l, 4)
		start := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		go policy.Acquire(costing(ctx, 5), l) // first in the queue, for 500 ms
		synctest.Wait()
		time.AfterFunc(200*time.Millisecond, cancel)
		acquire(t, l, 1)
		require.Equal(t, 200*time.Millisecond, time.Since(start), "two tokens are there when the first leaves")
		acquire(t, l, 2)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
	})
}

func TestFault122_CancelInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		order := rapid.Permutation(sequence(100)).Draw(r, "order")
		gap := time.Duration(rapid.Int64Range(0, int64(20*time.Millisecond)).Draw(r, "gap"))
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(1, 10, ratelimit.MaxWait(time.Hour))
			for range 10 {
				_, _, _ = l.Admit(context.Background())
			}
			start := time.Now()
			cancels := make([]context.CancelFunc, 100)
			var waiters sync.WaitGroup
			for i := range cancels {
				ctx, cancel := context.WithCancel(context.Background())
				cancels[i] = cancel
				waiters.Go(func() { policy.Acquire(ctx, l) })
				synctest.Wait()
			}
			for _, i := range order {
				time.Sleep(gap)
				cancels[i]()
			}
			waiters.Wait()
			granted := l.Snapshot().Admitted - l.Snapshot().Returned - 10
			tokens := min(10, time.Since(start).Seconds()) - float64(granted)
			if s := l.Snapshot(); math.Abs(s.Tokens-tokens) > 1e-9 || s.Waiting != 0 {
				fail("%+v after %v with %d granted: want %v tokens", s, time.Since(start), granted, tokens)
			}
		})
	})
}

func sequence(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func TestFault123_TokenOfAnAttemptThatWasNeverMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, full := ratelimit.New(10, 5), bulkhead.New(1)
		slot, err := policy.Acquire(context.Background(), full)
		require.NoError(t, err)
		defer slot.Done(nil)
		p := resilience.Compose(full, l)
		require.Equal(t, "rate limit 10/s burst 5 > bulkhead 1", p.String())
		for range 100 {
			err := p.Run(context.Background(), func(context.Context) error { return nil })
			require.ErrorIs(t, err, bulkhead.ErrFull)
		}
		require.Equal(t, ratelimit.Snapshot{PerSecond: 10, Burst: 5, Tokens: 5, Admitted: 100, Returned: 100}, l.Snapshot())
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		require.True(t, permit.Settle(neverCalled))
		require.Equal(t, 5, drain(t, l))
	})
}

func TestFault122_123_ReturnInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		order := rapid.Permutation(sequence(100)).Draw(r, "order")
		gap := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(r, "gap"))
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(0, 100)
			permits := make([]*policy.Permit, 100)
			for i := range permits {
				permits[i], _ = policy.Acquire(context.Background(), l)
			}
			for n, i := range order {
				time.Sleep(gap)
				permits[i].Settle(neverCalled)
				if tokens := l.Snapshot().Tokens; tokens != float64(n+1) {
					fail("%v tokens after %d came back", tokens, n+1)
				}
			}
		})
	})
}

// A token that goes back counts as one that comes in: that is the whole difference it makes to the window bound.
func TestFault117_123_WindowBoundWithReturns(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const perSecond = 10.0
		burst := rapid.IntRange(1, 8).Draw(r, "burst")
		steps := slice(r, rapid.IntRange(0, 1000), 200)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			type event struct {
				at    time.Duration
				taken float64 // -1: given back
			}
			var events []event
			var open []*policy.Permit
			start := time.Now()
			for _, s := range steps {
				switch {
				case s%4 == 0:
					time.Sleep(time.Duration(s) * time.Millisecond)
				case s%4 == 1 && len(open) > 0:
					i := s % len(open)
					open[i].Settle(neverCalled)
					open = append(open[:i], open[i+1:]...)
					events = append(events, event{time.Since(start), -1})
				default:
					if permit, err := policy.Acquire(context.Background(), l); err == nil {
						open = append(open, permit)
						events = append(events, event{time.Since(start), 1})
					}
				}
			}
			for i := range events {
				net := 0.0
				for j := i; j < len(events); j++ {
					net += events[j].taken
					window := (events[j].at - events[i].at).Seconds()
					if net > float64(burst)+perSecond*window+1e-9 {
						fail("%v more taken than given back within %vs", net, window)
					}
				}
			}
		})
	})
}

func TestFault123_ATokenThatComesBackServesWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(time.Minute, 1, ratelimit.MaxWait(time.Hour))
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		start := time.Now()
		time.AfterFunc(time.Second, func() { permit.Settle(neverCalled) })
		require.True(t, admitted(t, l))
		require.Equal(t, time.Second, time.Since(start))
		require.True(t, admitted(t, l))
		require.Equal(t, 61*time.Second, time.Since(start), "what had come in meanwhile overflowed")
	})
}

func TestFault123_GrantedAndCancelledGoesToTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(time.Second, 1, ratelimit.MaxWait(time.Hour))
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := policy.Acquire(ctx, l); first <- err }()
		synctest.Wait()
		go func() { _, err := policy.Acquire(context.Background(), l); second <- err }()
		synctest.Wait()
		start := time.Now()
		permit.Settle(neverCalled) // grants the first, which cannot run before
		cancel()                   // its context has ended
		require.ErrorIs(t, <-first, context.Canceled)
		require.NoError(t, <-second)
		require.Zero(t, time.Since(start))
	})
}

func TestFault125_BurstAfterIdleIsExact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(7, 10)
		for _, idle := range []time.Duration{0, time.Hour, 1000 * time.Hour, 10 * time.Second} {
			time.Sleep(idle)
			require.Equal(t, 10, drain(t, l))
		}
		// Nor do tokens that come back to a full bucket make it fuller.
		time.Sleep(time.Hour)
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		permit.Settle(neverCalled)
		require.Equal(t, 10, drain(t, l))
	})
}

func TestFault126_Rounding(t *testing.T) {
	for _, perSecond := range []float64{10.0 / 13, 1.0 / 3600, 1, 10, 100, 1.0 / 86400, 1e-3} {
		bubble(t, func(t *testing.T) {
			l := ratelimit.New(perSecond, 1)
			interval := time.Duration(math.Round(1e9 / perSecond))
			for range 100 {
				require.Equal(t, 1, drain(t, l), perSecond)
				time.Sleep(interval)
			}
		})
	}
	bubble(t, func(t *testing.T) { // 1e12 tokens, or as many as there can be, to the last one
		const burst = min(1e12, ratelimit.MaxBurst)
		l := ratelimit.New(1000, burst, ratelimit.CostOf(costMark))
		acquire(t, l, burst-3)
		require.Equal(t, 3, drain(t, l))
		time.Sleep(time.Millisecond)
		require.Equal(t, 1, drain(t, l))
		time.Sleep(burst / 4 * time.Millisecond)
		acquire(t, l, burst/4)
		require.Equal(t, 0, drain(t, l))
	})
}

func TestMaxWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 1, ratelimit.MaxWait(300*time.Millisecond), ratelimit.Name("mail"))
		start := time.Now()
		var waits []time.Duration
		var mu sync.Mutex
		var waiters sync.WaitGroup
		for range 4 {
			waiters.Go(func() {
				if _, err := policy.Acquire(context.Background(), l); err != nil {
					t.Errorf("got %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, time.Since(start))
			})
		}
		synctest.Wait()
		_, err := policy.Acquire(context.Background(), l)
		require.EqualError(t, err, `rate limiter "mail": no token: the wait would be longer than allowed (retry after 100ms)`)
		waiters.Wait()
		require.Equal(t, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond}, waits)
		require.Equal(t, ratelimit.Snapshot{PerSecond: 10, Burst: 1, Admitted: 4, Rejected: 1, PeakWaiting: 3}, l.Snapshot())
	})
}

func TestFault053_QueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 1, ratelimit.MaxWait(time.Hour), ratelimit.MaxWaiters(2))
		require.True(t, admitted(t, l))
		for range 2 {
			go policy.Acquire(context.Background(), l)
		}
		time.Sleep(30 * time.Millisecond)
		_, err := policy.Acquire(context.Background(), l)
		require.ErrorContains(t, err, "too many wait already")
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 70*time.Millisecond, wait, "then the first of the two goes")
		time.Sleep(wait)
		require.True(t, admitted(t, l))
	})
}

// Nor may those who wait be owed more tokens than can be counted exactly.
func TestFault053_WhatTheQueueIsOwedIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.MaxRate, ratelimit.MaxBurst, ratelimit.MaxWait(math.MaxInt64), ratelimit.CostOf(costMark))
		acquire(t, l, ratelimit.MaxBurst)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		for waiting, cost := range []int{ratelimit.MaxBurst, 1} {
			go func() { _, err := policy.Acquire(costing(ctx, cost), l); left <- err }()
			synctest.Wait()
			require.Equal(t, waiting+1, l.Snapshot().Waiting)
		}
		_, err := policy.Acquire(ctx, l)
		require.ErrorContains(t, err, "too many wait already")
		cancel()
		for range 2 {
			require.ErrorIs(t, <-left, context.Canceled)
		}
	})
}

// The shorter of two limits decides, and names itself; of two that are the same it is MaxWait, since who comes back when
// that fits is admitted.
func TestMaxWaitAndTheDeadline(t *testing.T) {
	for _, test := range []struct {
		deadline time.Duration
		reason   string
		again    time.Duration
	}{
		{time.Second, "outlast the deadline", 2 * time.Second},
		{time.Second + 1, "longer than allowed", time.Second},
		{time.Second + 2, "longer than allowed", time.Second},
	} {
		bubble(t, func(t *testing.T) {
			l := ratelimit.Every(2*time.Second, 1, ratelimit.MaxWait(time.Second))
			require.True(t, admitted(t, l))
			ctx, cancel := in(test.deadline)
			defer cancel()
			_, err := policy.Acquire(ctx, l)
			require.ErrorContains(t, err, test.reason, "deadline %v", test.deadline)
			again, _ := policy.RetryAfter(err)
			require.Equal(t, test.again, again)
		})
	}
	bubble(t, func(t *testing.T) { // the shortest there is
		l := ratelimit.New(ratelimit.MaxRate, 1, ratelimit.MaxWait(1))
		require.True(t, admitted(t, l))
		ctx, cancel := in(1)
		defer cancel()
		_, err := policy.Acquire(ctx, l)
		require.ErrorContains(t, err, "outlast the deadline")
	})
}

// A registry may forget a limiter only when a new one would be the same.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for name, change := range map[string]func(*ratelimit.Limiter) error{
			"rate":  func(l *ratelimit.Limiter) error { return l.SetRate(1) },
			"burst": func(l *ratelimit.Limiter) error { return l.SetBurst(2) },
		} {
			l := ratelimit.New(1, 2)
			require.True(t, l.Idle())
			require.True(t, admitted(t, l))
			time.Sleep(time.Second - 1)
			require.False(t, l.Idle())
			time.Sleep(1)
			require.True(t, l.Idle())
			require.NoError(t, change(l))
			require.Equal(t, 2.0, l.Snapshot().Tokens)
			require.False(t, l.Idle(), "the %s was set, and a new one would not know", name)
		}
	})
}

// First come, first served, whatever they cost.
func TestFirstComeFirstServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const waiters = 30
		l := ratelimit.New(100, 10, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		acquire(t, l, 10)
		random := rand.New(rand.NewPCG(1, 2))
		start := time.Now()
		var order []int
		var mu sync.Mutex
		total := 0
		for i := range waiters {
			cost := 1 + random.IntN(10)
			total += cost
			due := time.Duration(total) * 10 * time.Millisecond
			go func() {
				_, err := policy.Acquire(costing(context.Background(), cost), l)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				if at := time.Since(start); err != nil || at != due {
					t.Errorf("waiter %d: %v at %v, due at %v", i, err, at, due)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, sequence(waiters), order)
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

func TestString(t *testing.T) {
	for want, l := range map[string]*ratelimit.Limiter{
		"rate limit 100/s burst 10":           ratelimit.New(100, 10),
		"rate limit 1.389/s burst 100":        ratelimit.Per(5000, time.Hour, 100),
		"rate limit 1 per 1m30s burst 2":      ratelimit.Every(90*time.Second, 2),
		"rate limit 1/s burst 2":              ratelimit.New(1, 2),
		"rate limit 0/s burst 3":              ratelimit.New(0, 3),
		"rate limit none":                     ratelimit.New(math.Inf(1), 0),
		`rate limit "a b" 1000000/s burst 10`: ratelimit.New(1e6, 10, ratelimit.Name("a b")),
	} {
		if l != nil {
			require.Equal(t, want, l.String())
			require.Equal(t, policy.StageRateLimit, l.Stage())
		}
	}
	_, gate := any(ratelimit.New(1, 1)).(policy.Gate)
	require.False(t, gate)
}

func TestPolicyView(t *testing.T) {
	l := ratelimit.New(0, 2)
	names, numbers := ratelimit.Policy[string]{Limiter: l}, ratelimit.Policy[int]{Limiter: l}
	name, err := names.Do(context.Background(), func(ctx context.Context) (string, error) {
		n, err := numbers.Do(ctx, func(context.Context) (int, error) { return 7, nil })
		return fmt.Sprint(n), err
	})
	require.NoError(t, err)
	require.Equal(t, "7", name)
	_, err = numbers.Do(context.Background(), func(context.Context) (int, error) { return 1, nil })
	require.ErrorIs(t, err, ratelimit.ErrLimited)
	require.PanicsWithValue(t, "ratelimit: Policy without a Limiter; use ratelimit.New", func() {
		ratelimit.Policy[int]{}.Do(context.Background(), func(context.Context) (int, error) { return 0, nil })
	})
}

func TestFault178_Configuration(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	tests := []struct {
		name    string
		rate    float64
		burst   int
		options []ratelimit.Option
		want    string
	}{
		{"rate NaN", nan, 1, nil, "rate NaN"},
		{"rate negative", -1, 1, nil, "rate -1"},
		{"rate -Inf", -inf, 1, nil, "rate -Inf"},
		{"rate too large", 1e9 + 1, 1, nil, "rate 1.000000001e+09"},
		{"rate MaxFloat64", math.MaxFloat64, 1, nil, "rate 1.797"},
		{"rate too small", 1e-10, 1, nil, "rate 1e-10"},
		{"burst 0", 1, 0, nil, "burst 0"},
		{"burst 0, rate 0", 0, 0, nil, "burst 0"},
		{"burst negative", 1, -1, nil, "burst -1"},
		{"burst negative, no limit", inf, -1, nil, "burst -1"},
		{"burst MinInt", 1, math.MinInt, nil, fmt.Sprint("burst ", math.MinInt)},
		{"burst MaxInt", 1, math.MaxInt, nil, fmt.Sprint("burst ", math.MaxInt)},
		{"nil option", 1, 1, []ratelimit.Option{nil}, "option 1 is nil"},
		{"wait 0", 1, 1, []ratelimit.Option{ratelimit.MaxWait(0)}, "MaxWait 0s"},
		{"wait negative", 1, 1, []ratelimit.Option{ratelimit.MaxWait(-1)}, "MaxWait -1ns"},
		{"waiters 0", 1, 1, []ratelimit.Option{ratelimit.MaxWait(1), ratelimit.MaxWaiters(0)}, "MaxWaiters 0"},
		{"waiters negative", 1, 1, []ratelimit.Option{ratelimit.MaxWait(1), ratelimit.MaxWaiters(-1)}, "MaxWaiters -1"},
		{"waiters without wait", 1, 1, []ratelimit.Option{ratelimit.MaxWaiters(5)}, "needs MaxWait"},
		{"nil cost", 1, 1, []ratelimit.Option{ratelimit.CostOf(nil)}, "CostOf: the function is nil"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := ratelimit.Validate(test.rate, test.burst, test.options...)
			require.ErrorContains(t, err, test.want)
			_, ok := errors.AsType[*policy.ConfigError](err)
			require.True(t, ok)
			require.PanicsWithError(t, err.Error(), func() { ratelimit.New(test.rate, test.burst, test.options...) })
			if test.options == nil {
				l := ratelimit.New(5, 5)
				if test.burst == 1 {
					require.EqualError(t, l.SetRate(test.rate), err.Error())
				} else if test.rate == 1 {
					require.ErrorContains(t, l.SetBurst(test.burst), test.want)
				}
				require.Equal(t, "rate limit 5/s burst 5", l.String())
			}
		})
	}
	for _, test := range []struct {
		n        int
		interval time.Duration
		want     string
	}{
		{1, 0, "interval 0s"},
		{1, -1, "interval -1ns"},
		{-1, 1, "-1 per 1ns"},
		{2, 1, "rate 2e+09"},
		{math.MaxInt, time.Second, fmt.Sprint("rate ", float64(math.MaxInt))},
	} {
		func() {
			defer func() {
				err, _ := recover().(error)
				require.ErrorContains(t, err, test.want)
			}()
			ratelimit.Per(test.n, test.interval, 1)
		}()
	}
	require.Panics(t, func() { ratelimit.Every(0, 1) })
	require.Equal(t, "rate limit 0/s burst 3", ratelimit.Per(0, time.Hour, 3).String())
	extremes := []*ratelimit.Limiter{
		ratelimit.New(ratelimit.MaxRate, ratelimit.MaxBurst, ratelimit.MaxWait(math.MaxInt64), ratelimit.MaxWaiters(math.MaxInt)),
		ratelimit.New(ratelimit.MinRate, ratelimit.MaxBurst, ratelimit.MaxWait(math.MaxInt64)),
		ratelimit.New(inf, ratelimit.MaxBurst),
		ratelimit.Every(math.MaxInt64/1000, 1),
	}
	for _, l := range extremes {
		require.True(t, admitted(t, l))
	}
}

// A ticket that Admit never issued takes no token, whatever the size of an int.
func TestFault123_ATicketThatWasNeverIssued(t *testing.T) {
	l := ratelimit.New(0, 10)
	for _, slot := range []int64{math.MaxInt64, 1 << 32, math.MinInt64, 0, -1} {
		l.Settle(context.Background(), policy.Ticket{Number: slot}, neverCalled)
		require.EqualValues(t, 10, l.Snapshot().Tokens)
	}
}
