package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestFault127_RateZero(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(math.MaxInt64)}} {
			l := ratelimit.New(0, 3, options...)
			require.Equal(t, 3, drain(t, l), "the burst, once")
			start := time.Now()
			_, err := policy.Acquire(context.Background(), l)
			require.ErrorIs(t, err, ratelimit.ErrLimited)
			require.EqualError(t, err, "rate limiter: no token: no more tokens will come")
			_, again := policy.RetryAfter(err)
			require.False(t, again, "coming back is of no use")
			require.Zero(t, time.Since(start), "and neither is waiting")
			time.Sleep(1e6 * time.Hour)
			require.Zero(t, drain(t, l))
		}
	})
}

func TestFault127_RateInfinite(t *testing.T) {
	for _, burst := range []int{0, 1, 100} {
		l := ratelimit.New(math.Inf(1), burst, ratelimit.CostOf(costMark), ratelimit.MaxWait(time.Second))
		for cost := range 1000 {
			acquire(t, l, cost*cost).Settle(neverCalled)
			acquire(t, l, cost).Done(nil)
		}
		require.Equal(t, "rate limit none", l.String())
		require.Equal(t, uint64(2000), l.Snapshot().Admitted)
	}
}

// A wait that no clock can measure is no wait.
func TestFault127_BeyondTheHorizon(t *testing.T) {
	l := ratelimit.New(ratelimit.MinRate, ratelimit.MaxBurst, ratelimit.CostOf(costMark), ratelimit.MaxWait(math.MaxInt64))
	acquire(t, l, ratelimit.MaxBurst)
	for cost, ever := range map[int]bool{1: true, 2: true, 1000: false, ratelimit.MaxBurst: false} {
		ctx, cancel := in(time.Minute)
		_, err := policy.Acquire(costing(ctx, cost), l)
		cancel()
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, again := policy.RetryAfter(err)
		require.Equal(t, ever, again, cost)
		if ever {
			require.InEpsilon(t, float64(cost)*1e9, wait.Seconds(), 1e-6)
		}
	}
}

// A token takes 32 years to come, and 146 years are the horizon: what is there already does not have to come.
func TestFault127_WhatIsThereIsNotWaitedFor(t *testing.T) {
	for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(time.Hour)}} {
		l := ratelimit.New(ratelimit.MinRate, 10, append(options, ratelimit.CostOf(costMark))...)
		acquire(t, l, 7)
		_, err := policy.Acquire(costing(context.Background(), 4), l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, again := policy.RetryAfter(err)
		require.True(t, again)
		require.InEpsilon(t, 1e9, wait.Seconds(), 1e-3)
	}
}

func TestFault128_Costs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, options := range [][]ratelimit.Option{{ratelimit.CostOf(costMark)}, {ratelimit.CostOf(costMark), ratelimit.MaxWait(time.Hour)}} {
			l := ratelimit.New(1, 10, options...)
			start := time.Now()
			for _, test := range []struct {
				cost int
				want string
			}{
				{11, "the cost is above the burst"}, {math.MaxInt, "the cost is above the burst"},
				{-1, "the cost is negative"}, {-5, "the cost is negative"}, {math.MinInt, "the cost is negative"},
			} {
				_, err := policy.Acquire(costing(context.Background(), test.cost), l)
				require.ErrorIs(t, err, ratelimit.ErrLimited)
				require.ErrorContains(t, err, test.want)
				_, again := policy.RetryAfter(err)
				require.False(t, again)
				require.Equal(t, 10.0, l.Snapshot().Tokens, "neither debt nor gift")
			}
			acquire(t, l, 10)
			for range 100 {
				acquire(t, l, 0).Settle(neverCalled) // costs nothing, and gives nothing back
			}
			require.Zero(t, l.Snapshot().Tokens)
			require.Zero(t, l.Snapshot().Returned)
			require.Zero(t, time.Since(start))
		}
	})
}

func TestFault127_BeyondTheHorizonBehindAQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.MinRate, 1e6, ratelimit.CostOf(costMark), ratelimit.MaxWait(math.MaxInt64))
		acquire(t, l, 1e6)
		ctx, leave := context.WithCancel(context.Background())
		left := make(chan error)
		go func() { _, err := policy.Acquire(ctx, l); left <- err }()
		synctest.Wait()
		require.Equal(t, 1, l.Snapshot().Waiting)
		_, err := policy.Acquire(costing(context.Background(), 1e6), l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		_, again := policy.RetryAfter(err)
		require.False(t, again)
		acquire(t, l, 0).Done(nil) // what costs nothing does not queue either
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
	})
}

func TestFault129_SetRateTimesWaitersAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute))
		require.True(t, admitted(t, l))
		start := time.Now()
		at := make(chan time.Duration, 4)
		for range 4 {
			go func() {
				if _, err := policy.Acquire(context.Background(), l); err != nil {
					t.Error(err)
				}
				at <- time.Since(start)
			}()
		}
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, l.SetRate(5)) // half a token is there; the next half takes 100 ms
		require.Equal(t, 600*time.Millisecond, <-at)
		require.Equal(t, 800*time.Millisecond, <-at)
		require.NoError(t, l.SetRate(0.1))
		require.Equal(t, 10800*time.Millisecond, <-at)
		require.NoError(t, l.SetRate(math.Inf(1)))
		require.Equal(t, 10800*time.Millisecond, <-at)
		time.Sleep(time.Nanosecond)
		require.NoError(t, l.SetRate(1))
		require.InDelta(t, 1, l.Snapshot().Tokens, 1e-9)
		require.Zero(t, l.Snapshot().Waiting)
	})
}

func TestFault129_AChangeLendsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 2)
		require.Equal(t, 2, drain(t, l))
		time.Sleep(100*time.Millisecond - 1)
		require.NoError(t, l.SetRate(10))
		require.False(t, admitted(t, l), "a nanosecond is missing")
		require.NoError(t, l.SetBurst(1))
		require.False(t, admitted(t, l), "a nanosecond is missing")
		time.Sleep(1)
		require.True(t, admitted(t, l))
	})
}

func TestFault129_WhoCanStillWaitStays(t *testing.T) {
	for rate, stays := range map[float64]bool{0.1: true, 0.0999: false} {
		bubble(t, func(t *testing.T) {
			l := ratelimit.New(1, 1, ratelimit.MaxWait(10*time.Second))
			require.True(t, admitted(t, l))
			start := time.Now()
			result := make(chan error)
			go func() { _, err := policy.Acquire(context.Background(), l); result <- err }()
			synctest.Wait()
			require.NoError(t, l.SetRate(rate))
			if err := <-result; stays {
				require.NoError(t, err)
				require.Equal(t, 10*time.Second, time.Since(start), "exactly as long as it may")
			} else {
				require.ErrorIs(t, err, ratelimit.ErrLimited)
				require.Zero(t, time.Since(start))
			}
		})
	}
}

// Somebody who is refused by a change, and whose context ends before it hears of that, leaves the queue once.
func TestFault129_RefusedAndCancelledLeavesOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(10*time.Second))
		require.True(t, admitted(t, l))
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := policy.Acquire(ctx, l); left <- err }()
		synctest.Wait()
		require.NoError(t, l.SetRate(0.05))
		cancel()
		require.Error(t, <-left)
		_, err := policy.Acquire(t.Context(), l)
		require.ErrorIs(t, err, ratelimit.ErrLimited, "the next token comes in 20 s")
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 10*time.Second, wait)
	})
}

func TestTheShortestWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.MaxRate, 1, ratelimit.MaxWait(time.Second))
		require.True(t, admitted(t, l))
		start := time.Now()
		require.True(t, admitted(t, l))
		require.Equal(t, time.Nanosecond, time.Since(start))
	})
}

func TestFault129_SetRateRefusesWhoCannotWaitThatLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(10*time.Second))
		require.True(t, admitted(t, l))
		start := time.Now()
		type result struct {
			i   int
			err error
			at  time.Duration
		}
		results := make(chan result, 5)
		for i := range 5 {
			go func() {
				ctx := context.Background()
				if i == 1 {
					var cancel context.CancelFunc
					ctx, cancel = in(4 * time.Second)
					defer cancel()
				}
				_, err := policy.Acquire(ctx, l)
				results <- result{i, err, time.Since(start)}
			}()
			synctest.Wait()
		}
		require.NoError(t, l.SetRate(0.25)) // turns: 4 s, 8 s, 12 s, …
		for _, want := range []int{1, 3, 4} {
			r := <-results
			require.Zero(t, r.at)
			require.ErrorIs(t, r.err, ratelimit.ErrLimited)
			if want == 1 {
				require.Contains(t, []int{1, 3, 4}, r.i)
			}
		}
		require.Equal(t, result{0, nil, 4 * time.Second}, <-results)
		require.Equal(t, result{2, nil, 8 * time.Second}, <-results)
		require.NoError(t, l.SetRate(0))
		go func() {
			_, err := policy.Acquire(context.Background(), l)
			results <- result{9, err, time.Since(start)}
		}()
		r := <-results
		require.EqualError(t, r.err, "rate limiter: no token: no more tokens will come")
		require.Equal(t, ratelimit.Snapshot{Burst: 1, Admitted: 3, Rejected: 4, PeakWaiting: 5}, l.Snapshot())
	})
}

func TestFault129_SetRateZeroRefusesWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute))
		require.True(t, admitted(t, l))
		refused := make(chan error)
		go func() { _, err := policy.Acquire(context.Background(), l); refused <- err }()
		synctest.Wait()
		require.NoError(t, l.SetRate(0))
		err := <-refused
		require.ErrorContains(t, err, "no more tokens will come")
		_, again := policy.RetryAfter(err)
		require.False(t, again)
	})
}

func TestFault129_SetBurst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 10, ratelimit.CostOf(costMark), ratelimit.MaxWait(time.Hour))
		require.NoError(t, l.SetBurst(4))
		require.Equal(t, 4.0, l.Snapshot().Tokens, "never above the burst")
		require.NoError(t, l.SetBurst(20))
		require.Equal(t, 4.0, l.Snapshot().Tokens, "and never minted")
		require.Equal(t, 4, func() (n int) {
			for l.Snapshot().Tokens >= 1 {
				acquire(t, l, 1)
				n++
			}
			return n
		}())
		start := time.Now()
		big, small := make(chan error, 1), make(chan time.Duration, 1)
		go func() {
			_, err := policy.Acquire(costing(context.Background(), 15), l)
			big <- err
		}()
		synctest.Wait()
		go func() {
			acquire(t, l, 5)
			small <- time.Since(start)
		}()
		time.Sleep(time.Second)
		require.NoError(t, l.SetBurst(10))
		err := <-big
		require.ErrorContains(t, err, "the cost is above the burst")
		_, again := policy.RetryAfter(err)
		require.False(t, again, "coming back is of no use")
		require.Equal(t, 5*time.Second, <-small, "those behind move up")
		require.ErrorContains(t, l.SetBurst(0), "nothing would ever be admitted")
		require.NoError(t, l.SetRate(math.Inf(1)))
		require.NoError(t, l.SetBurst(0))
		require.ErrorContains(t, l.SetRate(1), "nothing would ever be admitted")
		require.Equal(t, "rate limit none", l.String())
	})
}

// Whatever changes and whoever leaves: never more than the largest quota allows, nobody is forgotten, and the tokens
// stay within the bucket.
func TestFault129_ChangesUnderLoad(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := slice(r, rapid.IntRange(0, 1<<30), 100)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(10, 5, ratelimit.MaxWait(3*time.Second), ratelimit.MaxWaiters(20), ratelimit.CostOf(costMark))
			var calls sync.WaitGroup
			var mu sync.Mutex
			var spent, latestRate float64 = 0, 10
			allowed := 5.0
			for _, s := range steps {
				switch what, value := s%6, s/6; what {
				case 0, 1, 2:
					calls.Go(func() {
						ctx, cancel := in(time.Duration(value%5000) * time.Millisecond)
						defer cancel()
						cost := value % 7
						permit, err := policy.Acquire(costing(ctx, cost), l)
						switch {
						case err != nil && !errors.Is(err, ratelimit.ErrLimited) && !errors.Is(err, context.DeadlineExceeded):
							panic(err)
						case err != nil:
						case value%3 == 0:
							permit.Settle(neverCalled)
						default:
							permit.Done(nil)
							mu.Lock()
							spent += float64(cost)
							mu.Unlock()
						}
					})
				case 3:
					idle := time.Duration(value%1000) * time.Millisecond
					time.Sleep(idle)
					allowed += latestRate * idle.Seconds()
				case 4:
					latestRate = float64(value % 20)
					if err := l.SetRate(latestRate); err != nil {
						fail("%v", err)
					}
				case 5:
					if err := l.SetBurst(1 + value%5); err != nil {
						fail("%v", err)
					}
				}
				synctest.Wait()
				snapshot := l.Snapshot()
				if snapshot.Tokens < 0 || snapshot.Tokens > float64(snapshot.Burst) || snapshot.Waiting > 20 {
					fail("%+v", snapshot)
				}
				mu.Lock()
				if spent > allowed+1e-6 {
					fail("%v spent, %v allowed", spent, allowed)
				}
				mu.Unlock()
			}
			time.Sleep(time.Minute)
			calls.Wait()
			if waiting := l.Snapshot().Waiting; waiting != 0 {
				fail("%d forgotten", waiting)
			}
		})
	})
}

func TestFault130_SeveralLimiters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		perSecond, perHour := ratelimit.New(10, 5), ratelimit.Per(3, time.Hour, 3)
		p := resilience.Compose(perSecond, perHour)
		require.Equal(t, "rate limit 10/s burst 5 > rate limit 1 per 20m0s burst 3", p.String())
		entered := 0
		for range 50 {
			err := p.Run(context.Background(), func(context.Context) error { entered++; return nil })
			require.Equal(t, entered == 3 && err != nil, errors.Is(err, ratelimit.ErrLimited))
		}
		require.Equal(t, 3, entered)
		require.Equal(t, 2.0, perSecond.Snapshot().Tokens, "all or nothing")
	})
}

func TestFault049_NoLostWakeup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		l := ratelimit.Every(time.Hour, 1, ratelimit.MaxWait(10*time.Hour), ratelimit.CostOf(func(asking context.Context) int {
			if asking == ctx {
				cancel() // after the engine has looked, before the attempt is in the queue
			}
			return 1
		}))
		require.True(t, admitted(t, l))
		start := time.Now()
		_, err := resilience.Do(ctx, l, nothing)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, time.Since(start))
		require.Zero(t, l.Snapshot().Waiting)
	})
}

// Grants, cancellations and tokens that come back, all at the same time and in real time: nobody hangs, nothing is lost.
func TestFault074_GrantAndCancelRace(t *testing.T) {
	l := ratelimit.New(1e5, 3, ratelimit.MaxWait(time.Second), ratelimit.CostOf(costMark))
	var workers sync.WaitGroup
	start := time.Now()
	for seed := range 16 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(seed)))
			for range 1000 {
				ctx, cancel := context.WithCancel(context.Background())
				timer := time.AfterFunc(time.Duration(random.IntN(200))*time.Microsecond, cancel)
				permit, err := policy.Acquire(costing(ctx, 1+random.IntN(3)), l)
				switch {
				case err == nil && random.IntN(2) == 0:
					permit.Settle(neverCalled)
				case err == nil:
					permit.Done(nil)
				case !errors.Is(err, context.Canceled) && !errors.Is(err, ratelimit.ErrLimited):
					t.Error(err)
				}
				timer.Stop()
				cancel()
			}
		})
	}
	workers.Wait()
	s := l.Snapshot()
	t.Logf("%v for %+v", time.Since(start), s)
	require.Zero(t, s.Waiting)
	require.Positive(t, s.Returned)
	require.LessOrEqual(t, s.Tokens, 3.0)
	require.Greater(t, s.Admitted, s.Returned)
}

func TestFault050_GoroutinesReturnToBase(t *testing.T) {
	before := runtime.NumGoroutine()
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 1, ratelimit.MaxWait(time.Hour))
		var calls sync.WaitGroup
		for i := range many(10_000) {
			calls.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
				resilience.Do(ctx, l, nothing)
			})
		}
		calls.Wait()
		require.Zero(t, l.Snapshot().Waiting)
	})
	for n := 0; n < 1000 && runtime.NumGoroutine() > before; n++ {
		time.Sleep(time.Millisecond) // those of earlier tests and of timers are on their way out
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestFault051_NoGoroutinePerInstance(t *testing.T) {
	before, base := runtime.NumGoroutine(), heap()
	var all []*ratelimit.Limiter
	for range many(100_000) {
		l := ratelimit.New(10, 1, ratelimit.MaxWait(time.Hour))
		_, err := resilience.Do(context.Background(), l, nothing)
		require.NoError(t, err)
		all = append(all, l)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	t.Logf("%d bytes each", (heap()-base)/uint64(len(all)))
	runtime.KeepAlive(all)
	require.Less(t, heap(), base+1<<20, "dropped limiters are collected")
}

func TestFault052_TimersAreReleased(t *testing.T) {
	l := ratelimit.Every(time.Hour, 1, ratelimit.MaxWait(100*time.Hour))
	require.True(t, admitted(t, l))
	base := heap()
	for range many(100_000) {
		_, err := policy.Acquire(&impatient{Context: context.Background()}, l)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Less(t, heap(), base+1<<20)
	require.Zero(t, l.Snapshot().Waiting)
}

// impatient is a context that ends as soon as somebody wants to wait for its end.
type impatient struct {
	context.Context
	ended bool
}

func (c *impatient) Done() <-chan struct{} {
	c.ended = true
	done := make(chan struct{})
	close(done)
	return done
}

func (c *impatient) Err() error {
	if c.ended {
		return context.Canceled
	}
	return nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// With a burst of 1 and callers who wait, a limiter is an M/D/1 queue: the mean wait is ρ / (2 r (1 − ρ)).
func TestWaitingIsMD1(t *testing.T) {
	if raced || testing.Short() {
		t.Skip("a simulation")
	}
	const n, perSecond = 200_000, 10.0
	for _, offered := range []float64{8, 5} {
		t.Run(fmt.Sprint(offered), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := ratelimit.New(perSecond, 1, ratelimit.MaxWait(time.Hour))
				random := rand.New(rand.NewPCG(11, 12))
				var mu sync.Mutex
				var total time.Duration
				var calls sync.WaitGroup
				for range n {
					time.Sleep(time.Duration(random.ExpFloat64() / offered * 1e9))
					calls.Go(func() {
						start := time.Now()
						if _, _, err := l.Admit(context.Background()); err != nil {
							t.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						total += time.Since(start)
					})
				}
				calls.Wait()
				load := offered / perSecond
				want := load / (2 * perSecond * (1 - load))
				t.Logf("mean wait %.4f s, by the formula %.4f s", total.Seconds()/n, want)
				require.InEpsilon(t, want, total.Seconds()/n, 0.03)
			})
		})
	}
}

// many is n, or a tenth of it under the race detector.
func many(n int) int {
	if raced {
		return n / 10
	}
	return n
}

func TestConformance(t *testing.T) {
	for name, newGuard := range map[string]func() policy.Guard{
		"refusing": func() policy.Guard { return ratelimit.New(10, 5) },
		"waiting":  func() policy.Guard { return ratelimit.Every(2*time.Hour, 5, ratelimit.MaxWait(24*time.Hour)) },
		"costs":    func() policy.Guard { return ratelimit.New(10, 5, ratelimit.CostOf(costMark)) },
		"no limit": func() policy.Guard { return ratelimit.New(math.Inf(1), 0) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Guard(t, newGuard) })
	}
}

// Whose turn it is in the very moment of a change has its tokens by the old rate, by whose rounding they are there.
func TestFault129_AChangeInTheMomentOfATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(3, 20, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		acquire(t, l, 20)
		time.Sleep(700 * time.Millisecond)
		acquire(t, l, 1)
		time.Sleep(300 * time.Millisecond)
		time.AfterFunc(2*time.Second, func() { _ = l.SetRate(0) })
		acquire(t, l, 8) // 7.999999999999999 tokens are there
		time.Sleep(1)
		require.Zero(t, l.Snapshot().PerSecond)
	})
}

// Who was admitted because there was no limit for a while has taken nothing, and gives nothing back.
func TestFault123_WithoutALimitNothingComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(1, 10, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		_, _, err := l.Admit(costing(t.Context(), 10))
		require.NoError(t, err)
		var waited policy.Ticket
		go func() { _, waited, err = l.Admit(costing(t.Context(), 8)) }()
		synctest.Wait()
		require.NoError(t, l.SetRate(math.Inf(1)))
		synctest.Wait()
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, l.SetRate(0))
		_, _, err = l.Admit(costing(t.Context(), 10))
		require.NoError(t, err)
		l.Settle(t.Context(), waited, policy.Outcome{Kind: policy.NotCalled})
		require.Zero(t, l.Snapshot().Tokens)

		require.NoError(t, l.SetRate(1))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _, _ = l.Admit(costing(ctx, 8)) }()
		synctest.Wait()
		require.NoError(t, l.SetRate(math.Inf(1)))
		require.NoError(t, l.SetRate(0))
		cancel() // at once: whether the waiter has seen that it was granted or not
		synctest.Wait()
		require.Zero(t, l.Snapshot().Tokens)
		require.Zero(t, l.Snapshot().Returned)
	})
}
