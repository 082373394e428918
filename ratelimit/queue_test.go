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
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

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
		require.Equal(t, ratelimit.Snapshot{Name: "mail", PerSecond: 10, Burst: 1, Admitted: 4, Rejected: 1, PeakWaiting: 3}, l.Snapshot())
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

func TestTheShortestWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.MaxRate, 1, ratelimit.MaxWait(time.Second))
		require.True(t, admitted(t, l))
		start := time.Now()
		require.True(t, admitted(t, l))
		require.Equal(t, time.Nanosecond, time.Since(start))
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
	if raced {
		t.Skip("a simulation")
	}
	const n, perSecond = 200_000, 10.0
	for _, offered := range testsize.Pick([]float64{8}, []float64{8, 5}) {
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

// broken is a context of which a method panics once it is asked while its attempt waits.
type broken struct {
	context.Context
	method string
	asked  int
}

func (c *broken) Done() <-chan struct{} {
	if c.method == "Done" {
		panic("Done")
	}
	return c.Context.Done()
}

func (c *broken) Err() error {
	if c.asked++; c.method == "Err" && c.asked > 1 {
		panic("Err")
	}
	return c.Context.Err()
}

// An attempt leaves the queue on every exit, and those behind it move up.
func TestFault243_ABrokenContextLeavesTheQueue(t *testing.T) {
	for _, method := range []string{"Done", "Err"} {
		bubble(t, func(t *testing.T) {
			l := ratelimit.Every(time.Second, 1, ratelimit.MaxWait(time.Hour))
			require.True(t, admitted(t, l))
			start := time.Now()
			ctx := &broken{context.Background(), method, 0}
			panicked := make(chan any)
			go func() {
				defer func() { panicked <- recover() }()
				_, _, _ = l.Admit(ctx)
			}()
			synctest.Wait()
			behind := make(chan error)
			go func() { _, _, err := l.Admit(context.Background()); behind <- err }()
			if method == "Err" { // asked again when there is news
				time.Sleep(time.Millisecond)
				require.NoError(t, l.Reconfigure(1, 1, ratelimit.MaxWait(time.Hour)))
			}
			require.Equal(t, method, <-panicked)
			require.NoError(t, <-behind)
			require.Equal(t, time.Second, time.Since(start))
			require.Zero(t, l.Snapshot().Waiting)
			require.True(t, admitted(t, l), "nothing was lost")
			require.Equal(t, 2*time.Second, time.Since(start))
		})
	}
}

// deadlined is a context that does something when it is asked for its deadline.
type deadlined struct {
	context.Context
	asked func()
}

func (d deadlined) Deadline() (time.Time, bool) { d.asked(); return d.Context.Deadline() }

// A token that comes back while an attempt looks how long it may wait is there for it.
func TestATokenThatComesBackBeforeTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute))
		first := acquire(t, l, 1)
		start := time.Now()
		permit, err := policy.Acquire(deadlined{t.Context(), func() { first.Settle(neverCalled) }}, l)
		require.NoError(t, err)
		require.True(t, permit.Done(nil))
		require.Zero(t, time.Since(start))
		require.Equal(t, ratelimit.Snapshot{PerSecond: 1, Burst: 1, Admitted: 2, Returned: 1}, l.Snapshot())
	})
}

func TestNoWaitIsRefusedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(time.Second, 1, ratelimit.MaxWait(time.Hour))
		probe := policy.NoWait(t.Context())
		permit, err := policy.Acquire(probe, l)
		require.NoError(t, err, "there is no need to wait")
		permit.Done(nil)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		go func() { _, _, _ = l.Admit(ctx) }()
		synctest.Wait()
		start := time.Now()
		_, err = policy.Acquire(probe, l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.EqualError(t, err, "rate limiter: no token (retry after 2s)")
		require.Zero(t, time.Since(start))
		require.Equal(t, 1, l.Snapshot().Waiting)
	})
}

// watched is a context that is cancelled right after it was looked at for the n-th time.
type watched struct {
	context.Context
	cancel context.CancelFunc
	looks  int
	last   int
	ended  time.Time // when it was cancelled
}

func (c *watched) seen() {
	if c.looks++; c.looks == c.last {
		c.cancel()
		c.ended = time.Now()
	}
}

func (c *watched) Err() error {
	defer c.seen()
	return c.Context.Err()
}

func (c *watched) Done() <-chan struct{} {
	defer c.seen()
	return c.Context.Done()
}

// A context that ends between two looks at it, whichever they are, ends the wait at once.
func TestFault049_ACancellationBetweenTwoLooks(t *testing.T) {
	for last := 1; ; last++ {
		cancelled := false
		bubble(t, func(t *testing.T) {
			l := ratelimit.Every(time.Hour, 1, ratelimit.MaxWait(10*time.Hour))
			require.True(t, admitted(t, l))
			ctx := &watched{last: last}
			ctx.Context, ctx.cancel = context.WithCancel(context.Background())
			defer ctx.cancel()
			start := time.Now()
			_, err := resilience.Do(ctx, l, nothing)
			if cancelled = ctx.ended.Equal(start); cancelled { // before the wait, or as it began
				require.ErrorIs(t, err, context.Canceled)
				require.Zero(t, time.Since(start))
			}
			require.Zero(t, l.Snapshot().Waiting)
		})
		if !cancelled {
			require.Greater(t, last, 2, "the engine looks, and the queue")
			return
		}
	}
}
