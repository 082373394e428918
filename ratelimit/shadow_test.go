package ratelimit_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// twins are a limiter that enforces and one in shadow, which see the same traffic.
type twins struct{ enforcing, shadow *ratelimit.Limiter }

// differ returns how the two differ, but for the word for a refusal.
func (tw twins) differ() string {
	want, got := tw.enforcing.Snapshot(), tw.shadow.Snapshot()
	if got.Rejected != 0 || !got.Shadow || want.Shadow {
		return fmt.Sprintf("in shadow %+v", got)
	}
	got.Shadow, got.Rejected, got.ShadowRejected = false, got.ShadowRejected, 0
	if got != want {
		return fmt.Sprintf("in shadow %+v, but %+v", got, want)
	}
	return ""
}

// Without a queue, a limiter in shadow does to its tokens and counts what it would do to them if it enforced.
func TestShadowIsExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.SampledFrom([]float64{0, 0.3, 1, 10, 1e9}).Draw(r, "rate")
		burst := rapid.IntRange(1, 6).Draw(r, "burst")
		steps := slice(r, rapid.IntRange(0, 1<<20), 150)
		check(r, t, func(fail func(string, ...any)) {
			both := twins{
				ratelimit.New(perSecond, burst, ratelimit.CostOf(costMark)),
				ratelimit.New(perSecond, burst, ratelimit.CostOf(costMark), ratelimit.Shadow()),
			}
			var open [][2]*policy.Permit // nil where the enforcing one refused
			start := time.Now()
			slept := time.Duration(0)
			for _, s := range steps {
				switch what, value := s%8, s/8; what {
				case 0, 1, 2, 3:
					ctx := costing(context.Background(), value%(burst+3)-1)
					first, err := policy.Acquire(ctx, both.enforcing)
					second, shadow := policy.Acquire(ctx, both.shadow)
					if shadow != nil {
						fail("refused in shadow: %v", shadow)
					}
					if err != nil {
						first = nil
					}
					open = append(open, [2]*policy.Permit{first, second})
				case 4, 5: // how an attempt ends that the enforcing one never let begin is only heard in shadow
					if len(open) > 0 {
						pair := open[value%len(open)]
						outcome := policy.Outcome{Kind: policy.Kind(value / 64 % 4)}
						pair[0].Settle(outcome)
						pair[1].Settle(outcome)
					}
				case 6:
					d := time.Duration(value%3000) * time.Millisecond
					time.Sleep(d)
					slept += d
				case 7:
					rate, burst := float64(value%20), 1+value/20%6
					if value%97 == 0 {
						rate = math.Inf(1)
					}
					if err := both.enforcing.Reconfigure(rate, burst); err != nil {
						fail("%v", err)
					}
					if err := both.shadow.Reconfigure(rate, burst, ratelimit.Shadow()); err != nil {
						fail("%v", err)
					}
				}
				if difference := both.differ(); difference != "" {
					fail("%s", difference)
				}
			}
			if time.Since(start) != slept {
				fail("waited for %v", time.Since(start)-slept)
			}
		})
	})
}

// With a queue too, as long as no attempt leaves it: each takes its token when its turn would have come.
func TestShadowWithAQueue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := slice(r, rapid.IntRange(0, 1<<20), 100)
		check(r, t, func(fail func(string, ...any)) {
			options := []ratelimit.Option{ratelimit.CostOf(costMark), ratelimit.MaxWait(2 * time.Second), ratelimit.MaxWaiters(6)}
			both := twins{ratelimit.New(4, 3, options...), ratelimit.New(4, 3, append(options, ratelimit.Shadow())...)}
			var calls sync.WaitGroup
			for _, s := range steps {
				switch what, value := s%4, s/4; what {
				case 0, 1, 2:
					ctx := costing(context.Background(), value%4)
					cancel := func() {}
					switch value / 4 % 4 {
					case 0:
						ctx = policy.NoWait(ctx)
					case 1:
						ctx, cancel = context.WithTimeout(ctx, time.Duration(value%1500)*time.Millisecond)
					}
					calls.Go(func() {
						defer cancel()
						_, _, _ = both.enforcing.Admit(ctx)
					})
					synctest.Wait()
					now := time.Now()
					if _, _, err := both.shadow.Admit(ctx); err != nil || !time.Now().Equal(now) {
						fail("%v after %v", err, time.Since(now))
					}
				case 3:
					// Within the grid of whole nanoseconds on which tokens come, at 4 per second: no moment is rounded.
					time.Sleep(time.Duration(value%40) * 50 * time.Millisecond)
				}
				synctest.Wait()
				if difference := both.differ(); difference != "" {
					fail("%s", difference)
				}
			}
			calls.Wait()
		})
	})
}

// What would have been refused, or would have waited, holds no token that it could give back.
func TestShadowHoldsNoToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(time.Second)}} {
			l := ratelimit.New(1, 1, append(options, ratelimit.Shadow())...)
			acquire(t, l, 1)
			for range 5 {
				acquire(t, l, 1).Settle(neverCalled)
			}
			s := l.Snapshot()
			require.Zero(t, s.Tokens)
			require.Zero(t, s.Returned)
			require.EqualValues(t, 5, s.ShadowRejected+uint64(s.Waiting))
		}
	})
}

func TestEnforceGoesOnFromTheShadow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 2, ratelimit.Shadow())
		for range 5 {
			require.True(t, admitted(t, l))
		}
		time.Sleep(150 * time.Millisecond)
		l.Enforce()
		require.Equal(t, 1, drain(t, l))
		require.InDelta(t, 0.5, l.Snapshot().Tokens, 1e-9)
		l.Shadow()
		require.True(t, admitted(t, l))
		require.Equal(t, ratelimit.Snapshot{
			PerSecond: 10, Burst: 2, Shadow: true, Tokens: l.Snapshot().Tokens, Admitted: 3, Rejected: 1, ShadowRejected: 4,
		}, l.Snapshot())
		require.False(t, l.Idle(), "it was set by hand")
	})
}

// Attempts that have gone ahead are owed their tokens also when the limiter enforces again: those that wait come after.
func TestEnforceWithAQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute), ratelimit.Shadow())
		start := time.Now()
		for range 4 {
			acquire(t, l, 1)
		}
		require.Zero(t, time.Since(start))
		require.Equal(t, 3, l.Snapshot().Waiting)
		time.Sleep(500 * time.Millisecond)
		l.Enforce()
		acquire(t, l, 1)
		require.Equal(t, 4*time.Second, time.Since(start))
		require.Equal(t, ratelimit.Snapshot{PerSecond: 1, Burst: 1, Admitted: 5, PeakWaiting: 4}, l.Snapshot())
	})
}

// The turns of attempts that have gone ahead are caught up with in their order and at their time: the bucket is full only
// afterwards.
func TestShadowCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 5, ratelimit.MaxWait(time.Minute), ratelimit.Shadow())
		for range 15 {
			acquire(t, l, 1)
		}
		time.Sleep(12 * time.Second)
		s := l.Snapshot()
		require.InDelta(t, 2, s.Tokens, 1e-9)
		require.Zero(t, s.Waiting)
		require.EqualValues(t, 15, s.Admitted)
	})
}

func TestShadowLetsThoseThatWaitGoAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute))
		acquire(t, l, 1)
		start := time.Now()
		permits := make(chan *policy.Permit, 3)
		for range 3 {
			go func() {
				permit, err := policy.Acquire(context.Background(), l)
				if err != nil {
					t.Error(err)
				}
				permits <- permit
			}()
		}
		time.Sleep(100 * time.Millisecond)
		l.Shadow()
		for range 3 {
			(<-permits).Settle(neverCalled)
		}
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.Equal(t, 3, l.Snapshot().Waiting, "their tokens are owed")
		time.Sleep(10 * time.Second)
		require.Equal(t, ratelimit.Snapshot{PerSecond: 1, Burst: 1, Shadow: true, Tokens: 1, Admitted: 4, PeakWaiting: 3}, l.Snapshot())
	})
}

// Who has gone ahead and has no room in a new configuration counts as refused: every attempt is counted once.
func TestShadowCountsWhomAChangeWouldRefuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute), ratelimit.Shadow())
		for range 5 {
			acquire(t, l, 1)
		}
		require.NoError(t, l.Reconfigure(1, 1, ratelimit.MaxWait(time.Minute), ratelimit.MaxWaiters(3), ratelimit.Shadow()))
		require.Equal(t, ratelimit.Snapshot{
			PerSecond: 1, Burst: 1, Shadow: true, Waiting: 3, PeakWaiting: 4, Admitted: 1, ShadowRejected: 1,
		}, l.Snapshot())
	})
}

// askedAfter is a context that does not say whether it has ended while the mutex is held.
type askedAfter struct {
	context.Context
	moment *sync.Mutex
}

func (c askedAfter) Err() error {
	c.moment.Lock()
	defer c.moment.Unlock()
	return c.Context.Err()
}

// One that leaves in the very moment in which it could go ahead is not made, and owes nothing.
func TestShadowAndCancelInOneMoment(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute))
		acquire(t, l, 1)
		ctx, cancel := context.WithCancel(context.Background())
		var moment sync.Mutex
		left := make(chan error)
		go func() { _, err := policy.Acquire(askedAfter{ctx, &moment}, l); left <- err }()
		synctest.Wait()
		moment.Lock()
		l.Shadow()
		cancel()
		moment.Unlock()
		require.ErrorIs(t, <-left, context.Canceled)
		require.Zero(t, l.Snapshot().Waiting)
	})
}

// Modes change while attempts wait, come and leave, in real time: nothing hangs, and the sums come out.
func TestShadowUnderLoad(t *testing.T) {
	l := ratelimit.New(1e5, 3, ratelimit.MaxWait(time.Second))
	var workers sync.WaitGroup
	const callers, calls = 8, 500
	for range callers {
		workers.Go(func() {
			for range calls {
				permit, err := policy.Acquire(context.Background(), l)
				if err != nil {
					t.Error(err)
				}
				permit.Done(nil)
			}
		})
	}
	for range 200 {
		l.Shadow()
		l.Enforce()
		_ = l.Report()
	}
	workers.Wait()
	for l.Snapshot().Waiting > 0 {
		acquire(t, l, 1)
	}
	s := l.Snapshot()
	require.Zero(t, s.Rejected+s.ShadowRejected)
	require.GreaterOrEqual(t, s.Admitted, uint64(callers*calls))
}
