package hedge_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errBackend = errors.New("backend failed")
	errOther   = errors.New("other backend failed")
)

const ms = time.Millisecond

// step is what one attempt does: it takes some time, heeding its context or not, and ends.
type step struct {
	takes  time.Duration
	err    error
	panics any
	exits  bool
	deaf   bool // ignores its context
	before func(ctx context.Context)
}

// script returns an operation that does one step per attempt, the number of the attempt as its value, and counts.
func script(steps ...step) (policy.Func[int], *atomic.Int64) {
	calls := &atomic.Int64{}
	return func(ctx context.Context) (int, error) {
		number := int(calls.Add(1))
		s := steps[min(number, len(steps))-1]
		if s.before != nil {
			s.before(ctx)
		}
		if s.deaf {
			time.Sleep(s.takes)
		} else {
			select {
			case <-time.After(s.takes):
			case <-ctx.Done():
				return -number, ctx.Err()
			}
		}
		switch {
		case s.panics != nil:
			theOriginalFrame(s.panics)
		case s.exits:
			runtime.Goexit()
		}
		return number, s.err
	}, calls
}

func theOriginalFrame(value any) { panic(value) }

func after(delay time.Duration, opts ...hedge.Option) *hedge.Hedge {
	return hedge.New(append([]hedge.Option{hedge.Idempotent(), hedge.After(delay)}, opts...)...)
}

// caught calls f and returns what it panicked with, and whether it ended with runtime.Goexit.
func caught(f func()) (recovered any, exited bool) {
	done := make(chan struct{})
	exited = true
	go func() {
		defer close(done)
		defer func() {
			if recovered = recover(); recovered != nil {
				exited = false
			}
		}()
		f()
		exited = false
	}()
	<-done
	return recovered, exited
}

func TestTheFirstSuccessWinsAtOnce(t *testing.T) {
	tests := map[string]struct {
		opts  []hedge.Option
		steps []step
		want  int
		err   error
		takes time.Duration
		calls int64
	}{
		"before the delay":               {steps: []step{{takes: 5 * ms}}, want: 1, takes: 5 * ms, calls: 1},
		"the extra attempt":              {steps: []step{{takes: time.Second}, {takes: 3 * ms}}, want: 2, takes: 13 * ms, calls: 2},
		"the first after all":            {steps: []step{{takes: 15 * ms}, {takes: time.Second}}, want: 1, takes: 15 * ms, calls: 2},
		"a deaf loser holds up nobody":   {steps: []step{{takes: time.Second, deaf: true}, {takes: 3 * ms}}, want: 2, takes: 13 * ms, calls: 2},
		"one extra only":                 {steps: []step{{takes: 50 * ms}}, want: 1, takes: 50 * ms, calls: 2},
		"three extra":                    {opts: []hedge.Option{hedge.Extra(3)}, steps: []step{{takes: time.Hour}, {takes: time.Hour}, {takes: time.Hour}, {takes: ms}}, want: 4, takes: 31 * ms, calls: 4},
		"a failure before the delay":     {steps: []step{{takes: 5 * ms, err: errBackend}}, want: 1, err: errBackend, takes: 5 * ms, calls: 1},
		"a failure while another runs":   {steps: []step{{takes: 12 * ms, err: errBackend}, {takes: 30 * ms}}, want: 2, takes: 40 * ms, calls: 2},
		"the extra one fails, wait":      {steps: []step{{takes: 30 * ms}, {takes: ms, err: errBackend}}, want: 1, takes: 30 * ms, calls: 2},
		"all fail":                       {steps: []step{{takes: 30 * ms, err: errBackend}, {takes: ms, err: errOther}}, want: 1, err: errOther, takes: 30 * ms, calls: 2},
		"after a failure, at once":       {opts: []hedge.Option{hedge.AfterFailure()}, steps: []step{{takes: 5 * ms, err: errBackend}, {takes: ms}}, want: 2, takes: 6 * ms, calls: 2},
		"after a failure, the delay too": {opts: []hedge.Option{hedge.AfterFailure(), hedge.Extra(2)}, steps: []step{{takes: 5 * ms, err: errBackend}, {takes: time.Hour}, {takes: ms}}, want: 3, takes: 16 * ms, calls: 3},
		"after failures, no more":        {opts: []hedge.Option{hedge.AfterFailure(), hedge.Extra(2)}, steps: []step{{takes: ms, err: errBackend}}, want: 3, err: errBackend, takes: 3 * ms, calls: 3},
		"a rejection never triggers":     {opts: []hedge.Option{hedge.AfterFailure()}, steps: []step{{takes: ms, err: &policy.Rejection{Kind: "test"}}}, want: 1, err: policy.ErrRejected, takes: ms, calls: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := after(10*ms, test.opts...)
				op, calls := script(test.steps...)
				start := time.Now()
				value, err := resilience.Do(t.Context(), h, op)
				require.Equal(t, test.takes, time.Since(start))
				require.Equal(t, test.want, value)
				require.ErrorIs(t, err, test.err)
				require.Equal(t, test.calls, calls.Load())
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				s := h.Snapshot()
				require.EqualValues(t, test.calls-1, s.Extra)
				require.Zero(t, s.Running)
				require.Zero(t, s.Left)
			})
		})
	}
}

func TestAFailureIsFollowedAtOnceAlsoWhereTheDeadlineComesBeforeTheDelay(t *testing.T) {
	for _, afterFailure := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			h, want := after(time.Minute), 1
			if afterFailure {
				h, want = after(time.Minute, hedge.AfterFailure()), 2
			}
			op, calls := script(step{takes: 5 * ms, err: errBackend}, step{takes: 5 * ms})
			_, err := resilience.Do(ctx, h, op)
			require.Equal(t, afterFailure, err == nil)
			require.EqualValues(t, want, calls.Load())
		})
	}
}

func TestErrorsOfAllAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op, _ := script(step{takes: 30 * ms, err: errBackend}, step{takes: ms, err: errOther})
		_, err := resilience.Do(t.Context(), after(10*ms), op)
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, errOther)
		require.EqualError(t, err, "hedged attempts failed: other backend failed; backend failed")
		both, ok := errors.AsType[*hedge.Error](err)
		require.True(t, ok)
		require.Equal(t, []error{errOther, errBackend}, both.Errs)

		op, _ = script(step{takes: 30 * ms, err: errBackend}, step{takes: ms, err: errBackend})
		_, err = resilience.Do(t.Context(), after(10*ms), op)
		require.Equal(t, errBackend, err, "one error is not said twice")

		op, _ = script(step{takes: 30 * ms, err: errBackend}, step{takes: ms, err: &policy.Rejection{Kind: "test"}})
		_, err = resilience.Do(t.Context(), after(10*ms), op)
		require.Equal(t, errBackend, err, "the call was not refused")
	})
}

func TestFault063_153_PanicOfAnyAttemptReachesTheCaller(t *testing.T) {
	for number := range 2 {
		for _, value := range []any{"text", errBackend, http.ErrAbortHandler, 42} {
			synctest.Test(t, func(t *testing.T) {
				var stack string
				var heard any
				h := after(10*ms, hedge.OnPanic(func(v any, s []byte) { heard, stack = v, string(s) }))
				steps := []step{{takes: time.Hour}, {takes: time.Hour}}
				steps[number].panics, steps[number].takes = value, 11*ms
				op, _ := script(steps...)
				recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), h, op) })
				require.True(t, recovered == value, "got %v", recovered)
				synctest.Wait()
				require.True(t, heard == value)
				require.Contains(t, stack, "theOriginalFrame")
				require.Zero(t, h.Snapshot().Panics, "the caller has heard of it")
				require.Zero(t, h.Snapshot().Running)
			})
		}
	}
}

func TestFault064_PanicAfterTheCallerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []any
		h := after(10*ms, hedge.OnPanic(func(v any, stack []byte) {
			heard = append(heard, v)
			if !strings.Contains(string(stack), "theOriginalFrame") {
				t.Error("the stack of the attempt is missing")
			}
			panic("in the handler")
		}))
		op, _ := script(step{takes: 50 * ms, panics: "late", deaf: true}, step{takes: 3 * ms})
		value, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.Equal(t, 2, value)
		require.Equal(t, 1, h.Snapshot().Left)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []any{"late"}, heard)
		require.EqualValues(t, 1, h.Snapshot().Panics)
		require.Zero(t, h.Snapshot().Left)

		silent := after(10 * ms)
		op, _ = script(step{takes: 50 * ms, panics: "late", deaf: true}, step{takes: 3 * ms})
		_, err = resilience.Do(t.Context(), silent, op)
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.EqualValues(t, 1, silent.Snapshot().Panics)
	})
}

func TestFault065_153_GoexitOfAnyAttemptReachesTheCaller(t *testing.T) {
	for number := range 2 {
		synctest.Test(t, func(t *testing.T) {
			h := after(10 * ms)
			steps := []step{{takes: time.Hour}, {takes: time.Hour}}
			steps[number].exits, steps[number].takes = true, 11*ms
			op, _ := script(steps...)
			recovered, exited := caught(func() { _, _ = resilience.Do(t.Context(), h, op) })
			require.Nil(t, recovered)
			require.True(t, exited)
			synctest.Wait()
			require.Zero(t, h.Snapshot().Running)
		})
	}
}

func TestTheCallersCancellationIsSeenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errCause := errors.New("the caller's cause")
		for _, deaf := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(25*ms, func() { cancel(errCause) })
			h := after(10 * ms)
			op, calls := script(step{takes: time.Second, deaf: deaf})
			start := time.Now()
			_, err := resilience.Do(ctx, h, op)
			require.ErrorIs(t, err, context.Canceled)
			require.EqualValues(t, 2, calls.Load())
			if !deaf {
				require.Equal(t, 25*ms, time.Since(start))
				require.Zero(t, h.Snapshot().Left)
				continue
			}
			require.Equal(t, 35*ms, time.Since(start), "the grace of 10 ms")
			require.ErrorIs(t, err, errCause)
			require.Equal(t, 2, h.Snapshot().Left)
			time.Sleep(time.Second)
			require.Zero(t, h.Snapshot().Left)
		}
	})
}

func TestFault080_SuccessSurvivesACancel(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		value, err := resilience.Do(ctx, after(time.Hour), func(context.Context) (int, error) { cancel(); return 7, nil })
		require.NoError(t, err)
		require.Equal(t, 7, value)
	}
}

func TestFault092_TheLastErrorIsKeptWhenTheCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
		defer cancel()
		op, _ := script(step{takes: time.Second, deaf: true}, step{takes: ms, err: errBackend})
		_, err := resilience.Do(ctx, after(10*ms), op)
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
	})
}

func TestFault150_DiscardedResultsAreReleasedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var released []any
		h := after(10*ms, hedge.Extra(2), hedge.OnDiscard(func(value any) {
			mu.Lock()
			defer mu.Unlock()
			released = append(released, value)
			panic("in the closer") // must not spoil the call
		}))
		op, _ := script(step{takes: 30 * ms, deaf: true}, step{takes: 30 * ms, deaf: true}, step{takes: ms})
		value, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.Equal(t, 3, value)
		time.Sleep(time.Second)
		synctest.Wait()
		require.ElementsMatch(t, []any{1, 2}, released)
		require.EqualValues(t, 2, h.Snapshot().Discarded)
		require.EqualValues(t, 2, h.Snapshot().Panics)

		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		released = nil
		late := after(time.Millisecond, hedge.OnDiscard(func(value any) { released = append(released, value) }))
		op, _ = script(step{takes: 100 * ms, deaf: true}, step{takes: time.Hour})
		_, err = resilience.Do(ctx, late, op)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []any{1}, released, "a success after the caller left")
	})
}

// TestFault266_GoexitInOnDiscard: as t.FailNow does. It ends neither the call nor the attempt, also when the loser is
// faster to say that it has ended than the winner.
func TestFault266_GoexitInOnDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := 0
		h := after(10*ms, hedge.OnDiscard(func(any) { released++; runtime.Goexit() }))
		var err error
		recovered, exited := caught(func() {
			err = h.Run(t.Context(), func(ctx context.Context) error {
				if hedge.Attempt(ctx) == 2 {
					h.Discard(2) // its success came later, which the engine says so
					return errLost
				}
				time.Sleep(20 * ms)
				return nil
			})
		})
		require.Nil(t, recovered)
		require.False(t, exited)
		require.NoError(t, err)
		require.Equal(t, 1, released)
		require.EqualValues(t, 1, h.Snapshot().Discarded)
		require.Zero(t, h.Snapshot().Panics)
	})
}

// TestFault150_EveryValueHasOneOwner: of any race, each success is either the result or discarded, once.
func TestFault150_EveryValueHasOneOwner(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	own := func(value any) {
		mu.Lock()
		defer mu.Unlock()
		seen[value.(int)]++
	}
	h := hedge.New(hedge.Idempotent(), hedge.After(time.Nanosecond), hedge.Extra(3), hedge.Limit(10, 1e9), hedge.OnDiscard(own))
	var made atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 300 {
				value, err := resilience.Do(t.Context(), h, func(context.Context) (int, error) {
					number := int(made.Add(1))
					for range number % 7 {
						runtime.Gosched()
					}
					if number%5 == 0 {
						own(number)
						return 0, errBackend
					}
					return number, nil
				})
				if err == nil {
					own(value)
				}
			}
		})
	}
	callers.Wait()
	require.Eventually(t, func() bool { return h.Snapshot().Running == 0 }, time.Minute, ms)
	require.Len(t, seen, int(made.Load()))
	for value, times := range seen {
		require.Equal(t, 1, times, "value %d", value)
	}
	require.Greater(t, made.Load(), int64(2400), "nothing was hedged")
}

func TestFault152_LosersAreCancelledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost context.Context
		op, _ := script(step{takes: time.Hour, before: func(ctx context.Context) { lost = ctx }}, step{takes: ms})
		_, err := resilience.Do(t.Context(), after(10*ms), op)
		require.NoError(t, err)
		require.ErrorIs(t, lost.Err(), context.Canceled)
		require.ErrorIs(t, context.Cause(lost), hedge.ErrLost)
	})
}

func TestMaxRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10*ms, hedge.MaxRunning(2))
		op, _ := script(step{takes: time.Minute, deaf: true}, step{takes: ms})
		_, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.Equal(t, 1, h.Snapshot().Left)
		op, _ = script(step{takes: time.Minute, deaf: true}, step{takes: time.Minute, deaf: true})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = resilience.Do(ctx, h, op)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second+10*ms, time.Since(start))
		require.Equal(t, 2, h.Snapshot().Left)
		op, calls := script(step{takes: time.Second})
		value, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.Equal(t, 1, value)
		require.EqualValues(t, 1, calls.Load(), "no room: the call is made, but not hedged")
		require.EqualValues(t, 2, h.Snapshot().OverMaxRunning)
		time.Sleep(time.Minute)
		require.Zero(t, h.Snapshot().Running)
	})
}

// judge is a guard that judges outcomes as a breaker does.
type judge struct {
	mu       sync.Mutex
	verdicts map[policy.Verdict]int
	held     int
	stage    policy.Stage
}

func (j *judge) Stage() policy.Stage { return j.stage }
func (j *judge) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held++
	return ctx, policy.Ticket{}, nil
}
func (j *judge) Settle(ctx context.Context, _ policy.Ticket, outcome policy.Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held--
	if j.verdicts == nil {
		j.verdicts = map[policy.Verdict]int{}
	}
	outcome.Canceled = outcome.Canceled || outcome.Err != nil && policy.Canceled(ctx) // as a Permit does it
	j.verdicts[outcome.Verdict(nil)]++
}

func TestFault155_TheCancelOfALoserIsNeutral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := &judge{stage: policy.StageBreaker}
		p := resilience.Compose(after(10*ms, hedge.Limit(1, 1000)), breaker)
		for range 100 {
			op, _ := script(step{takes: time.Hour, before: func(ctx context.Context) {}}, step{takes: ms})
			_, err := resilience.Do(t.Context(), p, op)
			require.NoError(t, err)
			driver := func(ctx context.Context) (int, error) { // turns the cancellation into an error of its own
				if hedge.Attempt(ctx) == 2 {
					return 2, nil
				}
				<-ctx.Done()
				return 0, errors.New("canceling statement due to user request")
			}
			_, err = resilience.Do(t.Context(), p, driver)
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, map[policy.Verdict]int{policy.Success: 200, policy.Neutral: 200}, breaker.verdicts)
		require.Zero(t, breaker.held)
	})
}

// TestFault155_HedgingAHealthyServiceKeepsTheBreakerClosed: with the real breaker, and a service that is only slow.
func TestFault155_HedgingAHealthyServiceKeepsTheBreakerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.FailureRate(0.3, 10))
		h := after(2*ms, hedge.Limit(1, 1000))
		p := resilience.Compose(retry.New(), h, b)
		for range 100 {
			op, _ := script(step{takes: 10 * ms}, step{takes: ms})
			value, err := resilience.Do(t.Context(), p, op)
			require.NoError(t, err)
			require.Equal(t, 2, value)
		}
		synctest.Wait()
		require.Equal(t, breaker.Closed, b.State())
		require.EqualValues(t, 100, h.Snapshot().Won)
	})
}

// TestAnOpenBreakerInsideRefusesTheExtraAttemptOnly: the first attempt, admitted before, goes on.
func TestAnOpenBreakerInsideRefusesTheExtraAttemptOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New()
		op, calls := script(step{takes: 50 * ms})
		time.AfterFunc(5*ms, b.Trip)
		value, err := resilience.Do(t.Context(), resilience.Compose(after(10*ms), b), op)
		require.NoError(t, err)
		require.Equal(t, 1, value)
		require.EqualValues(t, 1, calls.Load())
		_, err = resilience.Do(t.Context(), resilience.Compose(after(10*ms), b), op)
		require.ErrorIs(t, err, breaker.ErrOpen, "at once")
	})
}

// refuser refuses extra attempts with an error of its own, as a third party's guard may.
type refuser struct{ err error }

func (*refuser) Stage() policy.Stage { return policy.StageBreaker }
func (r *refuser) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if hedge.Attempt(ctx) > 1 {
		return nil, policy.Ticket{}, r.err
	}
	return ctx, policy.Ticket{}, nil
}
func (*refuser) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestARefusalByAnyErrorDecidesNothing(t *testing.T) {
	for name, refusal := range map[string]error{
		"plain":     errors.New("full"),
		"expected":  classified{errBackend, policy.Expected},
		"permanent": classified{errBackend, policy.Permanent},
		"context":   context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, opts := range [][]hedge.Option{nil, {hedge.AfterFailure(), hedge.Extra(3)}} {
					p := resilience.Compose(after(100*ms, opts...), &refuser{refusal})
					start := time.Now()
					op, calls := script(step{takes: time.Second})
					value, err := resilience.Do(t.Context(), p, op)
					require.NoError(t, err, "the first attempt runs and succeeds")
					require.Equal(t, 1, value)
					require.Equal(t, time.Second, time.Since(start))
					require.EqualValues(t, 1, calls.Load())

					op, _ = script(step{takes: time.Second, err: errBackend})
					_, err = resilience.Do(t.Context(), p, op)
					require.Equal(t, errBackend, err, "a call one of whose attempts was made was not refused")
				}
			})
		})
	}
}

// impatient is an attempt timeout for extra attempts only, which bounds their wait in a queue inside it.
type impatient struct{ *timeout.Timeout }

func (i impatient) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if hedge.Attempt(ctx) == 1 {
		return ctx, policy.Ticket{}, nil
	}
	return i.Timeout.Admit(ctx)
}

// queue lets extra attempts wait for ever.
type queue struct{ refuser }

func (q *queue) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if hedge.Attempt(ctx) > 1 {
		<-ctx.Done()
		return nil, policy.Ticket{}, policy.ContextError(ctx)
	}
	return ctx, policy.Ticket{}, nil
}

func TestAWaitThatEndsInAQueueDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1, bulkhead.Queue(5, time.Hour))
		bound := policy.At(policy.StageRateLimit, impatient{timeout.PerAttempt(500 * ms)})
		p := resilience.Compose(after(100*ms), bound, slots)
		op, calls := script(step{takes: time.Second})
		value, err := resilience.Do(t.Context(), p, op)
		require.NoError(t, err, "the first attempt runs and succeeds")
		require.Equal(t, 1, value)
		require.EqualValues(t, 1, calls.Load())
		require.Zero(t, slots.Snapshot().InFlight)

		// The end of the caller's own context is in the error, beside the failure of the attempt that was made.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		op, _ = script(step{takes: 500 * ms, err: errBackend})
		_, err = resilience.Do(ctx, resilience.Compose(after(100*ms), &queue{}), op)
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestFault156_OnlyIdempotentWorkIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := t.Context()
		yes, no := retry.Idempotent(plain), retry.NotIdempotent(plain)
		for _, test := range []struct {
			name  string
			hedge *hedge.Hedge
			ctx   context.Context
			calls int64
		}{
			{"nothing said", hedge.New(hedge.After(10 * ms)), plain, 1},
			{"marked", hedge.New(hedge.After(10 * ms)), yes, 2},
			{"marked not", hedge.New(hedge.After(10 * ms)), no, 1},
			{"declared", after(10 * ms), plain, 2},
			{"declared, marked not", after(10 * ms), no, 1},
			{"taken back", after(10 * ms), retry.Idempotent(no), 2},
		} {
			op, calls := script(step{takes: time.Second})
			_, err := resilience.Do(test.ctx, test.hedge, op)
			require.NoError(t, err)
			require.Equal(t, test.calls, calls.Load(), test.name)
		}
	})
}

// TestFault157_RetryAndHedge: at most (retries+1)·(extra+1) attempts in either order, and a winner ends everything.
func TestFault157_RetryAndHedge(t *testing.T) {
	orders := map[string]func() *resilience.Pipeline{
		"retry(hedge)": func() *resilience.Pipeline {
			return resilience.Compose(retry.New(retry.Attempts(3), retry.Constant(0)), after(10*ms, hedge.Extra(2)))
		},
		"hedge(retry)": func() *resilience.Pipeline {
			return resilience.Compose(policy.At(policy.StageShed, after(10*ms, hedge.Extra(2))), retry.New(retry.Attempts(3), retry.Constant(0)))
		},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				op, calls := script(step{takes: 50 * ms, err: errBackend})
				_, err := resilience.Do(t.Context(), order(), op)
				require.ErrorIs(t, err, errBackend)
				require.EqualValues(t, 9, calls.Load())

				op, calls = script(step{takes: time.Hour}, step{takes: 5 * ms})
				value, err := resilience.Do(t.Context(), order(), op)
				require.NoError(t, err)
				require.Equal(t, 2, value)
				time.Sleep(2 * time.Hour)
				require.EqualValues(t, 2, calls.Load(), "the winner stops the retries")
			})
		})
	}
}

func TestAttemptNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 1, hedge.Attempt(t.Context()))
		var mu sync.Mutex
		var numbers []string
		inner := after(10 * ms)
		_, err := resilience.Do(t.Context(), after(35*ms), func(outside context.Context) (int, error) {
			return resilience.Do(outside, inner, func(ctx context.Context) (int, error) {
				mu.Lock()
				numbers = append(numbers, fmt.Sprintf("%d.%d", hedge.Attempt(outside), hedge.Attempt(ctx)))
				mu.Unlock()
				time.Sleep(50 * ms)
				return 0, nil
			})
		})
		require.NoError(t, err)
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []string{"1.1", "1.2", "2.1", "2.2"}, numbers)
	})
}

func TestADeadlineBeforeTheDelayIsNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
		defer cancel()
		h := after(10 * ms)
		_, err := resilience.Do(ctx, h, func(ctx context.Context) (int, error) {
			require.Zero(t, h.Snapshot().Running)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestFault072_ContextAlreadyDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	op, calls := script(step{})
	h := after(10 * ms)
	_, err := resilience.Do(ctx, h, op)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, calls.Load())
	require.Zero(t, h.Snapshot().Calls)
}

func TestTheLargestDelay(t *testing.T) {
	value, err := resilience.Do(t.Context(), after(math.MaxInt64, hedge.Extra(10)), func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, value)
}

func TestNames(t *testing.T) {
	require.Equal(t, "hedge 1 after p95", hedge.New().String())
	require.Equal(t, `hedge "users" 2 after p99.9`, hedge.New(hedge.Name("users"), hedge.Extra(2), hedge.Quantile(0.999), hedge.After(time.Second)).String())
	require.Equal(t, "hedge 1 after 20ms", after(20*ms).String())
	require.Equal(t, policy.StageHedge, hedge.New().Stage())
	require.Equal(t, "users", hedge.New(hedge.Name("users")).Snapshot().Name)
	require.PanicsWithValue(t, "hedge: Policy.Do with a nil Hedge", func() {
		_, _ = hedge.Policy[int]{}.Do(t.Context(), func(context.Context) (int, error) { return 0, nil })
	})
	value, err := hedge.Policy[int]{Hedge: after(time.Hour)}.Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, value)
}
