package retry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestFault253_ErrDeadlineIsADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := resilience.Do(ctx, retry.New(retry.Constant(time.Minute), retry.NoJitter()), always(errBackend).do)
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errBackend)
		require.NotErrorIs(t, err, context.Canceled)
		require.Equal(t, "retry.deadline", policy.Code(err))
	})
}

func TestFault263_TheTimeInTheTextIsNotTheTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := resilience.Do(t.Context(), retry.New(retry.Constant(306480133), retry.NoJitter()), func(context.Context) (int, error) {
			time.Sleep(100 * time.Millisecond)
			return 0, errBackend
		})
		require.EqualError(t, err, "retry: gave up after 3 attempts, 813ms after the first failed: attempts exhausted: backend failed")
	})
	for elapsed, want := range map[time.Duration]string{
		0:                         "retry: gave up after 2 attempts: ",
		time.Millisecond - 1:      "retry: gave up after 2 attempts: ",
		1234567 * time.Nanosecond: "retry: gave up after 2 attempts, 1ms after the first failed: ",
		12345 * time.Millisecond:  "retry: gave up after 2 attempts, 12.35s after the first failed: ",
		61234 * time.Millisecond:  "retry: gave up after 2 attempts, 1m1s after the first failed: ",
	} {
		err := &retry.Error{Attempts: 2, Elapsed: elapsed, Reason: retry.ErrExhausted, Last: errBackend}
		require.EqualError(t, err, want+"attempts exhausted: backend failed")
	}
}

func TestFault271_ErrorsAreOneLineOfBoundedLength(t *testing.T) {
	for _, last := range []error{
		errors.New("a\nb\r\nc\rd\u2028e"), errors.New(strings.Repeat("x", 1<<20)), errors.New(strings.Repeat("ü\n", 1000)),
		errors.New("a" + strings.Repeat("ü", 1000)), errors.Join(errBackend, errBackend), nil,
	} {
		for _, reason := range []error{retry.ErrExhausted, errors.New("x\ny"), nil} {
			err := &retry.Error{Name: "a\nb", Attempts: 2, Reason: reason, Last: last, Errs: []error{last}}
			text, data := err.Error(), must(json.Marshal(err))
			require.False(t, strings.ContainsAny(text, "\n\r\u2028"), "%q", text)
			require.Less(t, len(text), 1100)
			require.Less(t, len(data), 5000)
			require.True(t, strings.ToValidUTF8(text, "?") == text, "whole characters")
			require.NotPanics(t, func() { _ = slog.AnyValue(err).Resolve().String() })
		}
	}
	require.EqualError(t, &retry.Error{Attempts: 2, Reason: retry.ErrExhausted, Last: errors.New("a\nb\r\nc\rd")},
		"retry: gave up after 2 attempts: attempts exhausted: a; b; c; d")
	late := errors.New("total timeout 1s expired")
	require.EqualError(t, &retry.Error{Attempts: 2, Reason: late, Last: late},
		"retry: gave up after 2 attempts: total timeout 1s expired", "an operation that returns the cause of its context")
}

func must(data []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestErrorAsText(t *testing.T) {
	rejection := &policy.Rejection{Kind: "breaker", Reason: policy.NewReason("breaker.open", "circuit open")}
	err := &retry.Error{Name: "users", Attempts: 2, Elapsed: 1500 * time.Millisecond, Reason: rejection, Last: errBackend, Errs: []error{errFull, errBackend}}
	require.JSONEq(t, `{"name":"users","attempts":2,"elapsed":1.5,"code":"breaker.open","reason":"breaker: circuit open","last":"backend failed","errs":["full","backend failed"]}`, must(json.Marshal(err)))
	require.Equal(t, "[name=users attempts=2 elapsed=1.5s code=breaker.open reason=breaker: circuit open last=backend failed]", slog.AnyValue(err).Resolve().String())
}

func TestCodes(t *testing.T) {
	for reason, code := range map[error]string{
		retry.ErrExhausted: "retry.exhausted", retry.ErrFinal: "retry.final", retry.ErrDeadline: "retry.deadline",
		retry.ErrRetryAfter: "retry.after", retry.ErrBudget: "retry.budget", retry.ErrNotDone: "retry.not_done",
		context.Canceled: "canceled",
	} {
		require.Equal(t, code, policy.Code(reason))
		require.Equal(t, code, policy.Code(fmt.Errorf("a: %w", &retry.Error{Reason: reason, Last: errBackend})))
	}
}

// Elapsed begins when the only attempt had failed, however long the call had waited before it.
func TestElapsedBeginsWithTheFirstFailureOfTheOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := &fakeBreaker{threshold: 1, openFor: 9 * time.Second}
		breaker.open()
		again := retry.New(retry.AwaitRecovery(time.Minute), retry.NoJitter())
		_, err := resilience.Do(t.Context(), resilience.Compose(again, breaker), func(context.Context) (int, error) {
			time.Sleep(2 * time.Second)
			return 0, errBackend
		})
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 1, gave.Attempts)
		require.Zero(t, gave.Elapsed)
		require.NotContains(t, err.Error(), "after the first failed")
	})
	synctest.Test(t, func(t *testing.T) { // a refusal that is retried, then a failure, then another refusal
		again := retry.New(retry.RetryRejections(errFull), retry.Constant(5*time.Second), retry.NoJitter(), retry.Attempts(4))
		_, err := resilience.Do(t.Context(), resilience.Compose(again, &oddRefused{}), always(errBackend).do)
		gave, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 2, gave.Attempts, "the first and the third are refused")
		require.Equal(t, 10*time.Second, gave.Elapsed)
	})
}

// oddRefused refuses each odd attempt.
type oddRefused struct{ asked int }

func (*oddRefused) Stage() policy.Stage { return policy.StageBulkhead }
func (o *oddRefused) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if o.asked++; o.asked%2 == 1 {
		return nil, policy.Ticket{}, &policy.Rejection{Kind: "bulkhead", Reason: errFull}
	}
	return ctx, policy.Ticket{}, nil
}
func (*oddRefused) Settle(context.Context, policy.Ticket, policy.Outcome) {}
