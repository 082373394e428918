package ratelimit_test

import (
	"context"
	"errors"
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
		require.NoError(t, setRate(l, 5)) // half a token is there; the next half takes 100 ms
		require.Equal(t, 600*time.Millisecond, <-at)
		require.Equal(t, 800*time.Millisecond, <-at)
		require.NoError(t, setRate(l, 0.1))
		require.Equal(t, 10800*time.Millisecond, <-at)
		require.NoError(t, setRate(l, math.Inf(1)))
		require.Equal(t, 10800*time.Millisecond, <-at)
		time.Sleep(time.Nanosecond)
		require.NoError(t, setRate(l, 1))
		require.InDelta(t, 1, l.Snapshot().Tokens, 1e-9)
		require.Zero(t, l.Snapshot().Waiting)
	})
}

func TestFault129_AChangeLendsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 2)
		require.Equal(t, 2, drain(t, l))
		time.Sleep(100*time.Millisecond - 1)
		require.NoError(t, setRate(l, 10))
		require.False(t, admitted(t, l), "a nanosecond is missing")
		require.NoError(t, setBurst(l, 1))
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
			require.NoError(t, setRate(l, rate))
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
		require.NoError(t, setRate(l, 0.05))
		cancel()
		require.Error(t, <-left)
		_, err := policy.Acquire(t.Context(), l)
		require.ErrorIs(t, err, ratelimit.ErrLimited, "the next token comes in 20 s")
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 10*time.Second, wait)
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
		require.NoError(t, setRate(l, 0.25)) // turns: 4 s, 8 s, 12 s, …
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
		require.NoError(t, setRate(l, 0))
		go func() {
			_, err := policy.Acquire(context.Background(), l)
			results <- result{9, err, time.Since(start)}
		}()
		r := <-results
		require.EqualError(t, r.err, "rate limiter: no token: no more tokens will come")
		require.Equal(t, ratelimit.Snapshot{Burst: 1, Admitted: 3, Rejected: 4, PeakWaiting: 5}, l.Snapshot())
	})
}

// An attempt that a change refuses is told what a new one is told: when there is room for it, not when its own turn would be.
func TestFault129_WhoIsRefusedByAChangeIsToldWhenToComeBack(t *testing.T) {
	for _, test := range []struct {
		name    string
		waiting int
		after   time.Duration
		change  func(*ratelimit.Limiter) error
		reason  error
		wait    time.Duration
	}{
		{"its turn, in 12 s, fits MaxWait in 2 s", 3, 0, func(l *ratelimit.Limiter) error {
			return l.Reconfigure(0.25, 1, ratelimit.MaxWait(10*time.Second))
		}, ratelimit.ErrMaxWait, 2 * time.Second},
		{"the first has its turn in 1 s, and leaves its place", 3, 0, func(l *ratelimit.Limiter) error {
			return l.Reconfigure(1, 1, ratelimit.MaxWait(10*time.Second), ratelimit.MaxWaiters(2))
		}, ratelimit.ErrQueueFull, time.Second},
		{"its turn, in 9.8 s, would fit MaxWait had it just come", 1, time.Second / 2, func(l *ratelimit.Limiter) error {
			return l.Reconfigure(0.5/9.8, 1, ratelimit.MaxWait(10*time.Second))
		}, ratelimit.ErrMaxWait, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := ratelimit.New(1, 1, ratelimit.MaxWait(10*time.Second))
				require.True(t, admitted(t, l))
				ctx, leave := context.WithCancel(context.Background())
				defer leave()
				results := make(chan error, test.waiting+1)
				ask := func() {
					go func() { _, err := policy.Acquire(ctx, l); results <- err }()
					synctest.Wait()
				}
				for range test.waiting {
					ask()
				}
				time.Sleep(test.after)
				require.NoError(t, test.change(l))
				err := <-results
				require.ErrorIs(t, err, test.reason)
				wait, ok := policy.RetryAfter(err)
				require.True(t, ok)
				require.Equal(t, test.wait, wait)
				ask()
				if test.wait > 0 {
					require.Equal(t, err, <-results, "the new one")
				}
				require.Equal(t, max(1, test.waiting-1), l.Snapshot().Waiting)
			})
		})
	}
}

func TestFault129_SetRateZeroRefusesWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 1, ratelimit.MaxWait(time.Minute))
		require.True(t, admitted(t, l))
		refused := make(chan error)
		go func() { _, err := policy.Acquire(context.Background(), l); refused <- err }()
		synctest.Wait()
		require.NoError(t, setRate(l, 0))
		err := <-refused
		require.ErrorContains(t, err, "no more tokens will come")
		_, again := policy.RetryAfter(err)
		require.False(t, again)
	})
}

func TestFault129_SetBurst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 10, ratelimit.CostOf(costMark), ratelimit.MaxWait(time.Hour))
		require.NoError(t, setBurst(l, 4))
		require.Equal(t, 4.0, l.Snapshot().Tokens, "never above the burst")
		require.NoError(t, setBurst(l, 20))
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
		require.NoError(t, setBurst(l, 10))
		err := <-big
		require.ErrorContains(t, err, "the cost is above the burst")
		_, again := policy.RetryAfter(err)
		require.False(t, again, "coming back is of no use")
		require.Equal(t, 5*time.Second, <-small, "those behind move up")
		require.ErrorContains(t, setBurst(l, 0), "nothing would ever be admitted")
		require.NoError(t, setRate(l, math.Inf(1)))
		require.NoError(t, setBurst(l, 0))
		require.ErrorContains(t, setRate(l, 1), "nothing would ever be admitted")
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
					if err := setRate(l, latestRate); err != nil {
						fail("%v", err)
					}
				case 5:
					if err := setBurst(l, 1+value%5); err != nil {
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

// Whose turn it is in the very moment of a change has its tokens by the old rate, by whose rounding they are there.
func TestFault129_AChangeInTheMomentOfATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(3, 20, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		acquire(t, l, 20)
		time.Sleep(700 * time.Millisecond)
		acquire(t, l, 1)
		time.Sleep(300 * time.Millisecond)
		time.AfterFunc(2*time.Second, func() { _ = setRate(l, 0) })
		acquire(t, l, 8) // 7.999999999999999 tokens are there
		time.Sleep(1)
		require.Zero(t, l.Snapshot().PerSecond)
	})
}

// Who is refused when the rate becomes 0 leaves what is there to those behind, to the last token.
func TestFault129_SetRateZeroLeavesTheTokensToThoseBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 8, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		acquire(t, l, 4)
		results := make([]error, 3)
		for i, cost := range []int{6, 1, 3} {
			go func() { _, results[i] = policy.Acquire(costing(context.Background(), cost), l) }()
			synctest.Wait()
		}
		require.Equal(t, 3, l.Snapshot().Waiting)
		require.NoError(t, setRate(l, 0))
		synctest.Wait()
		require.ErrorIs(t, results[0], ratelimit.ErrLimited, "4 tokens are there")
		require.NoError(t, results[1])
		require.NoError(t, results[2])
		require.Zero(t, l.Snapshot().Tokens)
	})
}

// What is refused changes nothing.
func TestReconfigureIsAllOrNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 2, ratelimit.Name("a"), ratelimit.MaxWait(time.Minute))
		require.Equal(t, 2, func() int { acquire(t, l, 1); acquire(t, l, 1); return 2 }())
		granted := make(chan error)
		go func() { _, _, err := l.Admit(context.Background()); granted <- err }()
		synctest.Wait()
		before, report := l.Snapshot(), l.Report()
		for want, change := range map[string]func() error{
			"rate NaN":                 func() error { return l.Reconfigure(math.NaN(), 2, ratelimit.MaxWait(time.Hour)) },
			"burst 0":                  func() error { return l.Reconfigure(5, 0) },
			"MaxWait 0s":               func() error { return l.Reconfigure(5, 5, ratelimit.MaxWait(0)) },
			"needs MaxWait":            func() error { return l.Reconfigure(5, 5, ratelimit.MaxWaiters(1)) },
			"option 1 is nil":          func() error { return l.Reconfigure(5, 5, nil) },
			"CostOf":                   func() error { return l.Reconfigure(5, 5, ratelimit.CostOf(nil)) },
			`Name "b": the limiter is`: func() error { return l.Reconfigure(5, 5, ratelimit.Name("b"), ratelimit.Shadow()) },
			`Name "": the limiter is`:  func() error { return l.Reconfigure(5, 5, ratelimit.Name("")) },
		} {
			err := change()
			require.ErrorContains(t, err, want)
			require.ErrorAs(t, err, new(*policy.ConfigError))
			require.Equal(t, before, l.Snapshot())
			require.Equal(t, report, l.Report())
		}
		require.NoError(t, <-granted)
		time.Sleep(2 * time.Second)
		require.True(t, l.Idle())
	})
}

// Data that is not given has its default, what is not data stays.
func TestReconfigureDefaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 4, ratelimit.Name("a"), ratelimit.MaxWait(time.Minute), ratelimit.CostOf(costMark), ratelimit.Shadow())
		require.NoError(t, l.Reconfigure(2, 3))
		require.Equal(t, `rate limit "a" 2/s burst 3`, l.String())
		require.False(t, l.Snapshot().Shadow)
		acquire(t, l, 3)
		_, _, err := l.Admit(t.Context())
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.Equal(t, "a", rejection(t, err).Name)
		require.Len(t, l.Report().Settings, 3, "New, Name, CostOf")

		require.NoError(t, l.Reconfigure(2, 3, ratelimit.Name("a"), ratelimit.MaxWait(time.Second), ratelimit.CostOf(func(context.Context) int { return 2 })))
		start := time.Now()
		require.True(t, admitted(t, l))
		require.Equal(t, time.Second, time.Since(start), "two tokens")
		require.False(t, l.Idle())
	})
}

// A limiter without a queue can get one, and one with a queue can lose it: its waiters are then refused.
func TestReconfigureTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(time.Second, 1)
		require.Equal(t, 1, drain(t, l))
		results := make(chan error, 4)
		ask := func(deadline time.Duration) {
			go func() {
				ctx, cancel := in(deadline)
				defer cancel()
				_, _, err := l.Admit(ctx)
				results <- err
			}()
			synctest.Wait()
		}
		require.NoError(t, l.Reconfigure(1, 1, ratelimit.MaxWait(time.Minute)))
		for _, deadline := range []time.Duration{time.Hour, 2500 * time.Millisecond, time.Hour, time.Hour} {
			ask(deadline)
		}
		require.Equal(t, 4, l.Snapshot().Waiting)
		require.NoError(t, l.Reconfigure(0.5, 1, ratelimit.MaxWait(time.Minute), ratelimit.MaxWaiters(2)))
		refused := errors.Join(<-results, <-results) // in any order
		require.ErrorIs(t, refused, ratelimit.ErrDeadline)
		require.ErrorIs(t, refused, ratelimit.ErrQueueFull)
		require.Equal(t, 2, l.Snapshot().Waiting)
		require.NoError(t, l.Reconfigure(0.5, 1, ratelimit.MaxWait(3*time.Second)))
		require.ErrorIs(t, <-results, ratelimit.ErrMaxWait, "its turn is in 4 s")
		require.NoError(t, l.Reconfigure(0.5, 1))
		err := <-results
		require.ErrorIs(t, err, ratelimit.ErrMaxWait)
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 2*time.Second, wait)
		require.Equal(t, ratelimit.Snapshot{PerSecond: 0.5, Burst: 1, Admitted: 1, Rejected: 5, PeakWaiting: 4}, l.Snapshot())
	})
}

// Without a limit no cost is too high, also for those that wait.
func TestReconfigureToNoLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(1, 10, ratelimit.MaxWait(time.Minute), ratelimit.CostOf(costMark))
		acquire(t, l, 10)
		admitted := make(chan error)
		go func() { _, _, err := l.Admit(costing(context.Background(), 8)); admitted <- err }()
		synctest.Wait()
		require.NoError(t, l.Reconfigure(math.Inf(1), 0, ratelimit.MaxWait(time.Minute)))
		require.NoError(t, <-admitted)
	})
}

// A change of another kind a hundred times a second, for ten seconds: no call fails because of it, and there are never
// more than the largest quota allows.
func TestReconfigureUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(100, 10, ratelimit.MaxWait(time.Minute))
		start := time.Now()
		var mu sync.Mutex
		var begun []time.Duration
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for time.Since(start) < 10*time.Second {
					permit, err := policy.Acquire(context.Background(), l)
					if err != nil {
						t.Error(err)
						return
					}
					permit.Done(nil)
					mu.Lock()
					begun = append(begun, time.Since(start))
					mu.Unlock()
				}
			})
		}
		for i := range 1000 {
			time.Sleep(10 * time.Millisecond)
			rate, burst := 50+float64(i%51), 1+i%10
			switch i % 3 {
			case 0:
				require.NoError(t, l.Reconfigure(rate, burst, ratelimit.MaxWait(time.Minute)))
			case 1:
				require.NoError(t, l.Reconfigure(rate, burst, ratelimit.MaxWait(time.Hour), ratelimit.MaxWaiters(20+i)))
			case 2:
				require.NoError(t, l.Reconfigure(rate, burst, ratelimit.MaxWait(time.Minute), ratelimit.CostOf(func(context.Context) int { return 1 })))
			}
		}
		workers.Wait()
		checkWindows(t.Fatalf, begun, 100, 10)
		require.Greater(t, len(begun), 500, "the smallest quota")
		require.Zero(t, l.Snapshot().Rejected)
	})
	// In real time, for the race detector: changes, modes and reports beside calls.
	l := ratelimit.New(1e6, 10, ratelimit.MaxWait(time.Minute), ratelimit.CostOf(costMark))
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 300 {
				if _, _, err := l.Admit(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 300 {
		require.NoError(t, l.Reconfigure(1e6, 1+i%10, ratelimit.MaxWait(time.Minute), ratelimit.CostOf(costMark)))
		_, _ = l.Report(), l.String()
	}
	workers.Wait()
}
