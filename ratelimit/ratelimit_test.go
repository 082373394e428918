package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
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

// A registry may forget a limiter only when a new one would be the same.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for name, change := range map[string]func(*ratelimit.Limiter) error{
			"rate":  func(l *ratelimit.Limiter) error { return setRate(l, 1) },
			"burst": func(l *ratelimit.Limiter) error { return setBurst(l, 2) },
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
		for name, change := range map[string]func(*ratelimit.Limiter){
			"shadow":  (*ratelimit.Limiter).Shadow,
			"enforce": (*ratelimit.Limiter).Enforce,
		} {
			l := ratelimit.New(1, 2)
			change(l)
			require.False(t, l.Idle(), name)
		}
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
	for n := 0; n < 30_000 && runtime.NumGoroutine() > before; n++ {
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

func TestFault268_TheZeroValueNamesItsConstructor(t *testing.T) {
	var l ratelimit.Limiter
	for name, use := range map[string]func(){
		"Admit":       func() { _, _, _ = l.Admit(t.Context()) },
		"Settle":      func() { l.Settle(t.Context(), policy.Ticket{}, policy.Outcome{}) },
		"Reconfigure": func() { _ = l.Reconfigure(1, 1) },
		"Shadow":      l.Shadow,
		"Enforce":     l.Enforce,
		"Snapshot":    func() { l.Snapshot() },
		"Report":      func() { l.Report() },
		"Idle":        func() { l.Idle() },
		"String":      func() { _ = l.String() },
		"Do":          func() { _, _ = ratelimit.Policy[struct{}]{Limiter: &l}.Do(t.Context(), nothing) },
	} {
		require.PanicsWithValue(t, "ratelimit: a Limiter must be made with New", use, name)
	}
}
