package policyredis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
)

// An hour between tokens: nothing comes in while a test runs.
const hourly = 1.0 / 3600

func TestGuardKeepsTheContract(t *testing.T) {
	key := func(context.Context) string { return "contract" }
	// What comes back at the same time is less by a few nanoseconds for each: three attempts cost less than all there is.
	cost := policyredis.CostOf(func(context.Context) int { return 16 })
	newLimiter := func(options ...policyredis.Option) func() policy.Guard {
		return func() policy.Guard {
			return policyredis.New(fake(scriptInGo()), "contract", hourly, 50, append(options, cost)...)
		}
	}
	newDown := func(options ...policyredis.Option) func() policy.Guard {
		return func() policy.Guard {
			return policyredis.New(answers(nil, errDown), "contract", hourly, 50, append(options, cost)...)
		}
	}
	newPerKey := func(options ...policyredis.Option) func() policy.Guard {
		return func() policy.Guard {
			return policyredis.NewPerKey(fake(scriptInGo()), hourly, 50, key, append(options, cost)...)
		}
	}
	for name, newGuard := range map[string]func() policy.Guard{
		"one key": newLimiter(),
		"trusted": newLimiter(policyredis.TrustClient()),
		"per key": newPerKey(),
		"shadow":  newPerKey(policyredis.Shadow()),
		"open":    newDown(policyredis.FailOpen()),
		"local":   newDown(),
	} {
		t.Run(name, func(t *testing.T) { policytest.Guard(t, newGuard) })
	}
}

func TestR7_PeekWritesNothing(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "peek", 10, 2, patient())
	full, err := l.Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, policyredis.Level{Tokens: 2, Burst: 2}, full)
	require.Empty(t, v.Keys(), "nothing was written")

	require.Equal(t, 2, admitted(l, 3))
	before := v.Dump()
	empty, err := l.Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, policyredis.Level{Burst: 2, Wait: 100 * time.Millisecond, Full: 200 * time.Millisecond}, empty)
	require.Equal(t, before, v.Dump())
	v.advance(100 * time.Millisecond)
	some, err := l.Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, policyredis.Level{Tokens: 1, Burst: 2, Full: 100 * time.Millisecond}, some)
}

func TestPeekNeverGuesses(t *testing.T) {
	l := policyredis.New(answers(nil, errDown), "peek", 10, 2, policyredis.FailOpen(), patient())
	for range 5 {
		_, err := l.Peek(t.Context())
		require.ErrorIs(t, err, policyredis.ErrStore)
		require.ErrorContains(t, err, "policyredis: the store does not answer: ")
		if l.Snapshot().Mode == policyredis.Shared {
			require.ErrorIs(t, err, errDown)
		}
	}
	_, err := l.Peek(t.Context()) // the breaker is open
	_, ok := policy.RetryAfter(err)
	require.True(t, ok, err)
}

func TestR8_UR6_ACostAboveTheBurstIsNeverAdmitted(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "dear", 10, 3, patient(), costing())
	for _, cost := range []int{4, -1, 1 << 30} {
		err := attemptIn(withCost(cost), l)
		require.ErrorIs(t, err, ratelimit.ErrCost)
		_, known := policy.RetryAfter(err)
		require.False(t, known, "there is no time to come back")
	}
	require.Empty(t, v.Keys(), "nothing was taken")
	s := l.Snapshot()
	require.Zero(t, s.Calls, "the store was not asked")
	require.Zero(t, s.Errors)
	require.Equal(t, policyredis.Shared, s.Mode)
	require.NoError(t, attemptIn(withCost(3), l))
	require.NoError(t, attemptIn(withCost(0), l), "a cost of 0 takes nothing")
	require.EqualValues(t, 1, l.Snapshot().Calls)
}

// until returns how long from the server's now on the rejection says to wait: the moment is reckoned from when the answer came.
func waitOf(t *testing.T, err error) time.Duration {
	t.Helper()
	require.ErrorIs(t, err, ratelimit.ErrLimited)
	wait, known := policy.RetryAfter(err)
	require.True(t, known)
	return wait
}

func TestR9_RetryAfterIsExact(t *testing.T) {
	v := newVirtual(t)
	// 3 per second: 333,333,334 ns for a token, which the server's clock reaches with its next microsecond.
	l := policyredis.New(v.client, "exact", 3, 2, patient())
	require.Equal(t, 2, admitted(l, 2))
	v.advance(100 * time.Millisecond)
	asked := time.Now()
	wait := waitOf(t, attempt(l))
	require.LessOrEqual(t, wait, 233_333_334*time.Nanosecond)
	require.GreaterOrEqual(t, wait+time.Since(asked), 233_333_334*time.Nanosecond)
	level, err := l.Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, 233_333_334*time.Nanosecond, level.Wait)

	v.advance(level.Wait.Truncate(time.Microsecond))
	require.ErrorIs(t, attempt(l), ratelimit.ErrLimited, "refused before it")
	v.advance(time.Microsecond)
	require.NoError(t, attempt(l), "admitted at it")
}

// UR1: what is below a second is exact.
func TestUR1_TimesBelowASecondAreExact(t *testing.T) {
	for _, perSecond := range []float64{1, 3, 7, 1000, 30_000, 999_999, 1e6, 1.0 / 60, 100.0 / 60} {
		v := newVirtual(t)
		l := policyredis.New(v.client, "exact", perSecond, 1, patient())
		require.NoError(t, attempt(l))
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		period := float64(time.Second) / perSecond
		require.InDelta(t, period, float64(level.Wait), 1, "%v per second", perSecond)
		require.GreaterOrEqual(t, float64(level.Wait), period*(1-1e-12), "never faster")
	}
}

func TestUR7_AllAtOnceOnANewKey(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	const burst = 20
	l := drained(t, policyredis.New(client, "new", hourly, burst, patient()))
	var yes atomic.Int64
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if attempt(l) == nil {
				yes.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, burst, yes.Load())
	require.EqualValues(t, 200, l.Snapshot().Calls, "one call for each attempt")
	require.Zero(t, l.Snapshot().Errors)
}

// The store never changes the result of an operation, and hears nothing after it.
func TestFault212_TheStoreFailsAfterTheOperation(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := drained(t, policyredis.New(newClient(t, s.addr()), "after", hourly, 5, patient()))
	done, err := resilience.Do(t.Context(), resilience.Compose(l), func(context.Context) (string, error) {
		s.kill() // while the operation runs
		return "done", nil
	})
	require.NoError(t, err)
	require.Equal(t, "done", done)
	require.EqualValues(t, 1, l.Snapshot().Calls)
	require.Zero(t, l.Snapshot().Errors)
}

func TestFault212_StoreErrorsGoToTheHook(t *testing.T) {
	var heard []error
	l := policyredis.New(answers(nil, errDown), "hook", 10, 5, patient(), policyredis.OnError(func(err error) {
		heard = append(heard, err)
		panic("a hook that panics harms nobody")
	}))
	require.Equal(t, 5, admitted(l, 6), "the local share decides")
	require.Len(t, heard, 3, "then the breaker is open")
	require.ErrorIs(t, heard[0], errDown)
}

func TestFault222_ParallelOperationsStayParallel(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	l := drained(t, policyredis.New(client, "parallel", 1000, 1000, patient()))
	pipeline := resilience.Compose(l)
	var inside sync.WaitGroup
	inside.Add(16)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			err := pipeline.Run(t.Context(), func(context.Context) error {
				inside.Done()
				inside.Wait() // for all the others to be inside as well
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestFault223_APanicKeepsWhatWasTaken(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "panic", hourly, 1, patient())
	require.PanicsWithValue(t, "boom", func() {
		_ = resilience.Compose(l).Run(t.Context(), func(context.Context) error { panic("boom") })
	})
	require.ErrorIs(t, attempt(l), ratelimit.ErrLimited, "the token is spent, in Redis")
	another := policyredis.New(newClient(t, v.Addr()), "panic", hourly, 1, patient())
	require.ErrorIs(t, attempt(another), ratelimit.ErrLimited, "for everybody")
}

func TestFault224_NoUpdateIsLost(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const processes, goroutines, each = 2, 8, 50
	var group sync.WaitGroup
	for range processes {
		l := drained(t, policyredis.New(newClient(t, s.addr()), "sums", hourly, 1000, patient()))
		for range goroutines {
			group.Go(func() {
				for range each {
					if err := attempt(l); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	level, err := policyredis.New(newClient(t, s.addr()), "sums", hourly, 1000, patient()).Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1000-processes*goroutines*each, level.Tokens)
}

// Nobody who comes new makes the bucket full again.
func TestFault225_ANewProcessBeginsWithWhatIsLeft(t *testing.T) {
	v := newVirtual(t)
	require.Equal(t, 3, admitted(policyredis.New(v.client, "left", hourly, 5, patient()), 3))
	require.Equal(t, 2, admitted(policyredis.New(newClient(t, v.Addr()), "left", hourly, 5, patient()), 5))
}

// What was taken for an attempt that a layer inside refuses goes back, and is worth what it would be had it never been taken.
func TestTokensOfAttemptsThatAreNotMadeGoBack(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "back", hourly, 2, patient())
	slots := bulkhead.New(1)
	pipeline := resilience.Compose(l, slots)
	held, err := policy.Acquire(t.Context(), slots)
	require.NoError(t, err)
	for range 10 {
		require.ErrorIs(t, pipeline.Run(t.Context(), func(context.Context) error { return nil }), bulkhead.ErrFull)
	}
	held.Done(nil)
	run := func() error { return pipeline.Run(t.Context(), func(context.Context) error { return nil }) }
	require.NoError(t, run())
	v.advance(time.Second) // what little a token lost while it was held has come in again
	require.NoError(t, run(), "10 refusals inside have cost nothing")
	require.ErrorIs(t, run(), ratelimit.ErrLimited)
	s := l.Snapshot()
	require.EqualValues(t, 10, s.Returned)
	require.EqualValues(t, 12, s.Admitted)
	require.EqualValues(t, 1, s.Rejected)
}

func TestAnEndedContextTakesNothing(t *testing.T) {
	v := newVirtual(t)
	cause := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	for _, options := range [][]policyredis.Option{nil, {policyredis.TrustClient()}, {policyredis.FailOpen()}} {
		l := policyredis.New(v.client, "ended", hourly, 2, append(options, patient())...)
		require.ErrorIs(t, attemptIn(ctx, l), cause)
		_, _, err := l.Admit(ctx)
		require.ErrorIs(t, err, cause, "also when nobody has looked before")
		_, err = l.Peek(ctx)
		require.ErrorIs(t, err, cause)
		require.Empty(t, v.Keys())
		require.Zero(t, l.Snapshot().Calls)
		require.Zero(t, l.Snapshot().Admitted)
	}
}

func TestShadowRefusesNothing(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "shadow", hourly, 2, patient(), policyredis.Shadow())
	require.Equal(t, 5, admitted(l, 5))
	s := l.Snapshot()
	require.EqualValues(t, 2, s.Admitted)
	require.EqualValues(t, 3, s.ShadowRejected)
	require.Zero(t, s.Rejected)
	require.True(t, l.Report().Shadow)
	l.Enforce()
	require.ErrorIs(t, attempt(l), ratelimit.ErrLimited)
	l.Shadow()
	require.NoError(t, attempt(l))
	require.False(t, l.Idle(), "changed by hand")
}

func TestReconfigure(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "live", hourly, 2, patient(), policyredis.Name("live"))
	require.Equal(t, 2, admitted(l, 3))
	require.ErrorContains(t, l.Reconfigure(hourly, 0), "burst 0")
	require.ErrorContains(t, l.Reconfigure(hourly, 3, policyredis.Name("other")), "cannot be changed")
	require.ErrorContains(t, l.Reconfigure(hourly, 3, policyredis.Prefix("other")), "cannot be changed")
	require.ErrorIs(t, attempt(l), ratelimit.ErrLimited, "nothing has changed")
	require.NoError(t, l.Reconfigure(hourly, 3, patient()))
	require.Equal(t, 1, admitted(l, 3), "what was taken stays taken")
	require.Equal(t, `rate limit "live" 1 per 1h0m0s burst 3 in redis ratelimit:{live}`, l.String())
	require.NoError(t, l.Reconfigure(1000, 3, patient()))
	require.Contains(t, l.String(), "1000/s")
}

// Redis holds times, not tokens: a burst taken at the old rate is paid for at the old rate, or the key is deleted.
func TestReconfigureToAFasterRate(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "faster", 100.0/3600, 100, patient())
	require.Equal(t, 100, admitted(l, 101))
	require.NoError(t, l.Reconfigure(1000.0/3600, 100, patient()))
	level, err := l.Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, policyredis.Level{Burst: 100, Wait: 54*time.Minute + 3600*time.Millisecond, Full: time.Hour}, level)
	require.True(t, v.Del("ratelimit:{faster}"))
	require.Equal(t, 100, admitted(l, 101))
	require.EqualValues(t, 1, l.Snapshot().Forgotten)
}

// What was taken at one rate, and went back or was not used, is worth no more than a burst at another.
func TestReconfigureMintsNothing(t *testing.T) {
	for name, option := range map[string]policyredis.Option{"one by one": patient(), "lots": policyredis.Lots(3, time.Minute)} {
		for _, returned := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d", name, returned), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := policyredis.New(fake(scriptInGo()), "live", hourly, 3, option)
					var permits []*policy.Permit
					for range returned {
						permit, err := policy.Acquire(t.Context(), l)
						require.NoError(t, err)
						permits = append(permits, permit)
					}
					for _, permit := range permits {
						permit.Settle(policy.Outcome{Kind: policy.NotCalled})
					}
					require.NoError(t, l.Reconfigure(1000, 3, option))
					require.LessOrEqual(t, admitted(l, 10_000), 3)
					time.Sleep(24 * time.Hour)
					require.GreaterOrEqual(t, admitted(l, 10_000), 3)
					require.NoError(t, l.Drain(t.Context()))
				})
			})
		}
	}
}

func TestKeysOfAnyLength(t *testing.T) {
	v := newVirtual(t)
	long := string(make([]byte, 5000))
	require.NoError(t, attempt(policyredis.New(v.client, long, hourly, 1, patient())))
	require.ErrorIs(t, attempt(policyredis.New(v.client, long, hourly, 1, patient())), ratelimit.ErrLimited)
	require.NoError(t, attempt(policyredis.New(v.client, long+"x", hourly, 1, patient())), "another key")
	for _, key := range v.Keys() {
		require.LessOrEqual(t, len(key), 150)
	}
}

func TestZeroValuesPanic(t *testing.T) {
	require.PanicsWithValue(t, "policyredis: make it with policyredis.New", func() { new(policyredis.Limiter).Snapshot() })
	require.PanicsWithValue(t, "policyredis: make it with policyredis.NewPerKey", func() { new(policyredis.PerKey).Snapshot() })
}

// Of changes at the same time one comes last: it keeps the functions of the other.
func TestReconfigureAtTheSameTime(t *testing.T) {
	for range testsize.Pick(2000, 20_000) {
		l := policyredis.New(answers(nil, errDown), "live", hourly, 1, patient())
		told := 0
		change := func(options ...policyredis.Option) {
			if err := l.Reconfigure(hourly, 1, append(options, patient())...); err != nil {
				t.Error(err)
			}
		}
		var group sync.WaitGroup
		group.Go(func() { change(policyredis.OnError(func(error) { told++ })) })
		group.Go(func() { change() })
		group.Wait()
		_ = attempt(l)
		require.Equal(t, 1, told)
	}
}

// What an attempt was charged for its process's share goes back as what it was, not as a part of another share.
func TestReconfigureOfTheShareMintsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server downing
		l := policyredis.New(server.client(), "share", hourly, 20)
		permit, err := policy.Acquire(t.Context(), l)
		require.NoError(t, err)
		require.Equal(t, 19, admitted(l, 19))
		require.NoError(t, l.Reconfigure(hourly, 20, policyredis.FailLocal(10)))
		permit.Settle(policy.Outcome{Kind: policy.NotCalled})
		server.down = true
		require.Zero(t, admitted(l, 5), "it has had 19, and its share is 2")
	})
}
