package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"github.com/go-resilience/resilience/policytest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func TestDoNamesTheArgumentThatIsNil(t *testing.T) {
	p := resilience.Compose()
	var noPipeline *resilience.Pipeline
	var noGuard *probe
	cases := map[string]struct {
		call func()
		want string
	}{
		"context":          {func() { _, _ = resilience.Do(nil, p, answer(1, nil)) }, "nil context"},
		"operation":        {func() { _, _ = resilience.Do[int](t.Context(), p, nil) }, "nil operation"},
		"layer":            {func() { _, _ = resilience.Do(t.Context(), nil, answer(1, nil)) }, "nil layer"},
		"pipeline":         {func() { _, _ = resilience.Do(t.Context(), noPipeline, answer(1, nil)) }, "nil pipeline"},
		"guard":            {func() { _, _ = resilience.Do(t.Context(), noGuard, answer(1, nil)) }, "nil *resilience_test.probe"},
		"run operation":    {func() { _ = p.Run(t.Context(), nil) }, "nil operation"},
		"for layer":        {func() { resilience.For[int](nil) }, "nil layer"},
		"no role":          {func() { _, _ = resilience.Do(t.Context(), roleless{}, answer(1, nil)) }, "roleless is no Guard, Repeater or Wrapper"},
		"observer":         {func() { resilience.Observe(nil) }, "observer 1 is nil"},
		"observer pointer": {func() { resilience.Observe((*policytest.Recorder)(nil)) }, "observer 1 is nil"},
		"open context":     {func() { _, _, _ = resilience.Open(nil, p, answer(1, nil)) }, "Open with a nil context"},
		"open operation":   {func() { _, _, _ = resilience.Open[int](t.Context(), p, nil) }, "Open with a nil operation"},
		"open layer":       {func() { _, _, _ = resilience.Open(t.Context(), nil, answer(1, nil)) }, "Open with a nil layer"},
		"open pipeline":    {func() { _, _, _ = resilience.Open(t.Context(), noPipeline, answer(1, nil)) }, "Open with a nil pipeline"},
		"open guard":       {func() { _, _, _ = resilience.Open(t.Context(), noGuard, answer(1, nil)) }, "nil *resilience_test.probe"},
		"open single":      {func() { _, _, _ = resilience.Open(nil, &probe{}, answer(1, nil)) }, "Open with a nil context"},
		"for pointer":      {func() { resilience.For[int](noPipeline) }, "For with a nil layer"},
		"run layer":        {func() { _ = resilience.Run(t.Context(), nil, func(context.Context) error { return nil }) }, "nil layer"},
		"name":             {func() { resilience.Name("") }, "the name is empty"},
		"classify":         {func() { resilience.Classify(nil) }, "the function is nil"},
		"an attribute":     {func() { _, _ = resilience.Do(t.Context(), resilience.Name("x"), answer(1, nil)) }, "is no Guard, Repeater or Wrapper"},
		"check operation":  {func() { policy.Check(nil, func(int) error { return nil }) }, "nil operation"},
		"check":            {func() { policy.Check(answer(1, nil), nil) }, "nil check"},
		"acquire context":  {func() { _, _ = policy.Acquire(nil, &probe{}) }, "nil context"},
		"acquire guard":    {func() { _, _ = policy.Acquire(t.Context(), nil) }, "nil guard"},
		"timeout policy":   {func() { _, _ = timeout.Policy[int]{}.Do(t.Context(), answer(1, nil)) }, "without a Timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			recovered, _ := caught(c.call)
			require.Contains(t, fmt.Sprint(recovered), c.want)
		})
	}
}

type roleless struct{}

func (roleless) Stage() policy.Stage { return policy.StageBreaker }

func TestFault100_ValueAndErrorTogether(t *testing.T) {
	t.Run("the last attempt's value and error", func(t *testing.T) {
		calls := 0
		value, err := resilience.Do(t.Context(), &again{max: 3}, func(context.Context) (int, error) {
			calls++
			return calls, errBackend
		})
		require.Equal(t, 3, value)
		require.ErrorIs(t, err, errBackend)
	})
	t.Run("of the last attempt when a gate ends the call", func(t *testing.T) {
		g := &gate{}
		value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 3}, g), func(context.Context) (int, error) {
			g.closed.Store(&policy.Rejection{Kind: "gate", Reason: errRefused})
			return 7, errBackend
		})
		require.Equal(t, 7, value)
		require.ErrorIs(t, err, errRefused)
		require.ErrorIs(t, err, errBackend)
	})
	t.Run("of the last attempt that entered when the next one is refused", func(t *testing.T) {
		g := &probe{}
		value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 2}, g), func(context.Context) (int, error) {
			g.refuse = errRefused
			return 7, errBackend
		})
		require.Equal(t, 7, value)
		require.ErrorIs(t, err, errRefused)
	})
}

func TestCheck(t *testing.T) {
	tooSmall := errors.New("too small")
	op := policy.Check(answer(3, nil), func(n int) error {
		if n < 5 {
			return tooSmall
		}
		return nil
	})
	value, err := op(t.Context())
	require.Equal(t, 3, value)
	require.ErrorIs(t, err, tooSmall)
	_, err = policy.Check(answer(9, errBackend), func(int) error { t.Error("a failed call is not checked"); return nil })(t.Context())
	require.ErrorIs(t, err, errBackend)
}

type listError []string // an error type that cannot be compared

func (e listError) Error() string { return fmt.Sprint([]string(e)) }

func TestACauseThatCannotBeComparedIsFine(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p := resilience.Compose(&again{max: 1}, &probe{}, timeout.PerAttempt(time.Hour))
	_, err := resilience.Do(ctx, p, func(context.Context) (int, error) {
		cancel(listError{"a", "b"})
		return 0, errBackend
	})
	require.ErrorIs(t, err, errBackend)
	_, err = resilience.Do(ctx, p, answer(1, nil))
	var cause listError
	require.ErrorAs(t, err, &cause)
	require.ErrorIs(t, err, context.Canceled)
}

// detail is an error that cannot be compared with itself.
type detail struct {
	code int
	more any
}

func (d detail) Error() string   { return fmt.Sprint("detail ", d.code) }
func (d detail) Is(e error) bool { return e == policy.ErrRejected }

func TestErrorsThatCannotBeComparedHarmNobody(t *testing.T) {
	mapped := detail{1, map[string]int{}}
	t.Run("as the cause of the caller, returned by the operation", func(t *testing.T) {
		guard := &probe{name: "guard"}
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := resilience.Do(ctx, resilience.Compose(guard, timeout.PerAttempt(time.Second)), func(ctx context.Context) (int, error) {
			cancel(mapped)
			return 0, context.Cause(ctx)
		})
		require.ErrorAs(t, err, new(detail))
		require.EqualValues(t, 1, guard.settled.Load())
	})
	t.Run("as the rejection of a gate", func(t *testing.T) {
		value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 3}, &obstinate{mapped}), func(context.Context) (int, error) {
			return 42, errBackend
		})
		require.ErrorIs(t, err, policy.ErrRejected)
		require.Equal(t, 42, value)
	})
}

// obstinate is a gate that refuses with any error, and admits all the same.
type obstinate struct{ err error }

func (*obstinate) Stage() policy.Stage           { return policy.StageBreaker }
func (s *obstinate) Ready(context.Context) error { return s.err }

func (*obstinate) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (*obstinate) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// FAULT 271: what the engine says about an error of the operation is one line, and bounded.
func TestFault271_ErrorsAreOneLine(t *testing.T) {
	hostile := errors.New("first\nsecond\r\nthird\r" + strings.Repeat("ä", 5000))
	ended := &probe{derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		return context.WithValue(ctx, endKey{}, cancel), func() { cancel(nil) }
	}}
	swallow := wrapper(func(ctx context.Context, call func(context.Context) error) error { _ = call(ctx); return nil })
	for name, layer := range map[string]policy.Layer{"a guard that ended the context": ended, "a wrapper that swallows": swallow} {
		t.Run(name, func(t *testing.T) {
			_, err := resilience.Do(t.Context(), layer, func(ctx context.Context) (int, error) {
				if end, ok := ctx.Value(endKey{}).(context.CancelCauseFunc); ok {
					end(errCause)
				}
				return 0, hostile
			})
			require.ErrorIs(t, err, hostile)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "\r")
			require.Contains(t, err.Error(), "first; second; third; ä")
			require.Less(t, len(err.Error()), 1100)
			require.True(t, utf8.ValidString(err.Error()))
		})
	}
}

type endKey struct{}

// FAULT 268: a pipeline that was not made with Compose protects nothing: it panics with the name of the constructor.
func TestFault268_APipelineMustBeMadeWithCompose(t *testing.T) {
	var zero resilience.Pipeline
	for name, call := range map[string]func(){
		"Do":             func() { _, _ = resilience.Do(t.Context(), &zero, answer(1, nil)) },
		"Open":           func() { _, _, _ = resilience.Open(t.Context(), &zero, answer(1, nil)) },
		"Run":            func() { _ = zero.Run(t.Context(), func(context.Context) error { return nil }) },
		"For":            func() { _, _ = resilience.For[int](&zero).Do(t.Context(), answer(1, nil)) },
		"Acquire":        func() { _, _ = zero.Acquire(t.Context()) },
		"Ready":          func() { _ = zero.Ready(t.Context()) },
		"Report":         func() { zero.Report() },
		"MarshalJSON":    func() { _, _ = zero.MarshalJSON() },
		"Idle":           func() { zero.Idle() },
		"Compose":        func() { resilience.Compose(&zero) },
		"Compose, mixed": func() { resilience.Compose(&probe{}, &zero) },
		"a source":       func() { _, _ = resilience.Do(t.Context(), handle{}, answer(1, nil)) },
		"a zero source":  func() { _, _ = resilience.Do(t.Context(), handle{&zero}, answer(1, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			recovered, _ := caught(call)
			require.Contains(t, fmt.Sprint(recovered), "a Pipeline must be made with Compose")
		})
	}
	require.ErrorContains(t, resilience.Validate(&zero), "a Pipeline must be made with Compose")
	require.Equal(t, "empty pipeline", zero.String(), "it can be printed")
	require.Empty(t, zero.Name())
	require.Empty(t, zero.Layers())
	require.Zero(t, zero.Stage())
}
