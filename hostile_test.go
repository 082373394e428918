package resilience_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
)

// With one of two hosts down, a refused attempt is followed by one at the other host, at once.
func TestFault237_AFailoverGoesToTheOtherHost(t *testing.T) {
	for name, opts := range map[string][]retry.Option{
		"default":         nil,
		"awaits recovery": {retry.AwaitRecovery(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hostOf := func(ctx context.Context) string { return []string{"a", "b"}[(retry.Attempt(ctx)-1)%2] }
				breakers := keyed.New(func(string) *breaker.Breaker { return breaker.New(breaker.OpenFor(time.Hour)) })
				p := resilience.Compose(retry.New(append(opts, retry.Attempts(2))...), keyed.By(hostOf, breakers))
				breakers.Get("a").Trip()
				start := time.Now()
				for range 20 {
					host, err := resilience.Do(t.Context(), p, func(ctx context.Context) (string, error) { return hostOf(ctx), nil })
					require.NoError(t, err)
					require.Equal(t, "b", host)
				}
				require.Zero(t, time.Since(start))

				breakers.Get("b").Trip()
				_, err := resilience.Do(t.Context(), p, func(context.Context) (string, error) { return "", nil })
				require.ErrorIs(t, err, breaker.ErrOpen, "both are down")
			})
		})
	}
}

// Whatever happens while an error is judged with which a permit is settled: the guards are settled.
func TestAPermitIsSettledAlthoughTheClassifierExplodes(t *testing.T) {
	for name, classify := range map[string]func(error) policy.Class{
		"panic":  func(error) policy.Class { panic("classify") },
		"Goexit": func(error) policy.Class { runtime.Goexit(); return 0 },
	} {
		t.Run(name, func(t *testing.T) {
			slots := bulkhead.New(2)
			p := resilience.Compose(slots, resilience.Classify(classify))
			_, opened, err := resilience.Open(t.Context(), p, answer(1, nil))
			require.NoError(t, err)
			acquired, err := p.Acquire(t.Context())
			require.NoError(t, err)
			for _, permit := range []*policy.Permit{opened, acquired} {
				recovered, exited := caught(func() { permit.Done(errBackend) })
				require.True(t, recovered == "classify" || exited)
				require.False(t, permit.Done(nil))
			}
			require.Zero(t, slots.Snapshot().InFlight)
		})
	}
	slots := bulkhead.New(1)
	permit, err := policy.Acquire(t.Context(), slots)
	require.NoError(t, err)
	require.True(t, permit.Done(&explosive{}), "an error whose methods panic is an error")
	require.Zero(t, slots.Snapshot().InFlight)
}

// explosive is an error whose methods dereference a nil pointer.
type explosive struct{ inner *explosive }

func (e *explosive) Error() string                     { return fmt.Sprint(e.inner.inner) }
func (e *explosive) Class() policy.Class               { return policy.ClassOf(e.inner.inner) }
func (e *explosive) Code() string                      { return e.inner.Error() }
func (e *explosive) Unwrap() error                     { return e.inner.inner }
func (e *explosive) RetryAfter() (time.Duration, bool) { return 0, e.inner.inner == nil }
func (e *explosive) Live() bool                        { return e.inner.inner == nil }

func TestErrorsWhoseMethodsPanicHarmNoCall(t *testing.T) {
	for _, hostile := range []error{&explosive{}, (*explosive)(nil)} {
		op := func(context.Context) (int, error) { return 1, hostile }
		var event policy.Event
		observe := resilience.Observe(policy.ObserverFunc(func(_ context.Context, e policy.Event) { event = e }))
		trips := breaker.New(breaker.ConsecutiveFailures(1))
		for name, p := range map[string]*resilience.Pipeline{
			"retry":    resilience.Compose(retry.New(retry.Constant(1))),
			"breaker":  resilience.Compose(trips, observe),
			"hedge":    resilience.Compose(hedge.New(hedge.After(time.Millisecond), hedge.Idempotent())),
			"bulkhead": resilience.Compose(bulkhead.New(10), resilience.Name("users")),
		} {
			t.Run(name, func(t *testing.T) {
				require.NotPanics(t, func() {
					_, err := resilience.Do(t.Context(), p, op)
					require.True(t, err != nil, "an error that must not be printed")
				})
				require.NotPanics(t, func() {
					_, permit, _ := resilience.Open(t.Context(), p, op)
					permit.Done(nil)
				})
			})
		}
		require.NotPanics(t, func() { _, _ = json.Marshal(event); _ = event.LogValue() })
		require.NotPanics(t, func() { _, _ = json.Marshal(trips.Report()); _, _ = json.Marshal(trips.Snapshot()) })
	}
}

// foreign is a context of a foreign type, which ends with an error of its own.
type foreign struct {
	context.Context
	done chan struct{}
	err  atomic.Pointer[error]
}

func (f *foreign) Done() <-chan struct{} { return f.done }

func (f *foreign) Err() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *foreign) end(err error) {
	f.err.Store(&err)
	close(f.done)
}

func TestTheEndOfAForeignContextIsTheCallersEnd(t *testing.T) {
	own := errors.New("the framework has ended the request")
	ctx := &foreign{Context: context.Background(), done: make(chan struct{})}
	db := breaker.New(breaker.ConsecutiveFailures(1))
	_, err := resilience.Do(ctx, db, func(ctx context.Context) (int, error) {
		ctx.(*foreign).end(own)
		return 0, ctx.Err()
	})
	require.ErrorIs(t, err, own)
	require.Equal(t, breaker.Closed, db.State(), "it is neutral")
	_, err = resilience.Do(ctx, db, answer(1, nil))
	require.ErrorIs(t, err, own)
}

func TestAPipelineThatWasMovedIsRefused(t *testing.T) {
	moved := policy.At(policy.StageShed, resilience.Compose(bulkhead.New(1)))
	const want = "resilience: a *resilience.Pipeline was moved: move its layers instead"
	require.PanicsWithValue(t, want, func() { _, _ = resilience.Do(t.Context(), moved, answer(1, nil)) })
	require.PanicsWithValue(t, want, func() { _, _, _ = resilience.Open(t.Context(), moved, answer(1, nil)) })
}

func TestWorkThatWasNeverBegunHasNotFailed(t *testing.T) {
	p := resilience.Compose(resilience.Name("intake"), bulkhead.New(1))
	permit, err := p.Acquire(t.Context())
	require.NoError(t, err)
	require.True(t, permit.Settle(policy.Outcome{Kind: policy.NotCalled}))
	require.Equal(t, resilience.Calls{Rejected: 1}, *p.Report().Calls)
}

// A panic, or runtime.Goexit, while a value is given up ends the call before the next attempt: the budget's token comes
// back, and the breaker counts the attempt that was made.
func TestFault267_AValueIsGivenUpWithAPanic(t *testing.T) {
	for name, discard := range map[string]func(any){
		"panic": func(any) { panic("discard") }, "Goexit": func(any) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			budget := retry.NewBudget(0.1, 1)
			db := breaker.New(breaker.ConsecutiveFailures(100))
			p := resilience.Compose(db, retry.New(retry.WithBudget(budget), retry.Constant(0), retry.OnDiscard(discard)))
			before := budget.Snapshot().Tokens
			entered := 0
			recovered, exited := caught(func() {
				_, _ = resilience.Do(context.Background(), p, func(context.Context) (int, error) { entered++; return 5, errBackend })
			})
			require.True(t, recovered == "discard" || exited)
			require.Equal(t, 1, entered)
			require.EqualValues(t, 1, db.Snapshot().Failures)
			require.InDelta(t, before+0.1, budget.Snapshot().Tokens, 0.05)
		})
	}
}

// TestFault266_ARefusalWhoseMethodsPanic: it is returned like any other, also where calls are counted and observed.
func TestFault266_ARefusalWhoseMethodsPanic(t *testing.T) {
	refuses := &probe{refuse: panicky{}, stage: policy.StageBreaker}
	for _, layers := range [][]policy.Layer{
		{refuses},
		{refuses, resilience.Name("counted")},
		{refuses, resilience.Name("observed"), resilience.Observe(&policytest.Recorder{})},
	} {
		p := resilience.Compose(layers...)
		_, err := resilience.Do(t.Context(), p, answer(1, nil))
		require.Equal(t, panicky{}, err)
		_, err = p.Acquire(t.Context())
		require.Equal(t, panicky{}, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(panicky{})
	_, err := resilience.Do(ctx, resilience.Compose(resilience.Name("ended")), answer(1, nil))
	require.ErrorContains(t, err, "context canceled: panicky")
}
