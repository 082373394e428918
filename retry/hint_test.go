package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// hint is an error with a server's answer when to come back.
type hint time.Duration

func (hint) Error() string                       { return "busy" }
func (h hint) RetryAfter() (time.Duration, bool) { return time.Duration(h), true }

func TestFault111_194_ServerHint(t *testing.T) {
	for name, test := range map[string]struct {
		hint     error
		deadline time.Duration // 0: none
		opts     []retry.Option
		want     time.Duration // of the wait
		reason   error         // nil: it succeeds after the wait
	}{
		"raises the delay":            {hint: hint(5 * time.Second), want: 5 * time.Second},
		"never lowers it":             {hint: hint(time.Millisecond), want: 100 * time.Millisecond},
		"negative":                    {hint: hint(-time.Hour), want: 100 * time.Millisecond},
		"smallest":                    {hint: hint(math.MinInt64), want: 100 * time.Millisecond},
		"zero does not hammer":        {hint: hint(0), want: 100 * time.Millisecond},
		"deep in the tree":            {hint: fmt.Errorf("a: %w", errors.Join(errBackend, fmt.Errorf("b: %w", hint(2*time.Second)))), want: 2 * time.Second},
		"at the cap":                  {hint: hint(30 * time.Second), want: 30 * time.Second},
		"beyond the cap":              {hint: hint(30*time.Second + 1), reason: retry.ErrRetryAfter},
		"huge":                        {hint: hint(math.MaxInt64), reason: retry.ErrRetryAfter},
		"another cap":                 {hint: hint(time.Hour), opts: []retry.Option{retry.MaxRetryAfter(time.Hour)}, want: time.Hour},
		"just within the deadline":    {hint: hint(2 * time.Second), deadline: 2*time.Second + 1, want: 2 * time.Second},
		"beyond the deadline":         {hint: hint(2 * time.Second), deadline: 2 * time.Second, reason: retry.ErrDeadline},
		"huge, with a deadline":       {hint: hint(math.MaxInt64), opts: []retry.Option{retry.MaxRetryAfter(math.MaxInt64)}, deadline: time.Second, reason: retry.ErrDeadline},
		"above the cap of the delays": {hint: hint(20 * time.Second), opts: []retry.Option{retry.Exponential(100*time.Millisecond, time.Second)}, want: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				start := time.Now()
				op := fails(test.hint)
				_, err := resilience.Do(ctx, retry.New(append(test.opts, retry.NoJitter())...), op.do)
				require.Equal(t, test.want, time.Since(start))
				if test.reason == nil {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, test.reason)
				require.ErrorIs(t, err, test.hint)
				require.Equal(t, 1, op.entered)
				asked, _ := policy.RetryAfter(test.hint)
				visible, ok := policy.RetryAfter(err)
				require.True(t, ok)
				require.Equal(t, asked, visible, "the hint is visible in the error")
			})
		})
	}
}

// TestFault111_HintsAreSpreadUpwards lets many clients be asked to wait at the same time: none comes back earlier, and
// they do not come back together. The deadline still counts.
func TestFault111_HintsAreSpreadUpwards(t *testing.T) {
	const asked, n = 20 * time.Second, 1000
	waits := func(t *testing.T, deadline time.Duration, opts ...retry.Option) (least, most time.Duration) {
		least = math.MaxInt64
		again := retry.New(append(opts, retry.Constant(0), retry.NoBudget())...)
		for range n {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			start := time.Now()
			_, err := resilience.Do(ctx, again, fails(hint(asked)).do)
			cancel()
			require.NoError(t, err)
			least, most = min(least, time.Since(start)), max(most, time.Since(start))
		}
		return least, most
	}
	synctest.Test(t, func(t *testing.T) {
		least, most := waits(t, time.Hour)
		require.GreaterOrEqual(t, least, asked)
		require.LessOrEqual(t, most, asked+asked/10)
		// That all of 1000 miss a fifth of the range has a probability of 0.8^1000.
		require.Less(t, least, asked+asked/50)
		require.Greater(t, most, asked+asked/10-asked/50)

		least, most = waits(t, asked+time.Second)
		require.GreaterOrEqual(t, least, asked)
		require.Less(t, most, asked+time.Second, "the deadline")

		least, most = waits(t, asked+1)
		require.Equal(t, asked, least)
		require.Equal(t, asked, most)

		least, most = waits(t, time.Hour, retry.NoJitter())
		require.Equal(t, asked, least)
		require.Equal(t, asked, most)
	})
}

func TestFault109_HugeDelaysDoNotFitADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, delay := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2} {
			again := retry.New(retry.Constant(delay), retry.NoJitter())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			err := resilience.Compose(again).Run(ctx, func(context.Context) error { time.Sleep(time.Millisecond); return errBackend })
			cancel()
			require.ErrorIs(t, err, retry.ErrDeadline)
			require.Equal(t, time.Millisecond, time.Since(start))
		}
	})
}

func TestFault114_NotIdempotent(t *testing.T) {
	timeout := fmt.Errorf("read: %w", context.DeadlineExceeded)
	for name, test := range map[string]struct {
		mark    func(context.Context) context.Context
		err     error
		entered int
	}{
		"unmarked":                    {func(ctx context.Context) context.Context { return ctx }, timeout, 2},
		"idempotent":                  {retry.Idempotent, timeout, 2},
		"ambiguous":                   {retry.NotIdempotent, timeout, 1},
		"never sent":                  {retry.NotIdempotent, fmt.Errorf("dial: %w", retry.NotSent(errBackend)), 2},
		"never sent, says another":    {retry.NotIdempotent, fmt.Errorf("dial: %w", refusedConnection{true}), 2},
		"another says it was sent":    {retry.NotIdempotent, refusedConnection{false}, 1},
		"one of two was never sent":   {retry.NotIdempotent, errors.Join(retry.NotSent(errBackend), timeout), 1},
		"taken back":                  {func(ctx context.Context) context.Context { return retry.Idempotent(retry.NotIdempotent(ctx)) }, timeout, 2},
		"marked again":                {func(ctx context.Context) context.Context { return retry.NotIdempotent(retry.Idempotent(ctx)) }, timeout, 1},
		"one whose method panics":     {retry.NotIdempotent, brokenError{}, 1},
		"a permanent one, not sent":   {retry.NotIdempotent, retry.Permanent(retry.NotSent(errBackend)), 1},
		"a rejection by a call of it": {retry.NotIdempotent, &policy.Rejection{Kind: "bulkhead", Reason: errFull}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			op := fails(test.err)
			_, err := resilience.Do(test.mark(t.Context()), retry.New(retry.Constant(0), retry.RetryRejections(errFull)), op.do)
			require.Equal(t, test.entered, op.entered)
			if test.entered == 1 {
				require.Equal(t, test.err, err, "the bare error")
			} else {
				require.NoError(t, err)
			}
		})
	}
	t.Run("an attempt that was refused did nothing", func(t *testing.T) {
		guard := &full{}
		again := retry.New(retry.Constant(0), retry.RetryRejections(errFull))
		_, err := resilience.Do(retry.NotIdempotent(t.Context()), resilience.Compose(again, guard), fails().do)
		require.ErrorIs(t, err, errFull)
		require.Equal(t, 3, guard.refusals)
	})
	require.NoError(t, retry.NotSent(nil))
	require.EqualError(t, retry.NotSent(errBackend), errBackend.Error())
	require.ErrorIs(t, retry.NotSent(errBackend), errBackend)
}

type refusedConnection struct{ notSent bool }

func (refusedConnection) Error() string   { return "connection refused" }
func (r refusedConnection) NotSent() bool { return r.notSent }

// brokenError has a method that panics when it is asked.
type brokenError struct{}

func (brokenError) Error() string { return "broken" }
func (brokenError) NotSent() bool { panic("broken") }

// pushback is a hint that takes the place of the delay.
type pushback struct{ hint }

func (pushback) Pushback() bool { return true }

func TestAPushbackIsTheDelayAndDelaysBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := retry.New(retry.Attempts(7), retry.NoJitter(), retry.NoBudget())
		errs := []error{errBackend, errBackend, pushback{hint(70 * time.Millisecond)}, pushback{hint(0)}, errBackend, errBackend}
		var starts []time.Duration
		start := time.Now()
		err := resilience.Compose(again).Run(t.Context(), func(context.Context) error {
			starts = append(starts, time.Since(start))
			if len(starts) > len(errs) {
				return nil
			}
			return errs[len(starts)-1]
		})
		require.NoError(t, err)
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 100 * ms, 300 * ms, 370 * ms, 370 * ms, 470 * ms, 670 * ms}, starts)

		_, err = resilience.Do(t.Context(), again, fails(pushback{hint(time.Hour)}).do)
		require.ErrorIs(t, err, retry.ErrRetryAfter)
	})
}

func TestATokenBudgetIsToldByHand(t *testing.T) {
	tokens := retry.NewTokenBudget(10, 0.5)
	for range 5 {
		tokens.Failed()
	}
	require.Equal(t, 5.0, tokens.Snapshot().Tokens)
	require.False(t, tokens.Withdraw())
	tokens.Succeeded()
	require.True(t, tokens.Withdraw())
}
