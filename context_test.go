package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestFault072_ContextAlreadyDone(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	retry, guard := &again{max: 3}, &probe{name: "guard"}
	layers := map[string]policy.Layer{
		"empty":    resilience.Compose(),
		"guard":    guard,
		"repeater": retry,
		"wrapper":  wrapper(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) }),
		"pipeline": resilience.Compose(retry, guard, timeout.Total(time.Second), timeout.PerAttempt(time.Millisecond)),
	}
	for name, layer := range layers {
		t.Run(name, func(t *testing.T) {
			for range 1000 {
				value, err := resilience.Do(ctx, layer, func(context.Context) (int, error) {
					t.Error("entered")
					return 1, nil
				})
				require.Zero(t, value)
				require.ErrorIs(t, err, errCause)
				require.ErrorIs(t, err, context.Canceled)
				require.NotErrorIs(t, err, policy.ErrRejected)
			}
		})
	}
	require.Zero(t, guard.admitted.Load())
	require.Empty(t, retry.heard)
}

func TestFault072_NothingIsTakenUnderAnEndedContext(t *testing.T) {
	db, quota, slots := opensAt(1, time.Hour), ratelimit.Every(time.Hour, 1), bulkhead.New(1)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	layers := []policy.Layer{
		db, quota, slots, steady(3, 0), timeout.PerAttempt(time.Second),
		resilience.Compose(timeout.Total(time.Minute), steady(3, 0), db, quota, slots, timeout.PerAttempt(time.Second)),
	}
	for _, layer := range layers {
		for range 1000 {
			_, err := resilience.Do(ctx, layer, func(context.Context) (int, error) {
				t.Error("entered")
				return 0, nil
			})
			require.ErrorIs(t, err, errCause)
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	value, err := resilience.Do(t.Context(), layers[len(layers)-1], answer(42, nil))
	require.NoError(t, err, "token and slot are still there")
	require.Equal(t, 42, value)
}

// ender is a guard during whose admission the caller leaves.
type ender struct {
	probe
	end context.CancelFunc
}

func (e *ender) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	e.end()
	return e.probe.Admit(ctx)
}

// The context ends between the beginning of a call and the attempt of a retry that stands inside of the guard which takes
// that long, or which derives a context that has ended.
func TestFault072_AContextThatEndsOutsideOfARetry(t *testing.T) {
	inner := &probe{name: "inner", stage: policy.StageBreaker}
	for name, compose := range map[string]func(end context.CancelFunc) *resilience.Pipeline{
		"a guard that waits": func(end context.CancelFunc) *resilience.Pipeline {
			return resilience.Compose(&ender{probe: probe{name: "outer", stage: policy.StageShed}, end: end}, retry.New())
		},
		"and a guard inside": func(end context.CancelFunc) *resilience.Pipeline {
			return resilience.Compose(&ender{probe: probe{name: "outer", stage: policy.StageShed}, end: end}, retry.New(), inner)
		},
		"a bulkhead at the front door": func(end context.CancelFunc) *resilience.Pipeline {
			weigh := func(context.Context) int { end(); return 1 }
			return resilience.Compose(policy.At(policy.StageShed, bulkhead.New(4, bulkhead.WeightOf(weigh))), retry.New())
		},
		"a timeout that is over at once": func(context.CancelFunc) *resilience.Pipeline {
			return resilience.Compose(timeout.Total(1), retry.New(), inner)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parent := range []context.Context{context.Background(), t.Context()} {
				ctx, cancel := parent, context.CancelFunc(func() {})
				if name != "a timeout that is over at once" {
					ctx, cancel = context.WithCancel(parent)
				}
				entered := 0
				_, err := resilience.Do(ctx, compose(cancel), func(context.Context) (int, error) { entered++; return 1, nil })
				require.Zero(t, entered)
				require.Zero(t, inner.admitted.Load())
				if ctx == parent {
					require.ErrorIs(t, err, timeout.ErrTimeout)
				} else {
					require.ErrorIs(t, err, context.Canceled)
				}
			}
		})
	}
}

func TestAContextThatAGuardHasEndedIsNotEntered(t *testing.T) {
	outer := &probe{}
	ending := &probe{stage: policy.StageBulkhead, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errCause)
		return ctx, func() {}
	}}
	_, err := resilience.Do(t.Context(), resilience.Compose(outer, ending), func(context.Context) (int, error) {
		t.Error("entered")
		return 0, nil
	})
	require.ErrorIs(t, err, errCause)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	require.Equal(t, policy.NotCalled, ending.last.Load().Kind)
}

func TestFault079_NoAttemptAfterACancelDuringTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2000 {
			// The timer of the wait and the end of the context are ready at the same instant.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			call, calls := policytest.Script(0, errBackend, errBackend, errBackend)
			_, err := resilience.Do(ctx, &again{max: 5, wait: time.Second}, call)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.LessOrEqual(t, calls(), 2)
		}
		// The context ends after the wait, before the attempt: a gate is what runs in between.
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			g := &gate{}
			g.onReady = func(asked int64) {
				if asked == 2 {
					cancel()
				}
			}
			call, calls := policytest.Script(0, errBackend, errBackend, errBackend)
			_, err := resilience.Do(ctx, resilience.Compose(&again{max: 5, wait: time.Second}, g), call)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 1, calls())
			require.EqualValues(t, 1, g.admitted.Load())
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		calls := 0
		_, err := resilience.Do(ctx, &again{max: 5, wait: time.Second}, func(context.Context) (int, error) {
			calls++
			time.AfterFunc(time.Second/2, cancel)
			return 0, errBackend
		})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 1, calls)
	})
}

func TestFault080_SuccessSurvivesACancel(t *testing.T) {
	for _, layer := range []policy.Layer{
		resilience.Compose(&again{max: 3}, &probe{}, timeout.Total(time.Hour), timeout.PerAttempt(time.Minute)),
		&again{max: 3},
		timeout.Total(time.Hour),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		value, err := resilience.Do(ctx, layer, func(context.Context) (int, error) {
			cancel()
			return 42, nil
		})
		require.NoError(t, err)
		require.Equal(t, 42, value)
	}
}

func TestFault080_SuccessSurvivesATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Total(time.Second)
		value, err := resilience.Do(t.Context(), limit, func(context.Context) (int, error) {
			time.Sleep(2 * time.Second)
			return 42, nil
		})
		require.NoError(t, err)
		require.Equal(t, 42, value)
		require.Zero(t, limit.Snapshot().Expired)
	})
}

func TestFault081_082_CauseAndContextErrorAreBothKept(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	require.NoError(t, policy.ContextError(ctx))
	cancel(errCause)
	err := policy.ContextError(ctx)
	require.ErrorIs(t, err, errCause)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "context canceled: the caller's cause", err.Error())

	plain, cancelPlain := context.WithCancel(t.Context())
	cancelPlain()
	require.Equal(t, context.Canceled, policy.ContextError(plain))

	wrapped, cancelWrapped := context.WithCancelCause(t.Context())
	cause := fmt.Errorf("shutting down: %w", context.Canceled)
	cancelWrapped(cause)
	require.Equal(t, cause, policy.ContextError(wrapped))
}

func TestFault083_OwnTimeoutAgainstTheCallers(t *testing.T) {
	hang := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	ownError := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, errBackend
	}
	nest := map[string]policy.Layer{
		"attempt":          timeout.PerAttempt(time.Second),
		"total":            timeout.Total(time.Second),
		"total of retries": resilience.Compose(timeout.Total(time.Second), &again{max: 1}),
		"both":             resilience.Compose(timeout.Total(time.Hour), timeout.PerAttempt(time.Second), &probe{}),
	}
	for name, layer := range nest {
		t.Run(name+" own", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, op := range []policy.Func[int]{hang, ownError} {
					start := time.Now()
					_, err := resilience.Do(t.Context(), layer, op)
					require.Equal(t, time.Second, time.Since(start))
					require.ErrorIs(t, err, timeout.ErrTimeout)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				_, err := resilience.Do(t.Context(), layer, ownError)
				require.ErrorIs(t, err, errBackend)
			})
		})
		t.Run(name+" caller cancels", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Millisecond, func() { cancel(errCause) })
				_, err := resilience.Do(ctx, layer, hang)
				require.NotErrorIs(t, err, timeout.ErrTimeout)
				require.ErrorIs(t, err, context.Canceled)
				_, err = resilience.Do(ctx, layer, hang)
				require.ErrorIs(t, err, errCause)
			})
		})
		t.Run(name+" caller's deadline", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				start := time.Now()
				_, err := resilience.Do(ctx, layer, hang)
				require.Equal(t, time.Millisecond, time.Since(start))
				require.NotErrorIs(t, err, timeout.ErrTimeout)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}

// The caller gives up after the timeout has expired, and before the operation returns: the timeout was first. Or the
// caller gives up, and then the timeout would have expired.
func TestFault083_TheFirstToEndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, layer := range []policy.Layer{timeout.PerAttempt(time.Second), resilience.Compose(timeout.Total(1600*time.Millisecond), timeout.PerAttempt(time.Second))} {
			for _, leaves := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(leaves, func() { cancel(errCause) })
				_, err := resilience.Do(ctx, layer, func(ctx context.Context) (int, error) {
					time.Sleep(2 * time.Second) // and does not look at ctx
					return 0, errBackend
				})
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, leaves > time.Second, errors.Is(err, timeout.ErrTimeout), err)
			}
		}
	})
}

// Both timeouts have expired when the operation, which did not look, comes back: the breaker between them must hear of the
// one that was first.
func TestFault083_TheInnerTimeoutIsNamedToThoseBetween(t *testing.T) {
	for name, newContext := range map[string]func() (context.Context, context.CancelFunc){
		"nobody can cancel": func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
		"somebody can":      func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := newContext()
				defer cancel()
				var judged error
				classify := breaker.Classify(func(err error) policy.Class { judged = err; return policy.Transient })
				pipeline := resilience.Compose(timeout.Total(2*time.Second), breaker.New(classify), timeout.PerAttempt(time.Second))
				_, err := resilience.Do(ctx, pipeline, func(context.Context) (int, error) {
					time.Sleep(3 * time.Second)
					return 0, errBackend
				})
				require.EqualError(t, judged, "attempt timeout 1s expired: backend failed")
				require.EqualError(t, err, "total timeout 2s expired: attempt timeout 1s expired: backend failed")
			})
		})
	}
}

func TestFault084_NestedDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total, attempt := timeout.Total(time.Second), timeout.PerAttempt(999*time.Millisecond)
		p := resilience.Compose(total, attempt, &again{max: 10})
		attempts := 0
		_, err := resilience.Do(t.Context(), p, func(ctx context.Context) (int, error) {
			attempts++
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		require.ErrorContains(t, err, "total timeout 1s expired")
		require.Equal(t, 2, attempts)
		require.EqualValues(t, 1, total.Snapshot().Expired)
		require.EqualValues(t, 1, attempt.Snapshot().Expired)
	})
}

func TestEachGuardHearsTheErrorAsItIsInsideOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, middle, inner := &probe{stage: 1}, &probe{stage: policy.StageBreaker}, &probe{stage: policy.StageBulkhead}
		p := resilience.Compose(outer, timeout.Total(time.Second), middle, inner)
		_, err := resilience.Do(t.Context(), p, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errBackend
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, errBackend, inner.last.Load().Err, "the timeout is further out")
		require.Equal(t, errBackend, middle.last.Load().Err, "the timeout is further out")
		require.ErrorIs(t, outer.last.Load().Err, timeout.ErrTimeout)
		require.ErrorIs(t, outer.last.Load().Err, errBackend)

		second := &probe{}
		_, err = resilience.Do(t.Context(), resilience.Compose(timeout.Total(time.Second), second), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errBackend
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, errBackend, second.last.Load().Err, "directly inside of the timeout too")
	})
}

// Also when the guard's context has no deadline, so that only its channel tells it from the one around it.
func TestAnErrorNamesTheCauseOfAnyGuardThatEndedTheContext(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{"alone": nil, "inside of another guard": {&probe{stage: 1}}} {
		t.Run(name, func(t *testing.T) {
			var end context.CancelCauseFunc
			ending := &probe{stage: policy.StageBulkhead, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, end = context.WithCancelCause(ctx)
				return ctx, func() { end(nil) }
			}}
			value, err := resilience.Do(t.Context(), resilience.Compose(append(layers, ending)...), func(context.Context) (int, error) {
				end(errCause)
				return 3, errBackend
			})
			require.Equal(t, 3, value)
			require.ErrorIs(t, err, errCause)
			require.ErrorIs(t, err, errBackend)
		})
	}
}

func TestAnErrorThatNamesItsCauseIsLeftAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := resilience.Do(t.Context(), resilience.Compose(timeout.Total(time.Second)), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		_, isTimeout := err.(*timeout.Error)
		require.True(t, isTimeout, "%T: %v", err, err)

		ctx, cancel := context.WithCancel(t.Context())
		_, err = resilience.Do(ctx, resilience.Compose(timeout.Total(time.Second)), func(context.Context) (int, error) {
			cancel()
			return 0, errBackend
		})
		require.Equal(t, errBackend, err, "the caller's cancellation is not the guard's")
	})
}

// loose is an error that cannot be compared.
type loose struct{ details any }

func (loose) Error() string { return "loose" }

func TestTheEndOfTheCallersContextIsLeftAsItIsWhateverItsCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := resilience.Do(ctx, resilience.Compose(&probe{}, &probe{stage: policy.StageBulkhead}), func(context.Context) (int, error) {
		cancel(loose{map[string]int{}})
		return 0, errBackend
	})
	require.Equal(t, errBackend, err)
}

func TestAContextThatCannotBeComparedIsFine(t *testing.T) {
	type odd struct {
		context.Context
		_ []string // not comparable
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := resilience.Compose(&again{max: 1}, &probe{}, timeout.PerAttempt(time.Hour))
	_, err := resilience.Do(odd{Context: ctx}, p, func(context.Context) (int, error) {
		cancel()
		return 0, errBackend
	})
	require.ErrorIs(t, err, errBackend)
	require.NotErrorIs(t, err, timeout.ErrTimeout)
}

// leaver is a wrapper that leaves after a second.
type leaver struct{}

func (*leaver) Stage() policy.Stage { return policy.StageHedge }

func (*leaver) Run(ctx context.Context, call func(context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Second):
		return errors.New("left")
	}
}

// What is left behind hears at its next look that the call has ended, and is not taken for a timeout later.
func TestWhatIsLeftBehindHearsOfTheEnd(t *testing.T) {
	work := func(ctx context.Context) (int, error) {
		for ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		return 0, ctx.Err()
	}
	t.Run("by a wrapper", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner := timeout.PerAttempt(time.Minute)
			start, ended := time.Now(), make(chan time.Duration, 1)
			_, err := resilience.Do(context.Background(), resilience.Compose(timeout.Total(time.Hour), &leaver{}, inner), func(ctx context.Context) (int, error) {
				defer func() { ended <- time.Since(start) }()
				return work(ctx)
			})
			require.EqualError(t, err, "left")
			require.Less(t, <-ended, 2*time.Second)
			synctest.Wait()
			require.Zero(t, inner.Snapshot().Expired)
		})
	})
	t.Run("by an operation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner := timeout.PerAttempt(time.Minute)
			start, ended := time.Now(), make(chan time.Duration, 1)
			_, err := resilience.Do(context.Background(), timeout.Total(time.Hour), func(ctx context.Context) (int, error) {
				go func() {
					_, err := resilience.Do(ctx, inner, work)
					if !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
					ended <- time.Since(start)
				}()
				time.Sleep(time.Second)
				return 1, nil
			})
			require.NoError(t, err)
			require.Less(t, <-ended, 2*time.Second)
			require.Zero(t, inner.Snapshot().Expired)
		})
	})
	t.Run("by a permit", func(t *testing.T) {
		outer, err := policy.Acquire(context.Background(), timeout.Total(time.Hour))
		require.NoError(t, err)
		inner, err := policy.Acquire(outer.Context(), timeout.PerAttempt(time.Minute))
		require.NoError(t, err)
		require.True(t, outer.Done(nil))
		require.ErrorIs(t, inner.Context().Err(), context.Canceled)
		require.True(t, inner.Done(nil))
	})
}

// FAULT 270: an error is judged by the moment at which the operation returned, not by what comes after it.
func TestFault270_WhatComesAfterTheOperationChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // the operation takes
		named bool
	}{"before the bound": {0, false}, "just before": {time.Second - 1, false}, "at the bound": {time.Second + 1, true}} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", open ", open), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					slow := policy.ObserverFunc(func(context.Context, policy.Event) { time.Sleep(2 * time.Second) })
					outer, inner := &probe{stage: 1}, &slowToSettle{}
					caller, cancel := context.WithCancel(t.Context())
					time.AfterFunc(1500*time.Millisecond, cancel)
					layers := []policy.Layer{outer, &again{max: 1}, &limit{after: time.Second}, inner, resilience.Observe(slow)}
					op := func(context.Context) (int, error) { time.Sleep(c.after); return 0, errBackend }
					var err error
					if open {
						_, _, err = resilience.Open(caller, resilience.Compose(layers...), op)
					} else {
						_, err = resilience.Do(caller, resilience.Compose(layers...), op)
					}
					require.ErrorIs(t, err, errBackend)
					require.Equal(t, c.named, errors.As(err, new(limitError)), err)
					require.Equal(t, errBackend, inner.last.Load().Err)
					require.False(t, inner.last.Load().Canceled, "the caller cancelled later")
					require.Error(t, caller.Err())
				})
			})
		}
	}
	t.Run("a refusal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			slow := policy.ObserverFunc(func(context.Context, policy.Event) { time.Sleep(2 * time.Second) })
			p := resilience.Compose(&limit{after: time.Second}, &probe{refuse: errRefused, stage: policy.StageChaos}, resilience.Observe(slow))
			_, err := resilience.Do(t.Context(), p, answer(0, nil))
			require.Equal(t, errRefused, err)
		})
	})
}

// slowToSettle is a guard that breaks the rule that Settle must not wait.
type slowToSettle struct{ probe }

func (*slowToSettle) Stage() policy.Stage { return policy.StageChaos }
func (s *slowToSettle) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	time.Sleep(2 * time.Second)
	s.probe.Settle(ctx, ticket, outcome)
}

// As TestFault083_TheInnerTimeoutIsNamedToThoseBetween, with contexts of the standard library.
func TestFault083_OfTwoBoundsTheInnerOneIsNamedToThoseBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := &limit{probe: probe{stage: policy.StageTotalTimeout}, after: 2 * time.Second}
		between := &probe{}
		_, err := resilience.Do(t.Context(), resilience.Compose(total, between, &limit{after: time.Second}), func(context.Context) (int, error) {
			time.Sleep(3 * time.Second)
			return 0, errBackend
		})
		require.EqualError(t, between.last.Load().Err, "limit 1s reached: backend failed")
		require.EqualError(t, err, "limit 2s reached: limit 1s reached: backend failed")
	})
}
