package resilience_test

// What only shows when several policies stand around one operation. The faults of a single policy are tested beside it;
// the numbers are those of docs/faults.md.

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
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

// everyEngine returns one of each policy that keeps state.
func everyEngine() []policy.Layer {
	return []policy.Layer{
		breaker.New(), bulkhead.New(2, bulkhead.Queue(2, time.Minute)), hedge.New(), ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
		retry.New(), throttle.New(), timeout.PerAttempt(time.Second), timeout.Abandon(time.Second), timeout.Total(time.Minute),
	}
}

// What go vet looks for is a type with Lock and Unlock, at any depth, which sync/atomic's types have too.
func TestFault055_VetFlagsCopiesOfEveryPolicy(t *testing.T) {
	locker := reflect.TypeFor[sync.Locker]()
	var flagged func(typ reflect.Type) bool
	flagged = func(typ reflect.Type) bool {
		if reflect.PointerTo(typ).Implements(locker) {
			return true
		}
		switch typ.Kind() {
		case reflect.Array:
			return flagged(typ.Elem())
		case reflect.Struct:
			for field := range typ.Fields() {
				if flagged(field.Type) {
					return true
				}
			}
		}
		return false
	}
	for _, layer := range everyEngine() {
		typ := reflect.TypeOf(layer)
		require.Equal(t, reflect.Pointer, typ.Kind(), "%v is no pointer", typ)
		require.True(t, flagged(typ.Elem()), "go vet would not notice a copy of a %v", typ.Elem())
	}
	require.False(t, flagged(reflect.TypeFor[struct{ n int }]()), "the test finds locks where there are none")
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

func TestFault168_AProbeThatWaitsForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opensAt(1, 5*time.Second, breaker.ProbeLease(5*time.Second))
		tokens := ratelimit.Every(10*time.Second, 1, ratelimit.MaxWait(time.Minute))
		backend := resilience.Compose(db, tokens)
		require.Equal(t, errBackend, backend.Run(t.Context(), func(context.Context) error { return errBackend }))
		time.Sleep(5 * time.Second) // the open time; the next token comes 5 s later
		_, ticket, err := tokens.Admit(t.Context())
		require.NoError(t, err)
		tokens.Settle(t.Context(), ticket, policy.Outcome{Kind: policy.Returned}) // somebody else takes it
		require.Equal(t, breaker.HalfOpen, db.State())

		first := make(chan error, 1)
		go func() { first <- backend.Run(context.Background(), func(context.Context) error { return nil }) }()
		synctest.Wait()
		require.ErrorIs(t, backend.Run(t.Context(), func(context.Context) error { return nil }), breaker.ErrOpen, "the slot is taken")

		time.Sleep(5 * time.Second) // the lease
		permit, err := policy.Acquire(t.Context(), db)
		require.NoError(t, err, "the lease is over: another probe")
		require.True(t, permit.Done(nil))
		require.Equal(t, breaker.Closed, db.State())
		require.NoError(t, <-first, "the probe that lost its lease is not interrupted")
		require.Equal(t, uint64(1), db.Snapshot().Stale, "and says nothing")
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

// The deadline of the caller, an attempt timeout and a total timeout are all deadlines, and can be told apart.
func TestFault076_TimeoutsCanBeToldFromTheCallersDeadline(t *testing.T) {
	hang := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	for name, c := range map[string]struct {
		layer policy.Layer
		own   bool // the library's
		code  string
	}{
		"the caller's deadline": {resilience.Compose(), false, "deadline"},
		"an attempt timeout":    {timeout.PerAttempt(time.Second), true, "timeout.attempt"},
		"a total timeout":       {timeout.Total(time.Second), true, "timeout.total"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := opensAt(1, time.Minute)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := resilience.Do(ctx, resilience.Compose(c.layer, db), hang)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, c.own, errors.Is(err, timeout.ErrTimeout))
				require.Equal(t, c.code, policy.Code(err))
				require.Equal(t, breaker.Open, db.State(), "each is a failure")
			})
		})
	}
}

// Attempts and waits together end by the total time, whatever the operation and the attempt timeout do.
func TestFault115_TheTotalTimeoutBoundsAttemptsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for total := 350 * time.Millisecond; total < 3*time.Second; total += 37 * time.Millisecond {
			p := resilience.Compose(timeout.Total(total), steady(1000, 100*time.Millisecond), timeout.PerAttempt(300*time.Millisecond))
			start, attempts := time.Now(), 0
			_, err := resilience.Do(t.Context(), p, func(ctx context.Context) (int, error) {
				attempts++
				<-ctx.Done()
				return 0, ctx.Err()
			})
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.LessOrEqual(t, time.Since(start), total)
			require.LessOrEqual(t, attempts, int(total/(400*time.Millisecond))+1)
			require.Positive(t, attempts)
		}
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

func TestOpenBodiesKeepTheirSlots(t *testing.T) {
	slots := bulkhead.New(2)
	p := resilience.Compose(steady(1, 0), opensAt(1, time.Minute), slots)
	var permits []*policy.Permit
	for i := range 5 {
		_, permit, err := resilience.Open(t.Context(), p, connect)
		if i < 2 {
			require.NoError(t, err)
			permits = append(permits, permit)
			continue
		}
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.Nil(t, permit)
	}
	require.True(t, permits[0].Done(nil))
	_, permit, err := resilience.Open(t.Context(), p, connect)
	require.NoError(t, err)
	require.True(t, permit.Done(nil))
	require.True(t, permits[1].Done(nil))
	require.Zero(t, slots.Snapshot().InFlight)
}

func TestTimeoutsAroundAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := resilience.Compose(timeout.Total(10*time.Second), steady(1, 0), timeout.PerAttempt(300*time.Millisecond))
		after := func(d time.Duration) policy.Func[*stream] {
			return func(ctx context.Context) (*stream, error) {
				select {
				case <-time.After(d):
					return &stream{ctx}, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		}
		s, permit, err := resilience.Open(t.Context(), p, after(200*time.Millisecond))
		require.NoError(t, err)
		time.Sleep(800 * time.Millisecond)
		require.NoError(t, s.read(), "the whole body")
		require.True(t, permit.Done(nil))

		_, permit, err = resilience.Open(t.Context(), p, after(301*time.Millisecond))
		require.ErrorIs(t, err, timeout.ErrTimeout, "headers that come too late")
		require.Equal(t, "timeout.attempt", policy.Code(err))
		require.Nil(t, permit)

		s, permit, err = resilience.Open(t.Context(), p, after(0))
		require.NoError(t, err)
		time.Sleep(11 * time.Second)
		require.ErrorContains(t, s.read(), "total timeout 10s expired")
		require.Equal(t, "timeout.total", policy.Code(s.read()))
		require.True(t, permit.Done(s.read()))
	})
}

// Streams of an hour whose opening fails once in a hundred times: a breaker at 50 % stays closed, and a probe that opens a
// stream closes the breaker when it has opened.
func TestOpenStreamsDoNotBiasABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := breaker.New(breaker.FailureRate(0.5, 5), breaker.OpenFor(5*time.Second), breaker.Jitter(0))
		for i := range 1000 {
			_, permit, err := resilience.Open(t.Context(), db, answer(1, map[bool]error{true: errBackend}[i%100 == 99]))
			require.NotErrorIs(t, err, breaker.ErrOpen)
			time.AfterFunc(time.Hour, func() { permit.Done(nil) })
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, breaker.Closed, db.State())
		db.Trip()
		time.Sleep(5 * time.Second)
		_, permit, err := resilience.Open(t.Context(), db, connect)
		require.NoError(t, err)
		require.Equal(t, breaker.Closed, db.State())
		require.True(t, permit.Done(nil))
		time.Sleep(2 * time.Hour)
		require.Equal(t, breaker.Closed, db.State())
	})
}
