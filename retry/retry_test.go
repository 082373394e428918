package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestSuccessAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		op := fails(errBackend, errBackend)
		value, err := resilience.Do(t.Context(), retry.New(retry.NoJitter()), op.do)
		require.NoError(t, err)
		require.Equal(t, 3, value)
		require.Equal(t, 300*time.Millisecond, time.Since(start), "100 ms and 200 ms by default")
	})
}

func TestFault077_DeadlineBeforeTheNextDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		op := always(errBackend)
		_, err := resilience.Do(ctx, retry.New(retry.Constant(2*time.Second), retry.NoJitter()), op.do)
		require.Zero(t, time.Since(start), "nothing sleeps into the deadline")
		require.Equal(t, 1, op.entered)
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, retry.ErrDeadline)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, 1, gave.Attempts)
		require.Zero(t, gave.Elapsed)
		require.Equal(t, retry.ErrDeadline, gave.Reason)
		require.Equal(t, errBackend, gave.Last)
		require.Equal(t, []error{errBackend}, gave.Errs)
	})
}

func TestFault077_TheEdgeOfTheDeadline(t *testing.T) {
	for _, test := range []struct {
		deadline time.Duration
		entered  int
	}{{time.Second, 1}, {time.Second + 1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
			defer cancel()
			op := always(errBackend)
			_, err := resilience.Do(ctx, retry.New(retry.Constant(time.Second), retry.NoJitter()), op.do)
			require.ErrorIs(t, err, retry.ErrDeadline)
			require.Equal(t, test.entered, op.entered, "a delay of 1 s, and a deadline of %v", test.deadline)
		})
	}
}

// tardy is a context whose Done, when asked for, takes longer than the wait and then is closed: the timer and Done are
// ready together.
type tardy struct {
	context.Context
	cancel context.CancelFunc
}

func (d tardy) Done() <-chan struct{} {
	time.Sleep(2 * time.Second)
	d.cancel()
	return d.Context.Done()
}

func TestFault079_NoAttemptAfterACancelDuringTheWait(t *testing.T) {
	again := retry.New(retry.Constant(time.Second), retry.NoJitter(), retry.Attempts(10))
	synctest.Test(t, func(t *testing.T) {
		for round := range 10_000 {
			ctx, cancel := context.WithCancel(t.Context())
			op := always(errBackend)
			_, err := resilience.Do(tardy{ctx, cancel}, again, op.do)
			if op.entered != 1 || !errors.Is(err, context.Canceled) || !errors.Is(err, errBackend) {
				t.Fatalf("round %d: %d attempts, error %v", round, op.entered, err)
			}
		}
	})
}

func TestFault079_CancelledWaitEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		op := always(errBackend)
		_, err := resilience.Do(ctx, retry.New(retry.Constant(time.Hour), retry.NoJitter()), op.do)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, 1, op.entered)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, context.Canceled, gave.Reason)
		require.Equal(t, errBackend, gave.Last)
		require.Equal(t, time.Second, gave.Elapsed)
	})
}

func TestFault080_SuccessSurvivesACancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	value, err := resilience.Do(ctx, retry.New(), func(context.Context) (int, error) {
		cancel()
		return 7, nil
	})
	require.NoError(t, err)
	require.Equal(t, 7, value)
}

func TestFault081_082_CauseAndErrOfTheContext(t *testing.T) {
	cause := errors.New("deploy")
	t.Run("during the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
			_, err := resilience.Do(ctx, retry.New(retry.NoJitter()), always(errBackend).do)
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, errBackend)
		})
	})
	t.Run("during the attempt", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		entered := 0
		_, err := resilience.Do(ctx, retry.New(), func(ctx context.Context) (int, error) {
			entered++
			cancel(cause)
			return 0, ctx.Err()
		})
		require.Equal(t, 1, entered)
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("the operation's own error says it all", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := resilience.Do(ctx, retry.New(), func(ctx context.Context) (int, error) {
			cancel()
			return 0, ctx.Err()
		})
		require.Equal(t, context.Canceled, err, "bare")
	})
}

// laggard is a context whose deadline has passed and whose Done is not yet closed.
type laggard struct {
	context.Context
	deadline time.Time
}

func (l laggard) Deadline() (time.Time, bool) { return l.deadline, true }

func TestFault090_DeadlinePassedDoneNotYetClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := laggard{t.Context(), time.Now().Add(time.Second)}
		op := func(context.Context) (int, error) {
			time.Sleep(time.Second)
			return 0, errBackend
		}
		start := time.Now()
		_, err := resilience.Do(ctx, retry.New(retry.Constant(0)), op)
		require.Equal(t, time.Second, time.Since(start), "one attempt")
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.ErrorIs(t, err, errBackend)
	})
}

func TestFault092_LastErrorKept(t *testing.T) {
	last := fmt.Errorf("second: %w", errBackend)
	cases := map[string]struct {
		opts   []retry.Option
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		layers []policy.Layer
		reason error
	}{
		"exhausted": {opts: []retry.Option{retry.Attempts(2)}, reason: retry.ErrExhausted},
		"stop": {
			opts:   []retry.Option{retry.BackOff(func() backoff.BackOff { return backoff.WithMaxRetries(&backoff.ZeroBackOff{}, 1) })},
			reason: retry.ErrExhausted,
		},
		"deadline": {
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 250*time.Millisecond)
			},
			reason: retry.ErrDeadline,
		},
		"cancel": {
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(150*time.Millisecond, cancel)
				return ctx, cancel
			},
			reason: context.Canceled,
		},
		"open breaker": {layers: []policy.Layer{&fakeBreaker{threshold: 2, openFor: time.Hour}}, reason: errOpen},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.ctx != nil {
					var cancel context.CancelFunc
					ctx, cancel = test.ctx(ctx)
					defer cancel()
				}
				again := retry.New(append([]retry.Option{retry.NoJitter(), retry.Attempts(5)}, test.opts...)...)
				op := fails(errBackend, last, errors.New("one too many"))
				value, err := resilience.Do(ctx, resilience.Compose(append(test.layers, again)...), op.do)
				require.Equal(t, 2, op.entered)
				require.ErrorIs(t, err, last)
				require.ErrorIs(t, err, test.reason)
				gave, ok := errors.AsType[*retry.Error](err)
				require.True(t, ok)
				require.Equal(t, last, gave.Last)
				require.Equal(t, 2, gave.Attempts)
				require.Equal(t, -2, value, "of the last attempt that entered, for every reason")
			})
		})
	}
}

func TestFault093_AllAttemptsVisibleInABoundedNumber(t *testing.T) {
	for _, attempts := range []int{2, 15, 16, 17, 40} {
		errs := make([]error, attempts)
		for i := range errs {
			errs[i] = fmt.Errorf("error %d", i+1)
		}
		_, err := resilience.Do(t.Context(), retry.New(retry.Constant(0), retry.Attempts(attempts)), fails(errs...).do)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, attempts, gave.Attempts)
		require.Equal(t, errs[max(0, attempts-16):], gave.Errs, "%d attempts", attempts)
		require.Equal(t, errs[attempts-1], gave.Last)
		require.ErrorIs(t, err, gave.Last)
		require.NotErrorIs(t, err, errs[0], "earlier errors are shown, not matched")
	}
}

func TestFault094_RejectionIsNotAFailure(t *testing.T) {
	t.Run("before any attempt entered", func(t *testing.T) {
		guard := &full{}
		op := fails()
		_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(), guard), op.do)
		require.Equal(t, 1, guard.refusals, "not asked again")
		require.Zero(t, op.entered)
		rejection, ok := err.(*policy.Rejection)
		require.True(t, ok, "the bare error, not %T", err)
		require.Equal(t, "bulkhead", rejection.Kind)
	})
	t.Run("after a failed attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			guard := &limited{admissions: 1}
			op := always(errBackend)
			value, err := resilience.Do(t.Context(), resilience.Compose(retry.New(retry.Attempts(5)), guard), op.do)
			require.Equal(t, 1, op.entered)
			require.Equal(t, -1, value, "of the last attempt that entered")
			gave, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.Equal(t, 1, gave.Attempts, "the refused one did not enter the operation")
			require.Equal(t, errBackend, gave.Last, "a rejection never takes its place")
			require.Equal(t, []error{errBackend}, gave.Errs)
			require.ErrorIs(t, gave.Reason, errFull)
			require.ErrorIs(t, err, policy.ErrRejected)
		})
	})
	t.Run("of a call that the operation makes", func(t *testing.T) {
		refused := fmt.Errorf("inner: %w", &policy.Rejection{Kind: "bulkhead", Reason: errFull})
		op := fails(refused, refused)
		_, err := resilience.Do(t.Context(), retry.New(), op.do)
		require.Equal(t, 1, op.entered)
		require.Equal(t, refused, err, "bare")
		op = fails(errBackend, refused)
		_, err = resilience.Do(t.Context(), retry.New(retry.Constant(0)), op.do)
		require.Equal(t, 2, op.entered)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, refused, gave.Last, "it is the operation's own error")
		require.ErrorIs(t, gave.Reason, policy.ErrRejected)
	})
	t.Run("that is no *Rejection", func(t *testing.T) {
		guard := &full{with: errors.New("not today")}
		_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(), guard), fails().do)
		require.Equal(t, 1, guard.refusals, "what was refused is not retried, whatever the error")
		require.Equal(t, guard.with, err)
	})
	t.Run("of a type of its own", func(t *testing.T) {
		refused := fmt.Errorf("draining: %w", policy.ErrRejected)
		op := fails(errBackend, refused)
		_, err := resilience.Do(t.Context(), retry.New(retry.Constant(0)), op.do)
		require.Equal(t, 2, op.entered)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, refused, gave.Reason)
	})
	t.Run("an operation's error is never one", func(t *testing.T) {
		_, err := resilience.Do(t.Context(), retry.New(retry.Constant(0)), always(errBackend).do)
		require.NotErrorIs(t, err, policy.ErrRejected)
	})
}

// limited refuses after a number of admissions, like a rate limiter.
type limited struct{ admissions int }

func (*limited) Stage() policy.Stage { return policy.StageRateLimit }
func (l *limited) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if l.admissions--; l.admissions < 0 {
		return nil, policy.Ticket{}, &policy.Rejection{Kind: "rate limiter", Reason: errFull}
	}
	return ctx, policy.Ticket{}, nil
}
func (*limited) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestFault096_MarksAreFoundInTheWholeTree(t *testing.T) {
	for name, mark := range map[string]func(error) error{"ours": retry.Permanent, "backoff's": backoff.Permanent} {
		for shape, wrap := range map[string]func(error) error{
			"bare":     func(err error) error { return err },
			"3 levels": func(err error) error { return fmt.Errorf("a: %w", fmt.Errorf("b: %w", fmt.Errorf("c: %w", err))) },
			"joined":   func(err error) error { return errors.Join(errors.New("other"), fmt.Errorf("d: %w", err)) },
			"%w twice": func(err error) error { return fmt.Errorf("e: %w, %w", errors.New("other"), err) },
		} {
			t.Run(name+" "+shape, func(t *testing.T) {
				op := always(wrap(mark(errBackend)))
				_, err := resilience.Do(t.Context(), retry.New(), op.do)
				require.Equal(t, 1, op.entered)
				require.ErrorIs(t, err, errBackend)
				_, gaveUp := errors.AsType[*retry.Error](err)
				require.False(t, gaveUp, "the bare error")
			})
		}
	}
}

// TestMarksAroundAnErrorWhoseMethodsPanic: what is known of the error is found before that method is called.
func TestMarksAroundAnErrorWhoseMethodsPanic(t *testing.T) {
	for name, mark := range map[string]func(error) error{
		"ours": retry.Permanent, "backoff's": backoff.Permanent, "a retry inside": func(err error) error {
			return &retry.Error{Attempts: 3, Reason: retry.ErrExhausted, Last: err, Errs: []error{err}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			op := always(mark(hostile{errBackend}))
			_, _ = resilience.Do(t.Context(), retry.New(retry.Constant(0)), op.do)
			require.Equal(t, 1, op.entered)
		})
	}
}

// hostile is an error whose method As panics.
type hostile struct{ error }

func (hostile) As(any) bool { panic("As") }

func TestFault097_PermanentKeepsTheTextAroundIt(t *testing.T) {
	for _, mark := range []func(error) error{retry.Permanent, backoff.Permanent} {
		_, err := resilience.Do(t.Context(), retry.New(), always(fmt.Errorf("user 42: %w", mark(errBackend))).do)
		require.EqualError(t, err, "user 42: backend failed")
		require.ErrorIs(t, err, errBackend)
	}
}

func TestFault098_PermanentOfNil(t *testing.T) {
	require.NoError(t, retry.Permanent(nil))
	op := always(&backoff.PermanentError{})
	_, err := resilience.Do(t.Context(), retry.New(), op.do)
	require.Equal(t, 1, op.entered)
	require.Equal(t, &backoff.PermanentError{}, err)
}

func TestFault100_ValueAndErrorTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value, err := resilience.Do(t.Context(), retry.New(), always(errBackend).do)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, -3, value, "both of the last attempt")

		value, err = resilience.Do(t.Context(), resilience.Compose(retry.New(), &fakeBreaker{threshold: 2, openFor: time.Hour}), always(errBackend).do)
		require.ErrorIs(t, err, errOpen)
		require.Equal(t, -2, value, "of the last attempt that entered")

		value, err = resilience.Do(t.Context(), resilience.Compose(retry.New(), &limited{admissions: 1}), always(errBackend).do)
		require.ErrorIs(t, err, errFull)
		require.Equal(t, -1, value)
	})
}

func TestFault102_AttemptsExactly(t *testing.T) {
	for _, attempts := range []int{1, 2, 3, 7} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			op := always(errBackend)
			_, err := resilience.Do(t.Context(), retry.New(retry.Attempts(attempts), retry.Constant(time.Second), retry.NoJitter()), op.do)
			require.Equal(t, attempts, op.entered)
			require.Equal(t, time.Duration(attempts-1)*time.Second, time.Since(start), "no sleep after the last attempt")
			if attempts == 1 {
				require.Equal(t, errBackend, err, "bare")
			} else {
				require.ErrorIs(t, err, retry.ErrExhausted)
			}
		})
	}
}

func TestFault108_IndependentStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[time.Duration]int{}
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				again := retry.New(retry.Attempts(2), retry.Constant(time.Hour))
				start := time.Now()
				_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
				mu.Lock()
				defer mu.Unlock()
				seen[time.Since(start)]++
			})
		}
		group.Wait()
		require.Len(t, seen, 100, "delays differ pairwise")
	})
}

func TestFault109_HugeDelaysDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, delay := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			op := func(context.Context) (int, error) { time.Sleep(time.Millisecond); return 0, errBackend }
			_, err := resilience.Do(ctx, retry.New(retry.Constant(delay), retry.NoJitter()), op)
			require.ErrorIs(t, err, retry.ErrDeadline)
			require.Equal(t, time.Millisecond, time.Since(start))
			cancel()
		}
	})
}

func TestFault110_NoHiddenStopAfter15Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		op := always(errBackend)
		again := retry.New(retry.Attempts(1000), retry.Exponential(time.Second, time.Minute), retry.NoJitter())
		_, err := resilience.Do(t.Context(), again, op.do)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, 1000, op.entered)
		require.Greater(t, time.Since(start), 16*time.Hour)
	})
}

// perAttempt gives each attempt a deadline of its own.
type perAttempt time.Duration

func (perAttempt) Stage() policy.Stage { return policy.StageAttemptTimeout }
func (p perAttempt) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p))
	return ctx, policy.Ticket{Cancel: cancel}, nil
}
func (perAttempt) Settle(_ context.Context, ticket policy.Ticket, _ policy.Outcome) { ticket.Cancel() }

func TestFault115_PerAttemptAndTotalTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for total := 50 * time.Millisecond; total < 2*time.Second; total += 37 * time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), total)
			start := time.Now()
			attempts := 0
			op := func(ctx context.Context) (int, error) {
				attempts++
				own, ok := ctx.Deadline()
				outer := start.Add(total)
				if want := time.Now().Add(100 * time.Millisecond); !ok || own.After(want) || own.After(outer) {
					t.Errorf("attempt %d has the deadline %v", attempts, own)
				}
				<-ctx.Done()
				return 0, ctx.Err()
			}
			_, err := resilience.Do(ctx, resilience.Compose(retry.New(retry.Attempts(5)), perAttempt(100*time.Millisecond)), op)
			require.LessOrEqual(t, time.Since(start), total)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			if total > 100*time.Millisecond {
				require.Positive(t, attempts)
			}
			cancel()
		}
	})
}

func TestFault116_CountsOfPredicateAndEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var waits []time.Duration
		observer := policy.ObserverFunc(func(_ context.Context, event policy.Event) {
			if event.Kind == policy.EventRetry {
				waits = append(waits, event.Wait)
			}
		})
		again := retry.New(retry.Attempts(4), retry.If(func(error) bool { asked++; return true }))
		op := always(errBackend)
		_, err := resilience.Do(t.Context(), resilience.Compose(again, resilience.Observe(observer)), op.do)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, 4, asked, "once for each failed attempt")
		require.Len(t, waits, 3, "once for each retry")
		for i, wait := range waits {
			require.Equal(t, op.times[i+1].Sub(op.times[i]), wait, "the delay that is then slept")
		}
	})
}

func TestFault116_ThePredicateIsNotAskedAgainAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := &fakeBreaker{threshold: 100, openFor: time.Hour}
		time.AfterFunc(500*time.Millisecond, breaker.open)
		asked := 0
		again := retry.New(retry.Constant(time.Second), retry.NoJitter(), retry.If(func(error) bool { asked++; return true }))
		_, err := resilience.Do(t.Context(), resilience.Compose(again, breaker), always(errBackend).do)
		require.ErrorIs(t, err, errOpen)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 1, asked)
	})
}

func TestAnAttemptIsNotedOnceAlthoughNextIsAskedTwice(t *testing.T) {
	// The context ends when the retry has been scheduled, before a wait of 0 or 1 ns: the call ends with one attempt.
	for _, delay := range []time.Duration{0, 1, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			leave := policy.ObserverFunc(func(_ context.Context, event policy.Event) {
				if event.Kind == policy.EventRetry {
					cancel()
				}
			})
			budget := retry.NewBudget(0.5, 0)
			require.True(t, budget.Withdraw(), "there is one token")
			for range 2 {
				_, err := resilience.Do(t.Context(), retry.New(retry.WithBudget(budget)), succeed)
				require.NoError(t, err)
			}
			again := retry.New(retry.Constant(delay), retry.NoJitter(), retry.WithBudget(budget))
			op := always(errBackend)
			_, err := resilience.Do(ctx, resilience.Compose(again, resilience.Observe(leave)), op.do)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 1, op.entered)
			gave, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.Equal(t, 1, gave.Attempts)
			require.Equal(t, []error{errBackend}, gave.Errs)
			require.EqualValues(t, 1, again.Snapshot().Retries, "scheduled once")
			require.Equal(t, 1.5, budget.Snapshot().Tokens, "the retry was not made; three calls have earned this")
		})
	}
}

func TestIf(t *testing.T) {
	other := errors.New("other")
	again := retry.New(retry.Constant(0), retry.If(func(err error) bool { return errors.Is(err, errBackend) }))
	op := fails(errBackend, other, errBackend)
	_, err := resilience.Do(t.Context(), again, op.do)
	require.Equal(t, 2, op.entered)
	require.ErrorIs(t, err, other)
	require.ErrorIs(t, err, retry.ErrFinal)
	op = fails(other)
	_, err = resilience.Do(t.Context(), again, op.do)
	require.Equal(t, other, err, "the bare error of a single attempt, as for a permanent one")
}

func TestFault162_RetryOutsideABreakerCountsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := &fakeBreaker{threshold: 100}
		_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(), inside), always(errBackend).do)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Len(t, inside.settled, 3)

		outside := &fakeBreaker{threshold: 100}
		pipeline := resilience.Compose(retry.New(), policy.At(policy.StageShed, outside))
		_, err = resilience.Do(t.Context(), pipeline, always(errBackend).do)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Len(t, outside.settled, 1)
	})
}

func TestFault163_RetryConsultsTheBreaker(t *testing.T) {
	t.Run("open from the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 1, openFor: time.Minute}
			breaker.open()
			start := time.Now()
			op := fails()
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(), breaker), op.do)
			require.Zero(t, op.entered)
			require.Zero(t, time.Since(start))
			_, ok := err.(*policy.Rejection)
			require.True(t, ok, "the bare rejection, not %T", err)
		})
	})
	t.Run("opened by the first attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			op := always(errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(), &fakeBreaker{threshold: 1, openFor: time.Minute}), op.do)
			require.Equal(t, 1, op.entered)
			require.Zero(t, time.Since(start), "no sleep")
			require.ErrorIs(t, err, errOpen)
			require.ErrorIs(t, err, policy.ErrRejected)
			require.ErrorIs(t, err, errBackend)
			wait, ok := policy.RetryAfter(err)
			require.True(t, ok)
			require.Equal(t, time.Minute, wait)
		})
	})
	t.Run("opened by others during the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 100, openFor: time.Minute}
			time.AfterFunc(50*time.Millisecond, breaker.open)
			op := always(errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(retry.NoJitter()), breaker), op.do)
			require.Equal(t, 1, op.entered)
			require.ErrorIs(t, err, errOpen)
			require.ErrorIs(t, err, errBackend)
		})
	})
}

func TestFault164_AFailedProbeEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := &fakeBreaker{threshold: 1, openFor: time.Second}
		again := retry.New(retry.Attempts(5), retry.Constant(time.Second), retry.NoJitter())
		pipeline := resilience.Compose(again, breaker)
		op := always(errBackend)
		_, _ = resilience.Do(t.Context(), pipeline, op.do)
		time.Sleep(time.Second) // half-open now
		_, err := resilience.Do(t.Context(), pipeline, op.do)
		require.Equal(t, 2, op.entered, "one probe by the second call")
		require.ErrorIs(t, err, errOpen)
		require.ErrorIs(t, err, errBackend)
	})
}

func TestFault061_PanicsOfUserFunctionsReachTheCaller(t *testing.T) {
	for name, opt := range map[string]retry.Option{
		"If":      retry.If(func(error) bool { panic("boom") }),
		"BackOff": retry.BackOff(func() backoff.BackOff { return &panicking{} }),
		"Rand":    retry.Rand(panickingSource{}),
	} {
		t.Run(name, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 100}
			again := retry.New(opt)
			for range 2 { // the second time a lock that was left held would show
				require.PanicsWithValue(t, "boom", func() {
					_, _ = resilience.Do(t.Context(), resilience.Compose(again, breaker), always(errBackend).do)
				})
			}
			require.Len(t, breaker.settled, 2)
		})
	}
}

type panicking struct{ backoff.ZeroBackOff }

func (*panicking) NextBackOff() time.Duration { panic("boom") }

type panickingSource struct{}

func (panickingSource) Uint64() uint64 { panic("boom") }

func TestNestedRetriersKeepTheirOwnState(t *testing.T) {
	outer, inner := retry.New(retry.Attempts(3), retry.Constant(0), retry.RetryNested()), retry.New(retry.Attempts(2), retry.Constant(0))
	var numbers []int
	_, err := resilience.Do(t.Context(), outer, func(ctx context.Context) (int, error) {
		return resilience.Do(ctx, inner, func(ctx context.Context) (int, error) {
			numbers = append(numbers, retry.Attempt(ctx))
			return 0, errBackend
		})
	})
	require.Equal(t, []int{1, 2, 1, 2, 1, 2}, numbers)
	gave, ok := errors.AsType[*retry.Error](err)
	require.True(t, ok)
	require.Equal(t, 3, gave.Attempts)
}

func TestOneRetrierForManyGoroutines(t *testing.T) {
	again := retry.New(retry.Attempts(4), retry.Constant(0), retry.NoBudget())
	var entered atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 200 {
				_, err := resilience.Do(t.Context(), again, func(ctx context.Context) (int, error) {
					entered.Add(1)
					return 0, errBackend
				})
				if gave, ok := errors.AsType[*retry.Error](err); !ok || gave.Attempts != 4 {
					t.Errorf("unexpected error %v", err)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 16*200*4, entered.Load())
	snapshot := again.Snapshot()
	require.EqualValues(t, 16*200*3, snapshot.Retries)
	require.EqualValues(t, 16*200, snapshot.GaveUp)
}

func TestAttempt(t *testing.T) {
	require.Equal(t, 1, retry.Attempt(t.Context()), "outside of any call")
	var numbers []int
	_, _ = resilience.Do(t.Context(), retry.New(retry.Constant(0)), func(ctx context.Context) (int, error) {
		numbers = append(numbers, retry.Attempt(ctx))
		return 0, errBackend
	})
	require.Equal(t, []int{1, 2, 3}, numbers)
}

func TestErrorIsOneLine(t *testing.T) {
	err := &retry.Error{Attempts: 3, Elapsed: 1200 * time.Millisecond, Reason: retry.ErrExhausted, Last: errBackend}
	require.EqualError(t, err, "retry: gave up after 3 attempts, 1.2s after the first failed: attempts exhausted: backend failed")
	err = &retry.Error{Name: "users", Attempts: 1, Reason: retry.ErrDeadline, Last: errors.Join(errBackend, errFull)}
	require.EqualError(t, err, `retry "users": gave up after 1 attempt: no time for another attempt before the deadline: backend failed; full`)
	require.False(t, strings.Contains(err.Error(), "\n"))
}

func TestStringAndSnapshot(t *testing.T) {
	again := retry.New(retry.Attempts(4))
	require.Equal(t, "retry 4", again.String())
	require.Equal(t, `retry "reads" 3`, retry.New(retry.Name("reads")).String())
	require.Equal(t, policy.StageRetry, again.Stage())
	require.Equal(t, 4, again.Snapshot().Attempts)
}

func TestPolicyView(t *testing.T) {
	again := retry.New(retry.Constant(0))
	var view policy.Policy[int] = retry.Policy[int]{Retrier: again}
	value, err := view.Do(t.Context(), fails(errBackend).do)
	require.NoError(t, err)
	require.Equal(t, 2, value)
	require.EqualValues(t, 1, again.Snapshot().Retries)
	require.PanicsWithValue(t, "retry: Policy.Do with a nil Retrier", func() {
		_, _ = retry.Policy[int]{}.Do(t.Context(), fails().do)
	})
}

func succeed(context.Context) (int, error) { return 1, nil }

func TestFirstSuccessAllocatesNothing(t *testing.T) {
	again := retry.New()
	ctx := t.Context()
	pipeline := resilience.Compose(again)
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(ctx, pipeline, succeed) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(ctx, again, succeed) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = retry.Policy[int]{Retrier: again}.Do(ctx, succeed) }))
}

// Two for each further attempt, its context with its operation and a closure, and one for what is known of the call. A value that
// nobody wants to discard costs nothing.
func TestTwoFailuresAllocateLittle(t *testing.T) {
	again := retry.New(retry.Constant(0), retry.NoBudget())
	ctx := t.Context()
	for _, value := range []int{0, 1} {
		attempts := 0
		op := func(ctx context.Context) (int, error) {
			if attempts++; retry.Attempt(ctx) < 3 {
				return value, errBackend
			}
			return value, nil
		}
		allocs := testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(ctx, again, op) })
		require.Equal(t, 3*1001, attempts)
		require.LessOrEqual(t, allocs, 5.0)
	}
}

func TestFault072_AnEndedContextTakesNothing(t *testing.T) {
	cause := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	budget := retry.NewBudget(0.1, 0)
	require.True(t, budget.Withdraw())
	again := retry.New(retry.WithBudget(budget))
	for range 1000 {
		op := fails()
		_, err := resilience.Do(ctx, again, op.do)
		require.Zero(t, op.entered)
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Zero(t, budget.Snapshot().Tokens, "no call was made, none is counted")
	require.Zero(t, again.Snapshot().Retries)
}

func TestFault087_ValuesAreVisibleInEachAttempt(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "request 7")
	seen := 0
	_, _ = resilience.Do(ctx, retry.New(retry.Constant(0)), func(ctx context.Context) (int, error) {
		if ctx.Value(key{}) == "request 7" {
			seen++
		}
		return 0, errBackend
	})
	require.Equal(t, 3, seen)
}

// foreign is a context of somebody else's type that can never end.
type foreign struct{}

func (foreign) Deadline() (time.Time, bool) { return time.Time{}, false }
func (foreign) Done() <-chan struct{}       { return nil }
func (foreign) Err() error                  { return nil }
func (foreign) Value(any) any               { return nil }

func TestFault089_ForeignContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value, err := resilience.Do(foreign{}, retry.New(), fails(errBackend).do)
		require.NoError(t, err)
		require.Equal(t, 2, value)
	})
}

func TestFault091_NilArguments(t *testing.T) {
	again := retry.New()
	var none context.Context
	require.PanicsWithValue(t, "resilience: Do with a nil context", func() { _, _ = retry.Policy[int]{Retrier: again}.Do(none, succeed) })
	require.PanicsWithValue(t, "resilience: Do with a nil operation", func() { _, _ = retry.Policy[int]{Retrier: again}.Do(t.Context(), nil) })
}
