package resilience_test

// Faults of composition: what only shows when several policies stand around one operation. The numbers are those of
// docs/faults.md; the faults of a single policy are tested beside it.

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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

// steady is a retry whose delays a test can predict.
func steady(attempts int, delay time.Duration, more ...retry.Option) *retry.Retrier {
	options := []retry.Option{retry.Attempts(attempts), retry.Constant(delay), retry.NoJitter(), retry.NoBudget()}
	return retry.New(append(options, more...)...)
}

// opensAt is a breaker that opens at n consecutive failures, for exactly d.
func opensAt(n int, d time.Duration, more ...breaker.Option) *breaker.Breaker {
	options := []breaker.Option{breaker.ConsecutiveFailures(n), breaker.OpenFor(d), breaker.Jitter(0)}
	return breaker.New(append(options, more...)...)
}

// fails is an operation that counts its calls and always fails.
func fails(calls *int) policy.Func[int] {
	return func(context.Context) (int, error) {
		*calls++
		return 0, errBackend
	}
}

// TestTraceOfABreaker is the story that is told of every breaker: threshold 3, open for 5 s.
func TestTraceOfABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opensAt(3, 5*time.Second)
		calls := 0
		for range 3 {
			require.Equal(t, breaker.Closed, db.State())
			_, err := resilience.Do(t.Context(), db, fails(&calls))
			require.Equal(t, errBackend, err)
		}
		require.Equal(t, breaker.Open, db.State())

		_, err := resilience.Do(t.Context(), db, fails(&calls))
		require.ErrorIs(t, err, breaker.ErrOpen)
		wait, known := policy.RetryAfter(err)
		require.True(t, known)
		require.Equal(t, 5*time.Second, wait)
		require.Equal(t, 3, calls, "the operation was not reached")

		time.Sleep(6 * time.Second)
		require.Equal(t, breaker.HalfOpen, db.State())
		value, err := resilience.Do(t.Context(), db, answer(42, nil))
		require.NoError(t, err)
		require.Equal(t, 42, value)
		require.Equal(t, breaker.Closed, db.State())

		_, _ = resilience.Do(t.Context(), db, fails(&calls))
		_, _ = resilience.Do(t.Context(), db, fails(&calls))
		require.Equal(t, breaker.Closed, db.State(), "its count was reset: two failures do not open it again")
	})
}

// TestFault163_RetryConsultsTheBreaker: the same policies in both orders, side by side.
func TestFault162_163_OrderOfRetryAndBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Log("composed: the breaker is inside, sees every attempt, and is consulted")
		inside := opensAt(1, time.Minute)
		calls := 0
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(steady(4, time.Second), inside), fails(&calls))
		require.Equal(t, 1, calls, "it opened at the first attempt: no other is made")
		require.Zero(t, time.Since(start), "and no sleep")
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.ErrorIs(t, err, policy.ErrRejected)
		require.ErrorIs(t, err, errBackend)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, 1, gave.Attempts)
		require.Equal(t, errBackend, gave.Last)

		t.Log("open already: the call ends with the bare rejection")
		_, err = resilience.Do(t.Context(), resilience.Compose(steady(4, time.Second), inside), fails(&calls))
		require.Equal(t, 1, calls)
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, err, breaker.ErrOpen)
		_, isRetryError := errors.AsType[*retry.Error](err)
		require.False(t, isRetryError)

		t.Log("moved outside: the breaker sees one outcome per call, and masks nothing from the retry")
		outside := opensAt(2, time.Minute)
		masked := resilience.Compose(steady(4, time.Second), policy.At(policy.StageShed, outside))
		calls = 0
		_, err = resilience.Do(t.Context(), masked, fails(&calls))
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 4, calls)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, breaker.Closed, outside.State(), "four failed attempts are one failure to it")
		_, _ = resilience.Do(t.Context(), masked, fails(&calls))
		require.Equal(t, 8, calls)
		require.Equal(t, breaker.Open, outside.State())
	})
}

func TestFault163_ABreakerThatOpensDuringTheSleepEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opensAt(5, time.Minute)
		calls := 0
		time.AfterFunc(300*time.Millisecond, db.Trip)
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(steady(4, time.Second), db), fails(&calls))
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 1, calls)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
	})
}

func TestFault164_AFailedProbeEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opensAt(1, time.Second)
		db.Trip()
		time.Sleep(time.Second)
		calls := 0
		// The delay equals the open time: each retry would meet a new half-open episode.
		_, err := resilience.Do(t.Context(), resilience.Compose(steady(5, time.Second), db), fails(&calls))
		require.Equal(t, 1, calls)
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.ErrorIs(t, err, errBackend)
	})
}

// A probe that is refused further in hands its slot back, and refusals further in never count against the dependency.
func TestFault007_165_InnerRejectionsAreNeutral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := bulkhead.New(1)
		held, err := policy.Acquire(t.Context(), full)
		require.NoError(t, err)
		empty := ratelimit.Every(time.Hour, 1)
		_, _, err = empty.Admit(t.Context())
		require.NoError(t, err)
		for _, limit := range []policy.Layer{full, empty} {
			db := opensAt(1, time.Second)
			p := resilience.Compose(db, limit)
			for range 5 {
				_, err = resilience.Do(t.Context(), p, answer(1, nil))
				require.ErrorIs(t, err, policy.ErrRejected)
				require.NotErrorIs(t, err, breaker.ErrOpen)
			}
			require.Equal(t, breaker.Closed, db.State())

			db.Trip()
			time.Sleep(time.Second)
			for range 5 {
				_, err = resilience.Do(t.Context(), p, answer(1, nil))
				require.NotErrorIs(t, err, breaker.ErrOpen, "the slot came back each time")
				require.ErrorIs(t, err, policy.ErrRejected)
			}
			require.Equal(t, breaker.HalfOpen, db.State())
			_, err = resilience.Do(t.Context(), db, answer(1, nil))
			require.NoError(t, err)
			require.Equal(t, breaker.Closed, db.State())
		}
		require.True(t, held.Done(nil))
	})
}

// The limiter stands inside the breaker, so an open breaker spends no token; moved outside, the token goes back.
func TestFault166_AnOpenBreakerSpendsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, outside := range []bool{false, true} {
			db := opensAt(1, time.Hour)
			db.Trip()
			quota := ratelimit.Every(time.Hour, 3)
			var limit policy.Layer = quota
			if outside {
				limit = policy.At(policy.StageShed, quota)
			}
			for range 10 {
				_, err := resilience.Do(t.Context(), resilience.Compose(db, limit), answer(1, nil))
				require.ErrorIs(t, err, breaker.ErrOpen)
			}
			db.Reset()
			for range 3 {
				_, err := resilience.Do(t.Context(), resilience.Compose(db, limit), answer(1, nil))
				require.NoError(t, err, "outside: %v", outside)
			}
			_, err := resilience.Do(t.Context(), resilience.Compose(db, limit), answer(1, nil))
			require.ErrorIs(t, err, ratelimit.ErrLimited)
		}
	})
}

func TestFault169_TotalAndPerAttemptTimeout(t *testing.T) {
	hang := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	t.Run("per attempt: each attempt has its own, and the breaker counts each once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db := opensAt(3, time.Minute)
			start := time.Now()
			p := resilience.Compose(steady(3, time.Second), db, timeout.PerAttempt(2*time.Second))
			_, err := resilience.Do(t.Context(), p, hang)
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.Equal(t, 8*time.Second, time.Since(start))
			require.Equal(t, breaker.Open, db.State())
		})
	})
	t.Run("total: all attempts and waits together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db := opensAt(3, time.Minute)
			calls := 0
			start := time.Now()
			p := resilience.Compose(timeout.Total(5*time.Second), steady(9, time.Second), db)
			_, err := resilience.Do(t.Context(), p, func(ctx context.Context) (int, error) {
				calls++
				timer := time.NewTimer(1500 * time.Millisecond)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
				return 0, errBackend
			})
			require.ErrorIs(t, err, errBackend)
			require.Equal(t, 2, calls, "1.5 s, 1 s, 1.5 s; then 1 s of waiting would end at the deadline")
			require.LessOrEqual(t, time.Since(start), 5*time.Second)
			require.Equal(t, breaker.Closed, db.State())
		})
	})
	t.Run("the total timeout is a failure, once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db := opensAt(2, time.Minute)
			p := resilience.Compose(timeout.Total(time.Second), steady(5, 0), db)
			_, err := resilience.Do(t.Context(), p, hang)
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.Equal(t, breaker.Closed, db.State())
			_, err = resilience.Do(t.Context(), p, hang)
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.Equal(t, breaker.Open, db.State())
		})
	})
}

func TestFault170_WhoHoldsAPermitWhileRetrySleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1)
		for _, c := range []struct {
			name  string
			layer policy.Layer
			held  int
		}{
			{"composed: the slot is free during the sleep", slots, 0},
			{"moved to the front door: the slot is held during the sleep", policy.At(policy.StageShed, slots), 1},
		} {
			var during atomic.Int64
			time.AfterFunc(500*time.Millisecond, func() { during.Store(int64(slots.Snapshot().InFlight)) })
			call, _ := policytest.Script(1, errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(steady(2, time.Second), c.layer), call)
			require.NoError(t, err)
			require.EqualValues(t, c.held, during.Load(), c.name)
			require.Zero(t, slots.Snapshot().InFlight)
		}
	})
}

func TestFault006_075_TheCallersCancelIsNeutral(t *testing.T) {
	db := opensAt(3, time.Hour)
	p := resilience.Compose(steady(3, time.Hour), db, bulkhead.New(8), timeout.PerAttempt(time.Minute))
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := resilience.Do(ctx, p, func(context.Context) (int, error) {
			cancel()
			return 0, errors.New("driver: canceling statement due to user request")
		})
		require.Error(t, err)
	}
	require.Equal(t, breaker.Closed, db.State())
}

func TestFault059_PanicsOpenTheBreaker(t *testing.T) {
	db := opensAt(3, time.Hour)
	for range 3 {
		recovered, _ := caught(func() {
			_, _ = resilience.Do(t.Context(), resilience.Compose(steady(5, 0), db), func(context.Context) (int, error) { panic("boom") })
		})
		require.Equal(t, "boom", recovered)
	}
	require.Equal(t, breaker.Open, db.State())
}

// TestFault061_PanicInAFunctionOfTheUser: a predicate that panics leaves every guard settled.
func TestFault061_PanicInAFunctionOfTheUser(t *testing.T) {
	slots := bulkhead.New(1)
	outer := policy.At(policy.StageShed, slots)
	again := steady(3, 0, retry.If(func(error) bool { panic("predicate") }))
	calls := 0
	for range 3 {
		recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), resilience.Compose(outer, again), fails(&calls)) })
		require.Equal(t, "predicate", recovered)
		require.Zero(t, slots.Snapshot().InFlight)
	}
	require.Equal(t, 3, calls)
}

func TestFault048_175_OneBreakerInTwoPipelinesAndForTwoTypes(t *testing.T) {
	db := opensAt(2, time.Hour)
	reads, writes := resilience.Compose(steady(1, 0), db), resilience.Compose(db, bulkhead.New(2))
	_, err := resilience.Do(t.Context(), reads, func(context.Context) (string, error) { return "", errBackend })
	require.ErrorIs(t, err, errBackend)
	require.ErrorIs(t, writes.Run(t.Context(), func(context.Context) error { return errBackend }), errBackend)
	require.Equal(t, breaker.Open, db.State())
	_, err = breaker.Policy[int]{Breaker: db}.Do(t.Context(), answer(1, nil))
	require.ErrorIs(t, err, breaker.ErrOpen)
	_, err = resilience.For[string](reads).Do(t.Context(), func(context.Context) (string, error) { return "x", nil })
	require.ErrorIs(t, err, breaker.ErrOpen)
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

// TestFault176_LedgerOfAPipelineUnderLoad: what the observer counted adds up, and agrees with what the callers saw.
func TestFault176_LedgerOfAPipelineUnderLoad(t *testing.T) {
	recorder := &policytest.Recorder{}
	db := breaker.New(breaker.FailureRate(0.5, 10), breaker.CountWindow(20), breaker.OpenFor(time.Millisecond))
	slots := bulkhead.New(4, bulkhead.Queue(4, time.Millisecond))
	p := resilience.Compose(resilience.Observe(recorder), steady(3, 0), db, slots)
	var entered, panics, successes, cancelled, others atomic.Int64
	const callers, each = 16, 200
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(context.Background())
				recovered, _ := caught(func() {
					_, err := resilience.Do(ctx, p, func(context.Context) (int, error) {
						entered.Add(1)
						switch (caller + i) % 7 {
						case 0:
							return 0, errBackend
						case 1:
							panic("boom")
						case 2:
							cancel()
							return 0, ctx.Err()
						}
						return 1, nil
					})
					switch {
					case err == nil:
						successes.Add(1)
					case errors.Is(err, context.Canceled):
						cancelled.Add(1)
					default:
						others.Add(1)
					}
				})
				if recovered != nil {
					panics.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.Equal(t, callers*each, recorder.Count(policy.EventCall))
	require.EqualValues(t, entered.Load(), recorder.Count(policy.EventAttempt))
	require.EqualValues(t, callers*each, successes.Load()+cancelled.Load()+others.Load()+panics.Load())
	ended := map[policy.Kind]int64{}
	succeeded := int64(0)
	for _, event := range recorder.Events() {
		if event.Kind == policy.EventCall {
			ended[event.Outcome.Kind]++
			if event.Outcome.Succeeded() {
				succeeded++
			}
		}
	}
	require.Equal(t, successes.Load(), succeeded)
	require.Equal(t, panics.Load(), ended[policy.Panicked])
	require.Zero(t, ended[policy.Exited])
	require.Zero(t, slots.Snapshot().InFlight)
	require.Positive(t, panics.Load())
	require.Positive(t, others.Load())
}

func TestTheOrderOfTheArgumentsDoesNotMatter(t *testing.T) {
	p := resilience.Compose(
		timeout.PerAttempt(300*time.Millisecond),
		bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond)),
		ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second)),
		retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, 2*time.Second)),
		timeout.Total(2*time.Second),
	)
	require.Equal(t, `total timeout 2s > retry 4 > breaker "users-db" > rate limit 100/s burst 10 > bulkhead 16+8 > attempt timeout 300ms`, p.String())
}

func TestAllocationsOfRealPipelines(t *testing.T) {
	ctx := context.Background()
	four := resilience.Compose(retry.New(), breaker.New(breaker.FailureRate(0.5, 20)), ratelimit.New(noLimit, 1<<29), bulkhead.New(8))
	require.Zero(t, testing.AllocsPerRun(200, func() { _, _ = resilience.Do(ctx, four, fetch) }))
	number := 0
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		_, _ = resilience.Do(ctx, four, func(context.Context) (int, error) { number++; return number, nil })
	}), 1.0, "the caller's own closure")

	open := opensAt(1, time.Hour)
	open.Trip()
	for layer, allocations := range map[policy.Layer]float64{
		open: 0,
		resilience.Compose(timeout.PerAttempt(time.Second), open, bulkhead.New(3)): 0,
		// FAULT 237: the gate is asked for the attempt that would come, whose context has a number of its own.
		resilience.Compose(retry.New(), open): 1,
	} {
		require.Equal(t, allocations, testing.AllocsPerRun(200, func() {
			if _, err := resilience.Do(ctx, layer, fetch); !errors.Is(err, breaker.ErrOpen) {
				t.Error(err)
			}
		}))
	}
}
