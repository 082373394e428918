package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// classified is an error that says what it means.
type classified policy.Class

func (c classified) Error() string       { return policy.Class(c).String() }
func (c classified) Class() policy.Class { return policy.Class(c) }

func TestClasses(t *testing.T) {
	retried := map[policy.Class]bool{
		policy.Unclassified: true, policy.Transient: true, policy.Permanent: false, policy.Expected: false,
		policy.Throttled: true, policy.Ignored: false,
	}
	ifSays := func(answer bool) retry.Option { return retry.If(func(error) bool { return answer }) }
	for class, want := range retried {
		t.Run(class.String(), func(t *testing.T) {
			attempts := func(err error, options ...retry.Option) int {
				op := always(err)
				_, got := resilience.Do(t.Context(), retry.New(append(options, retry.Constant(0))...), op.do)
				require.ErrorIs(t, got, err)
				return op.entered
			}
			number := map[bool]int{true: 3, false: 1}
			wrapped := fmt.Errorf("users: %w", classified(class))
			require.Equal(t, number[want], attempts(classified(class)))
			require.Equal(t, number[want], attempts(wrapped))
			require.Equal(t, 3, attempts(wrapped, ifSays(true)), "If overrides")
			require.Equal(t, 1, attempts(wrapped, ifSays(false)), "If overrides")
			require.Equal(t, 1, attempts(retry.Permanent(wrapped)))
			require.Equal(t, 1, attempts(backoff.Permanent(wrapped), ifSays(true)), "Permanent is final")

			op := always(errBackend)
			classify := resilience.Classify(func(error) policy.Class { return class })
			_, err := resilience.Do(t.Context(), resilience.Compose(classify, retry.New(retry.Constant(0))), op.do)
			require.Equal(t, number[want], op.entered)
			if class != policy.Unclassified && want {
				gave, ok := errors.AsType[*retry.Error](err)
				require.True(t, ok)
				require.Equal(t, class, gave.Class(), "what the engine said")
				require.Equal(t, class, policy.ClassOf(fmt.Errorf("a: %w", err)))
			}
		})
	}
	t.Run("of the last attempt", func(t *testing.T) {
		op := fails(classified(policy.Throttled), classified(policy.Expected))
		_, err := resilience.Do(t.Context(), retry.New(retry.Constant(0)), op.do)
		require.Equal(t, 2, op.entered)
		require.ErrorIs(t, err, retry.ErrFinal)
		require.Equal(t, policy.Expected, policy.ClassOf(err))
		require.Equal(t, policy.Throttled, (&retry.Error{Last: classified(policy.Throttled)}).Class())
	})
}

// answered is a 429 with a Retry-After.
type answered struct{ hint }

func (answered) Class() policy.Class { return policy.Throttled }

func TestThrottledIsRetriedAfterItsHint(t *testing.T) {
	for err, want := range map[error]time.Duration{
		answered{hint(5 * time.Second)}: 5 * time.Second,
		classified(policy.Throttled):    100 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, got := resilience.Do(t.Context(), retry.New(retry.NoJitter()), fails(err).do)
			require.NoError(t, got)
			require.Equal(t, want, time.Since(start))
		})
	}
}

func TestFault239_APermanentRejectionIsNeverRetried(t *testing.T) {
	rejection := &policy.Rejection{Kind: "bulkhead", Reason: errFull}
	for _, err := range []error{
		retry.Permanent(rejection), fmt.Errorf("a: %w", retry.Permanent(rejection)), backoff.Permanent(rejection),
		errors.Join(rejection, retry.Permanent(errBackend)),
	} {
		op := always(err)
		again := retry.New(retry.Constant(0), retry.RetryRejections(errFull), retry.If(func(error) bool { return true }), retry.RetryNested())
		_, got := resilience.Do(t.Context(), again, op.do)
		require.Equal(t, 1, op.entered)
		require.Equal(t, err, got)

		guard := &full{with: err} // one that refuses by it
		_, got = resilience.Do(t.Context(), resilience.Compose(again, guard), op.do)
		require.Equal(t, 1, guard.refusals)
		require.Equal(t, err, got)
	}
}

func TestFault249_ARetryInsideIsFinal(t *testing.T) {
	calls := func(outer *retry.Retrier, inner *retry.Retrier, wrap func(error) error) (attempts int, err error) {
		_, err = resilience.Do(t.Context(), outer, func(ctx context.Context) (int, error) {
			_, err := resilience.Do(ctx, inner, func(context.Context) (int, error) {
				attempts++
				return 0, errBackend
			})
			return 0, wrap(err)
		})
		return attempts, err
	}
	plain := func(err error) error { return err }
	again := func(options ...retry.Option) *retry.Retrier { return retry.New(append(options, retry.Constant(0))...) }
	attempts, err := calls(again(), again(), plain)
	require.Equal(t, 3, attempts)
	gave, ok := err.(*retry.Error)
	require.True(t, ok, "the inner one's own error")
	require.Equal(t, retry.ErrExhausted, gave.Reason)
	attempts, _ = calls(again(), again(), func(err error) error { return fmt.Errorf("users: %w", errors.Join(errFull, err)) })
	require.Equal(t, 3, attempts, "anywhere in the tree")
	attempts, _ = calls(again(retry.If(func(error) bool { return true })), again(), plain)
	require.Equal(t, 3, attempts, "whatever If says")
	attempts, _ = calls(again(retry.RetryNested()), again(), plain)
	require.Equal(t, 9, attempts)
	attempts, _ = calls(again(), again(retry.Attempts(1)), plain)
	require.Equal(t, 3, attempts, "the inner one has not retried")
}

func TestFault251_HistoryIsKeptWheneverThereWasARetry(t *testing.T) {
	declines := retry.If(func(err error) bool { return err != errOpen })
	for name, test := range map[string]struct {
		last    error
		options []retry.Option
		ctx     func(context.Context) context.Context
	}{
		"permanent": {last: retry.Permanent(errOpen)},
		"declined":  {last: errOpen, options: []retry.Option{declines}},
		"class":     {last: classified(policy.Expected)},
		"nested":    {last: &retry.Error{Reason: retry.ErrExhausted, Last: errOpen}},
	} {
		t.Run(name, func(t *testing.T) {
			again := retry.New(append(test.options, retry.Constant(0), retry.Attempts(9))...)
			_, err := resilience.Do(t.Context(), again, fails(errBackend, errBackend, test.last).do)
			gave, ok := err.(*retry.Error)
			require.True(t, ok)
			require.Equal(t, 3, gave.Attempts)
			require.Equal(t, retry.ErrFinal, gave.Reason)
			require.Equal(t, []error{errBackend, errBackend, test.last}, gave.Errs)
			require.ErrorIs(t, err, test.last)
			require.Equal(t, "retry.final", policy.Code(err))
			require.EqualValues(t, 1, again.Snapshot().GaveUp)

			_, err = resilience.Do(t.Context(), again, fails(test.last).do)
			require.Equal(t, test.last, err, "a single attempt: the bare error")
			require.EqualValues(t, 1, again.Snapshot().GaveUp)
		})
	}
}

func TestFault252_ValuesOfAttempts(t *testing.T) {
	var discarded []any
	discard := retry.OnDiscard(func(value any) { discarded = append(discarded, value) })
	for name, test := range map[string]struct {
		layers []policy.Layer
		op     *script
		value  int
		want   []any
	}{
		"success":           {op: fails(errBackend, errBackend), value: 3, want: []any{-1, -2}},
		"exhausted":         {op: always(errBackend), value: -3, want: []any{-1, -2}},
		"breaker opens":     {op: always(errBackend), layers: []policy.Layer{&fakeBreaker{threshold: 2, openFor: time.Hour}}, value: -2, want: []any{-1}},
		"limiter refuses":   {op: always(errBackend), layers: []policy.Layer{&limited{admissions: 2}}, value: -2, want: []any{-1}},
		"permanent":         {op: always(retry.Permanent(errBackend)), value: -1},
		"first one refused": {op: always(errBackend), layers: []policy.Layer{&full{}}},
	} {
		t.Run(name, func(t *testing.T) {
			discarded = nil
			value, _ := resilience.Do(t.Context(), resilience.Compose(append(test.layers, retry.New(discard, retry.Constant(0)))...), test.op.do)
			require.Equal(t, test.value, value)
			require.Equal(t, test.want, discarded)
		})
	}
	discarded = nil
	retry.New().Discard(1) // without a function nothing happens
	retry.New(discard).Discard(2)
	require.Equal(t, []any{2}, discarded)
}

// TestOnDiscardThatIsGivenDuringAWait: what the call has waited for is judged by the options of that moment.
func TestOnDiscardThatIsGivenDuringAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var discarded []any
		again := retry.New(retry.Constant(time.Second), retry.NoJitter())
		time.AfterFunc(time.Millisecond, func() {
			_ = again.Reconfigure(retry.OnDiscard(func(value any) { discarded = append(discarded, value) }))
		})
		_, err := resilience.Do(t.Context(), again, fails(errBackend).do)
		require.NoError(t, err)
		require.Equal(t, []any{-1}, discarded)
	})
}

func TestFault260_AFirstErrorThatIsNotRetriedIsNotAStop(t *testing.T) {
	var stops []policy.Event
	observer := resilience.Observe(policy.ObserverFunc(func(_ context.Context, event policy.Event) {
		if event.Kind == policy.EventStopped {
			stops = append(stops, event)
		}
	}))
	again := retry.New(retry.Constant(0), retry.If(func(err error) bool { return err == errBackend }))
	pipeline := resilience.Compose(again, observer)
	for range 11 {
		_, _ = resilience.Do(t.Context(), pipeline, always(errOpen).do)
		_, _ = resilience.Do(t.Context(), pipeline, always(retry.Permanent(errBackend)).do)
		_, _ = resilience.Do(t.Context(), pipeline, always(classified(policy.Permanent)).do)
	}
	require.Empty(t, stops)
	_, _ = resilience.Do(t.Context(), pipeline, always(errBackend).do)
	_, _ = resilience.Do(t.Context(), pipeline, fails(errBackend, errOpen).do)
	require.Len(t, stops, 2)
	require.Equal(t, retry.ErrExhausted, stops[0].Reason)
	require.Equal(t, retry.ErrFinal, stops[1].Reason)

	ended := policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned, Err: errOpen}}
	require.Equal(t, policy.Decision{}, again.Next(t.Context(), ended))
}

func TestAScheduledRetryThatIsNotMadeIsAStop(t *testing.T) {
	// The error of the attempt is the very one that ends the call later, so it could be taken for one that nothing followed.
	closed := &policy.Rejection{Kind: "maintenance", Reason: errOpen}
	for name, test := range map[string]struct {
		layer policy.Layer
		opts  []retry.Option
		op    *script
		end   func(cancel func()) // what happens in the wait
		gave  bool
		want  error
	}{
		"the operation's own context.Canceled, then that of the caller": {
			op: always(context.Canceled), end: func(cancel func()) { cancel() }, gave: true, want: context.Canceled,
		},
		"the refusal of a gate that is waited for, and refuses for too long": {
			layer: &shut{closed}, opts: []retry.Option{retry.AwaitRecovery(time.Second)}, op: always(nil),
			end: func(func()) {}, want: closed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var kinds []policy.EventKind
				observer := policy.ObserverFunc(func(_ context.Context, event policy.Event) {
					switch event.Kind {
					case policy.EventRetry:
						test.end(cancel)
						kinds = append(kinds, event.Kind)
					case policy.EventStopped:
						require.ErrorIs(t, event.Reason, test.want)
						kinds = append(kinds, event.Kind)
					}
				})
				again := retry.New(append(test.opts, retry.Constant(time.Second))...)
				layers := []policy.Layer{again, resilience.Observe(observer)}
				if test.layer != nil {
					layers = append(layers, test.layer)
				}
				_, err := resilience.Do(ctx, resilience.Compose(layers...), test.op.do)
				require.ErrorIs(t, err, test.want)
				require.Equal(t, []policy.EventKind{policy.EventRetry, policy.EventStopped}, kinds)
				gave, ok := errors.AsType[*retry.Error](err)
				require.Equal(t, test.gave, ok)
				if ok {
					require.Equal(t, 1, gave.Attempts)
					require.EqualValues(t, 1, again.Snapshot().GaveUp)
				}
			})
		})
	}
}

// shut is a gate that refuses with one and the same rejection.
type shut struct{ with *policy.Rejection }

func (*shut) Stage() policy.Stage           { return policy.StageBreaker }
func (s *shut) Ready(context.Context) error { return s.with }
func (s *shut) Admit(context.Context) (context.Context, policy.Ticket, error) {
	return nil, policy.Ticket{}, s.with
}
func (*shut) Settle(context.Context, policy.Ticket, policy.Outcome) { panic("never admitted") }
