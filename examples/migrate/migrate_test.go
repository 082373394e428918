package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	backoff4 "github.com/cenkalti/backoff/v4"
	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The mark of backoff v5 is a type of its own, and this library does not know it.
func TestPermanent(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"ours":       {retry.Permanent(errDown), 1},
		"backoff v4": {backoff4.Permanent(errDown), 1},
		"backoff v5": {backoff.Permanent(errDown), 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			call, calls := policytest.Script(User{}, c.err, c.err, c.err)
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New()), call)
			require.ErrorIs(t, err, errDown)
			require.Equal(t, c.want, calls(), name)
		})
	}
}

// backoff runs the operation at least once, even if the context has ended.
func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	call, calls := policytest.Script(User{Name: "Ada"})
	_, err := backoff.Retry(ctx, func() (User, error) { return call(ctx) })
	require.NoError(t, err)
	require.Equal(t, 1, calls())

	call, calls = policytest.Script(User{Name: "Ada"})
	_, err = resilience.Do(ctx, resilience.Compose(retry.New()), call)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, calls())
}

// gobreaker counts a cancelled call as a failure unless it is told otherwise.
func TestCancellation(t *testing.T) {
	leaves := func() (context.Context, func() (User, error)) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		return ctx, func() (User, error) { cancel(); return User{}, ctx.Err() }
	}
	_, op := leaves()
	theirs := gobreaker.NewCircuitBreaker[User](gobreaker.Settings{})
	_, _ = theirs.Execute(op)
	require.EqualValues(t, 1, theirs.Counts().TotalFailures)

	ctx, op := leaves()
	ours := breaker.New()
	_, _ = resilience.Do(ctx, ours, func(context.Context) (User, error) { return op() })
	require.Zero(t, ours.Snapshot().Failures)
	require.EqualValues(t, 1, ours.Snapshot().Neutral)
}

// gobreaker opens at the sixth failure in a row by default, this library at the fifth.
func TestDefaultThreshold(t *testing.T) {
	theirs, ours := gobreaker.NewCircuitBreaker[User](gobreaker.Settings{}), breaker.New()
	for range 5 {
		_, _ = theirs.Execute(func() (User, error) { return User{}, errDown })
		_, _ = resilience.Do(t.Context(), ours, func(context.Context) (User, error) { return User{}, errDown })
	}
	require.Equal(t, gobreaker.StateClosed, theirs.State())
	require.Equal(t, breaker.Open, ours.State())
}

// gobreaker changes its state, and says so, when it is looked at. Here State only tells; the change comes with the attempt.
func TestChangeToHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirChanges, ourChanges := 0, 0
		theirs := gobreaker.NewCircuitBreaker[User](gobreaker.Settings{
			Timeout: 5 * time.Second, OnStateChange: func(string, gobreaker.State, gobreaker.State) { theirChanges++ },
			ReadyToTrip: func(gobreaker.Counts) bool { return true },
		})
		ours := breaker.New(breaker.ConsecutiveFailures(1), breaker.Jitter(0), breaker.OnChange(func(breaker.Change) { ourChanges++ }))
		_, _ = theirs.Execute(func() (User, error) { return User{}, errDown })
		_, _ = resilience.Do(t.Context(), ours, func(context.Context) (User, error) { return User{}, errDown })
		time.Sleep(6 * time.Second)
		require.Equal(t, gobreaker.StateHalfOpen, theirs.State())
		require.Equal(t, breaker.HalfOpen, ours.State())
		require.Equal(t, 2, theirChanges)
		require.Equal(t, 1, ourChanges)
		_, _ = resilience.Do(t.Context(), ours, func(context.Context) (User, error) { return User{}, nil })
		require.Equal(t, 3, ourChanges, "half-open, and closed")
	})
}

// gobreaker counts a call in the bucket in which it began, so one that took longer than the window is not counted. Here a call
// counts when it ends.
func TestLongCallInARollingWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := func() (User, error) { time.Sleep(15 * time.Second); return User{}, errDown }
		theirs := gobreaker.NewCircuitBreaker[User](gobreaker.Settings{
			Interval: 10 * time.Second, BucketPeriod: time.Second,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures >= 1 },
		})
		_, _ = theirs.Execute(long)
		require.Equal(t, gobreaker.StateClosed, theirs.State())

		ours := breaker.New(breaker.FailureCount(1))
		_, _ = resilience.Do(t.Context(), ours, func(context.Context) (User, error) { return long() })
		require.Equal(t, breaker.Open, ours.State())
	})
}

// Without an Interval gobreaker never forgets while it is closed. A rate here has a window; TripWhen on Current has none.
func TestNoInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := gobreaker.NewCircuitBreaker[User](gobreaker.Settings{
			ReadyToTrip: func(c gobreaker.Counts) bool {
				return c.Requests >= 3 && float64(c.TotalFailures) >= 0.6*float64(c.Requests)
			},
		})
		rate := breaker.New(breaker.FailureRate(0.6, 3))
		exact := breaker.New(breaker.TripWhen(func(s breaker.Snapshot) bool {
			return s.Current.Requests >= 3 && float64(s.Current.Failures) >= 0.6*float64(s.Current.Requests)
		}))
		for range 3 {
			_, _ = theirs.Execute(func() (User, error) { return User{}, errDown })
			for _, ours := range []*breaker.Breaker{rate, exact} {
				_, _ = resilience.Do(t.Context(), ours, func(context.Context) (User, error) { return User{}, errDown })
			}
			time.Sleep(15 * time.Second)
		}
		require.Equal(t, gobreaker.StateOpen, theirs.State())
		require.Equal(t, breaker.Closed, rate.State())
		require.EqualValues(t, 1, exact.Snapshot().Changes)
	})
}

// A retrier around gobreaker sleeps although the circuit is open; a pipeline does not.
func TestRetriesAroundAnOpenCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(context.Context) (User, error) { return User{}, errDown }
		_, err := breakerBefore(t.Context(), fails)
		require.Error(t, err)
		_, err = breakerAfter(t.Context(), fails)
		require.ErrorIs(t, err, errDown)

		began := time.Now()
		_, err = breakerBefore(t.Context(), fails)
		require.ErrorIs(t, err, gobreaker.ErrOpenState)
		require.Greater(t, time.Since(began), 100*time.Millisecond)
		began = time.Now()
		_, err = breakerAfter(t.Context(), fails)
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.Zero(t, time.Since(began))
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := send(limitsBefore())
		require.Equal(t, 40, waits.served)
		bounded := send(limitsAfter())
		require.Positive(t, bounded.refused)
		require.Less(t, bounded.longest, waits.longest/2)
	})
}

// An error of x/time/rate is text: it matches nothing.
func TestErrorOfTheLimiter(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	limiter := rate.NewLimiter(rate.Every(time.Hour), 1)
	require.NoError(t, limiter.Wait(ctx))
	err := limiter.Wait(ctx)
	require.Error(t, err)
	require.False(t, errors.Is(err, context.DeadlineExceeded))
}
