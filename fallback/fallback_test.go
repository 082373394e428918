package fallback_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/fallback"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errBackend = errors.New("backend failed")
	errCache   = errors.New("cache failed")
)

func answer(value int, err error) policy.Func[int] {
	return func(context.Context) (int, error) { return value, err }
}

func backend(layers ...policy.Layer) policy.Policy[int] {
	return resilience.For[int](resilience.Compose(layers...))
}

func TestValue(t *testing.T) {
	f := fallback.Value(backend(), 42)
	value, err := f.Do(t.Context(), answer(7, nil))
	require.NoError(t, err)
	require.Equal(t, 7, value)
	value, err = f.Do(t.Context(), answer(7, errBackend))
	require.NoError(t, err)
	require.Equal(t, 42, value)
	require.Equal(t, fallback.Snapshot{Answered: 1}, f.Snapshot())
}

func TestFault158_BothErrorsAreVisible(t *testing.T) {
	f := fallback.Func(backend(), func(context.Context, error) (int, error) { return -1, errCache })
	value, err := f.Do(t.Context(), answer(7, errBackend))
	require.Equal(t, -1, value)
	require.ErrorIs(t, err, errBackend)
	require.ErrorIs(t, err, errCache)
	require.EqualError(t, err, "backend failed; fallback: cache failed")
	both, ok := errors.AsType[*fallback.Error](err)
	require.True(t, ok)
	require.Equal(t, fallback.Error{Err: errBackend, Fallback: errCache}, *both)
	require.Equal(t, fallback.Snapshot{Failed: 1}, f.Snapshot())
}

func TestFault158_NotForTheCallersCancel(t *testing.T) {
	f := fallback.Func(backend(), func(context.Context, error) (int, error) { t.Error("ran"); return 0, nil })
	ctx, cancel := context.WithCancel(t.Context())
	value, err := f.Do(ctx, func(ctx context.Context) (int, error) {
		cancel()
		return 7, errors.New("canceling statement due to user request")
	})
	require.EqualError(t, err, "canceling statement due to user request")
	require.Equal(t, 7, value)
	_, err = f.Do(ctx, answer(7, nil)) // it had ended before
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, fallback.Snapshot{Skipped: 2}, f.Snapshot())

	// An operation that says so itself, or another context that was cancelled, is a failure like any other.
	value, err = fallback.Value(backend(), 42).Do(t.Context(), answer(0, context.Canceled))
	require.NoError(t, err)
	require.Equal(t, 42, value)
}

func TestTheCallersDeadlineAndTimeoutsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		for _, p := range []policy.Policy[int]{backend(), backend(timeout.Total(time.Millisecond))} {
			value, err := fallback.Value(p, 42).Do(ctx, wait)
			require.NoError(t, err)
			require.Equal(t, 42, value)
		}
	})
}

func TestFault158_ToldARejectionFromAFailure(t *testing.T) {
	b := breaker.New()
	f := fallback.Func(breaker.Policy[int]{Breaker: b}, func(_ context.Context, err error) (int, error) {
		if errors.Is(err, policy.ErrRejected) {
			return 1, nil
		}
		return 2, nil
	})
	value, err := f.Do(t.Context(), answer(0, errBackend))
	require.NoError(t, err)
	require.Equal(t, 2, value, "failed at the dependency")
	b.Trip()
	value, err = f.Do(t.Context(), answer(0, nil))
	require.NoError(t, err)
	require.Equal(t, 1, value, "refused here")
}

func TestIf(t *testing.T) {
	f := fallback.Value(backend(), 42, fallback.If(func(err error) bool { return errors.Is(err, errBackend) }))
	value, err := f.Do(t.Context(), answer(7, errBackend))
	require.NoError(t, err)
	require.Equal(t, 42, value)
	value, err = f.Do(t.Context(), answer(7, errCache))
	require.Equal(t, errCache, err, "passes unchanged")
	require.Equal(t, 7, value)
	require.Equal(t, fallback.Snapshot{Answered: 1, Skipped: 1}, f.Snapshot())
}

func TestLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fallback.LastGood(backend(), time.Minute)
		check := func(value int, err error, want int, errs ...error) {
			t.Helper()
			got, err := f.Do(t.Context(), answer(value, err))
			require.Equal(t, want, got)
			if len(errs) == 0 {
				require.NoError(t, err)
			}
			for _, target := range errs {
				require.ErrorIs(t, err, target)
			}
		}
		check(0, errBackend, 0, errBackend, fallback.ErrNoLastGood)
		check(1, nil, 1)
		check(2, nil, 2)
		time.Sleep(time.Minute)
		check(0, errBackend, 2)
		time.Sleep(1 * time.Nanosecond)
		check(0, errBackend, 0, errBackend, fallback.ErrNoLastGood)
		check(3, nil, 3)
		check(9, errBackend, 3)
		require.Equal(t, fallback.Snapshot{Answered: 2, Failed: 2}, f.Snapshot())
	})
}

func TestLastGoodLetsGoOfWhatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fallback.LastGood(resilience.For[*[]byte](resilience.Compose()), time.Minute)
		kept := &[]byte{1}
		_, err := f.Do(t.Context(), func(context.Context) (*[]byte, error) { return kept, nil })
		require.NoError(t, err)
		fail := func(context.Context) (*[]byte, error) { return nil, errBackend }
		got, err := f.Do(t.Context(), fail)
		require.NoError(t, err)
		require.Same(t, kept, got)
		time.Sleep(2 * time.Minute)
		got, err = f.Do(t.Context(), fail)
		require.ErrorIs(t, err, fallback.ErrNoLastGood)
		require.Nil(t, got)
	})
}

// TestFault273_TheNewerStartWins: a slow older call that ends after a newer one does not replace its result.
func TestFault273_TheNewerStartWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fallback.LastGood(backend(), time.Minute)
		slow := func(takes time.Duration, value int) {
			go func() {
				_, _ = f.Do(t.Context(), func(context.Context) (int, error) { time.Sleep(takes); return value, nil })
			}()
			synctest.Wait()
		}
		last := func() int {
			value, err := f.Do(t.Context(), answer(0, errBackend))
			require.NoError(t, err)
			return value
		}
		slow(30*time.Second, 1)
		slow(20*time.Second, 2)
		slow(10*time.Second, 3)
		for range 4 {
			time.Sleep(10*time.Second + 1)
			require.Equal(t, 3, last())
		}

		slow(2*time.Minute, 4)
		_, err := f.Do(t.Context(), answer(5, nil))
		require.NoError(t, err)
		time.Sleep(2*time.Minute + 1)
		require.Equal(t, 4, last(), "the newer one is too old")
	})
}

func TestLastGoodConcurrently(t *testing.T) {
	f := fallback.LastGood(backend(), time.Hour)
	_, err := f.Do(t.Context(), answer(1, nil))
	require.NoError(t, err)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := range 500 {
				var failure error
				if i%2 == 0 {
					failure = errBackend
				}
				if value, err := f.Do(t.Context(), answer(1+i%2, failure)); err != nil || value < 1 || value > 2 {
					t.Errorf("%v, %v", value, err)
				}
			}
		})
	}
	callers.Wait()
	require.EqualValues(t, 8*250, f.Snapshot().Answered)
}

func TestFault061_PanicInTheFallbackOrTheCall(t *testing.T) {
	b := breaker.New()
	f := fallback.Func(breaker.Policy[int]{Breaker: b}, func(context.Context, error) (int, error) { panic("in the fallback") })
	require.PanicsWithValue(t, "in the fallback", func() { _, _ = f.Do(t.Context(), answer(0, errBackend)) })
	require.PanicsWithValue(t, "in the call", func() {
		_, _ = f.Do(t.Context(), func(context.Context) (int, error) { panic("in the call") })
	})
	bad := fallback.Value(backend(), 1, fallback.If(func(error) bool { panic("in If") }))
	require.PanicsWithValue(t, "in If", func() { _, _ = bad.Do(t.Context(), answer(0, errBackend)) })
	require.Equal(t, fallback.Snapshot{}, f.Snapshot(), "and no lock is left held")
	value, err := f.Do(t.Context(), answer(7, nil))
	require.NoError(t, err)
	require.Equal(t, 7, value)

	exited := make(chan bool, 1)
	go func() {
		defer func() { exited <- recover() == nil }()
		_, _ = fallback.Value(backend(), 1).Do(t.Context(), func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		t.Error("Goexit was answered")
	}()
	require.True(t, <-exited)
}

func TestAFallbackAroundAFallback(t *testing.T) {
	inner := fallback.Func(backend(), func(context.Context, error) (int, error) { return 0, errCache })
	f := fallback.Value(inner, 42, fallback.Name("guest"))
	value, err := f.Do(t.Context(), answer(0, errBackend))
	require.NoError(t, err)
	require.Equal(t, 42, value)
	require.Equal(t, `fallback "guest" value > fallback function > empty pipeline`, f.String())
	aged := fallback.LastGood(retry.Policy[int]{Retrier: retry.New()}, time.Minute)
	require.Equal(t, "fallback last good of 1m0s", aged.String())
	around := fallback.Value(resilience.For[int](resilience.Compose(retry.New(), breaker.New(breaker.Name("db")))), 1)
	require.Equal(t, `fallback value > retry 3 > breaker "db"`, around.String())
	require.Equal(t, "fallback value > retry 3", fallback.Value(resilience.For[int](retry.New()), 1).String())
}

func TestFault173_182_Configuration(t *testing.T) {
	p := backend()
	function := func(context.Context, error) (int, error) { return 0, nil }
	for text, construct := range map[string]func(){
		"fallback.Value: the policy is nil":                       func() { fallback.Value(nil, 1) },
		"fallback.Func: the policy is nil; the function is nil":   func() { fallback.Func[int]((*fallback.Policy[int])(nil), nil) },
		"fallback.LastGood: the policy is nil":                    func() { fallback.LastGood[int](nil, time.Second) },
		"fallback.LastGood: maxAge 0s: must be positive":          func() { fallback.LastGood(p, 0) },
		"fallback.LastGood: maxAge -1ns: must be positive":        func() { fallback.LastGood(p, -1) },
		"fallback.Func: the function is nil":                      func() { fallback.Func(p, nil) },
		"fallback.Func: option 1 is nil; If: the function is nil": func() { fallback.Func(p, function, nil, fallback.If(nil)) },
		"fallback.Value: option 2 is nil":                         func() { fallback.Value(p, 1, fallback.Name("x"), nil) },
	} {
		require.PanicsWithError(t, text, construct)
	}
	require.EqualError(t, fallback.Validate(0, nil), "fallback.LastGood: option 1 is nil; maxAge 0s: must be positive")
	require.NoError(t, fallback.Validate(math.MaxInt64, fallback.Name("x")))
	_, err := fallback.LastGood(p, math.MaxInt64).Do(t.Context(), answer(1, nil))
	require.NoError(t, err)
	require.Panics(t, func() { _, _ = fallback.Value(p, 1).Do(t.Context(), nil) })
}

func TestASuccessAllocatesNothing(t *testing.T) {
	ctx, op := t.Context(), answer(1, nil)
	for _, f := range []*fallback.Policy[int]{
		fallback.Value(backend(), 1),
		fallback.Func(backend(), func(context.Context, error) (int, error) { return 0, nil }),
		fallback.LastGood(backend(), time.Minute),
	} {
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.Do(ctx, op) }), f.String())
	}
}

func BenchmarkSuccess(b *testing.B) {
	f := fallback.Value(backend(), 1)
	op := answer(1, nil)
	for b.Loop() {
		_, _ = f.Do(b.Context(), op)
	}
}

func BenchmarkLastGoodSuccess(b *testing.B) {
	f := fallback.LastGood(backend(), time.Minute)
	op := answer(1, nil)
	for b.Loop() {
		_, _ = f.Do(b.Context(), op)
	}
}
