package timeout_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFault146_CooperativeOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.PerAttempt(3 * time.Second)
		start := time.Now()
		_, err := resilience.Do(t.Context(), limit, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			if cause := context.Cause(ctx); cause != error(nil) {
				return 0, cause
			}
			return 0, nil
		})
		require.Equal(t, 3*time.Second, time.Since(start))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, policy.ErrRejected)
		require.EqualError(t, err, "attempt timeout 3s expired")
		var timed net.Error
		require.ErrorAs(t, err, &timed)
		require.True(t, timed.Timeout())
		require.EqualValues(t, 1, limit.Snapshot().Expired)
	})
}

func TestFault147_UncooperativeOperationIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := resilience.Do(t.Context(), timeout.Total(50*time.Millisecond), func(context.Context) (int, error) {
			time.Sleep(600 * time.Millisecond)
			return 0, fmt.Errorf("late")
		})
		require.Equal(t, 600*time.Millisecond, time.Since(start))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.EqualError(t, err, "total timeout 50ms expired: late")
	})
}

// The bubble would not end, or goleak would complain, if a timer or a child context were left behind.
func TestFault088_149_TheDerivedContextIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.PerAttempt(time.Hour)
		var seen []context.Context
		for _, end := range []func(){func() {}, func() { panic("boom") }} {
			func() {
				defer func() { _ = recover() }()
				_, _ = resilience.Do(t.Context(), limit, func(ctx context.Context) (int, error) {
					seen = append(seen, ctx)
					end()
					return 0, nil
				})
			}()
		}
		for _, ctx := range seen {
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			require.NotErrorIs(t, context.Cause(ctx), timeout.ErrTimeout)
		}
		time.Sleep(2 * time.Hour)
		require.Zero(t, limit.Snapshot().Expired)
	})
}

func TestASoonerDeadlineOfTheCallerDerivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, limit := range []time.Duration{time.Second, time.Hour} {
			_, err := resilience.Do(ctx, timeout.PerAttempt(limit), func(inner context.Context) (int, error) {
				require.Equal(t, ctx, inner)
				return 0, nil
			})
			require.NoError(t, err)
		}
		_, err := resilience.Do(ctx, timeout.PerAttempt(time.Millisecond), func(inner context.Context) (int, error) {
			require.NotEqual(t, ctx, inner)
			return 0, nil
		})
		require.NoError(t, err)
	})
	limit := timeout.PerAttempt(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	op := func(context.Context) (int, error) { return 0, nil }
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, limit, op) }))
}

// expired has a deadline in the past, but its Done is still open: the timer has not run yet.
type expired struct{ context.Context }

func (expired) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func TestFault090_DeadlinePassedDoneNotYetClosed(t *testing.T) {
	_, err := resilience.Do(expired{t.Context()}, timeout.PerAttempt(time.Hour), func(context.Context) (int, error) {
		t.Error("entered")
		return 0, nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, timeout.ErrTimeout)
}

func TestFault151_Configuration(t *testing.T) {
	for _, limit := range []time.Duration{0, -1, math.MinInt64} {
		require.Error(t, timeout.Validate(limit))
		require.PanicsWithError(t, fmt.Sprintf("timeout.Total: limit %v: must be positive", limit), func() { timeout.Total(limit) })
		require.PanicsWithError(t, fmt.Sprintf("timeout.PerAttempt: limit %v: must be positive", limit), func() { timeout.PerAttempt(limit) })
	}
	require.NoError(t, timeout.Validate(1))
	huge := timeout.Total(math.MaxInt64)
	value, err := timeout.Policy[int]{Timeout: huge}.Do(t.Context(), func(ctx context.Context) (int, error) { return 7, ctx.Err() })
	require.NoError(t, err)
	require.Equal(t, 7, value)
	require.Equal(t, time.Duration(math.MaxInt64), huge.TimeLimit())
}

func TestNamesAndStages(t *testing.T) {
	total, attempt := timeout.Total(2*time.Second), timeout.PerAttempt(300*time.Millisecond)
	require.Equal(t, "total timeout 2s > attempt timeout 300ms", resilience.Compose(attempt, total).String())
	require.Equal(t, policy.StageTotalTimeout, total.Stage())
	require.Equal(t, policy.StageAttemptTimeout, attempt.Stage())
	require.NoError(t, resilience.Validate(timeout.Total(time.Hour), total, attempt))
	require.ErrorContains(t, resilience.Validate(total, timeout.PerAttempt(2*time.Second)), "must be below the total timeout 2s around it")
}
