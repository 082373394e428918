package fallback_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/fallback"
	"github.com/go-resilience/resilience/policy"
)

// opening is a policy whose results stay open. live makes its failures stay open too.
type opening struct {
	live     bool
	settled  []error
	inFlight int
}

func (o *opening) Stage() policy.Stage { return policy.StageBulkhead }
func (o *opening) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	o.inFlight++
	return ctx, policy.Ticket{}, nil
}
func (o *opening) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	o.inFlight--
	o.settled = append(o.settled, outcome.Err)
}

func (o *opening) Do(ctx context.Context, op policy.Func[int]) (int, error) { return op(ctx) }

func (o *opening) Open(ctx context.Context, op policy.Func[int]) (int, *policy.Permit, error) {
	permit, err := policy.Acquire(ctx, o)
	if err != nil {
		return 0, nil, err
	}
	value, err := op(ctx)
	if err != nil && !o.live {
		permit.Done(err)
		permit = nil
	}
	return value, permit, err
}

func TestOpen(t *testing.T) {
	for _, live := range []bool{false, true} {
		inner := &opening{live: live}
		f := fallback.Value[int](inner, 42)
		value, permit, err := f.Open(t.Context(), answer(7, nil))
		require.NoError(t, err)
		require.Equal(t, 7, value)
		require.Equal(t, 1, inner.inFlight, "open")
		require.True(t, permit.Done(nil))
		require.Zero(t, inner.inFlight)

		value, permit, err = f.Open(t.Context(), answer(7, errBackend))
		require.NoError(t, err)
		require.Equal(t, 42, value)
		require.Nil(t, permit)
		require.False(t, permit.Done(nil), "may be settled all the same")
		require.Zero(t, inner.inFlight, "the failed result is given up")
		require.Equal(t, []error{nil, errBackend}, inner.settled)
		require.Equal(t, fallback.Snapshot{Answered: 1}, f.Snapshot())

		both := fallback.Func[int](inner, func(context.Context, error) (int, error) { return -1, errCache })
		value, permit, err = both.Open(t.Context(), answer(7, errBackend))
		require.Equal(t, -1, value)
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, errCache)
		require.Nil(t, permit)
		require.Zero(t, inner.inFlight)

		picky := fallback.Value[int](inner, 42, fallback.If(func(error) bool { return false }))
		value, permit, err = picky.Open(t.Context(), answer(7, errBackend))
		require.Equal(t, 7, value)
		require.Equal(t, errBackend, err)
		require.Equal(t, live, permit != nil, "passes unchanged")
		require.Equal(t, live, permit.Done(err))

		bad := fallback.Func[int](inner, func(context.Context, error) (int, error) { panic("boom") })
		require.PanicsWithValue(t, "boom", func() { _, _, _ = bad.Open(t.Context(), answer(7, errBackend)) })
		require.Zero(t, inner.inFlight)
	}
}

func TestOpenAroundAPolicyThatCannotOpen(t *testing.T) {
	closed := breaker.Policy[int]{Breaker: breaker.New()}
	if _, can := any(closed).(policy.OpenPolicy[int]); can {
		t.Skip("it can")
	}
	op := func(context.Context) (int, error) { t.Error("called"); return 0, nil }
	for _, f := range []*fallback.Policy[int]{
		fallback.Value(closed, 42),
		fallback.Value(fallback.Value(closed, 41), 42), // a fallback is no answer to that
	} {
		_, permit, err := f.Open(t.Context(), op)
		require.ErrorContains(t, err, "fallback: Open around ")
		require.ErrorContains(t, err, "its results cannot stay open")
		require.Equal(t, "fallback.not_open", policy.Code(err))
		require.Nil(t, permit)
		require.Equal(t, fallback.Snapshot{}, f.Snapshot())
	}
}

func TestOpenThroughTwoFallbacks(t *testing.T) {
	inner := &opening{}
	f := fallback.Value(fallback.Func[int](inner, func(context.Context, error) (int, error) { return 0, errCache }), 42)
	value, permit, err := f.Open(t.Context(), answer(7, nil))
	require.NoError(t, err)
	require.Equal(t, 7, value)
	require.True(t, permit.Done(nil))
	value, _, err = f.Open(t.Context(), answer(7, errBackend))
	require.NoError(t, err)
	require.Equal(t, 42, value)
}

// A result that stays open is used up by its caller: it is not given to another one.
func TestLastGoodKeepsNoOpenResult(t *testing.T) {
	f := fallback.LastGood[int](&opening{}, time.Hour)
	_, permit, err := f.Open(t.Context(), answer(7, nil))
	require.NoError(t, err)
	permit.Done(nil)
	_, _, err = f.Open(t.Context(), answer(0, errBackend))
	require.ErrorIs(t, err, fallback.ErrNoLastGood)
	_, err = f.Do(t.Context(), answer(8, nil))
	require.NoError(t, err)
	value, permit, err := f.Open(t.Context(), answer(0, errBackend))
	require.NoError(t, err)
	require.Equal(t, 8, value)
	require.Nil(t, permit)
}

// A timeout outside may end the context by a cancellation, which its cause tells from one by the caller.
func TestACancellationByATimeoutIsAnswered(t *testing.T) {
	errExpired := &expired{}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errExpired)
	inner := policyFunc(func(context.Context) (int, error) { return 0, context.Canceled })
	value, err := fallback.Value(inner, 42).Do(ctx, answer(0, nil))
	require.NoError(t, err)
	require.Equal(t, 42, value)

	ctx, cancel = context.WithCancelCause(t.Context())
	cancel(errors.New("the user has left"))
	_, err = fallback.Value(inner, 42).Do(ctx, answer(0, nil))
	require.ErrorIs(t, err, context.Canceled)
}

// expired is a timeout's cause.
type expired struct{}

func (*expired) Error() string        { return "expired" }
func (*expired) Is(target error) bool { return target == context.DeadlineExceeded }

// policyFunc is a policy that does not call its operation.
type policyFunc func(context.Context) (int, error)

func (p policyFunc) Do(ctx context.Context, _ policy.Func[int]) (int, error) { return p(ctx) }

func TestOpenAroundAPipeline(t *testing.T) {
	pipeline := resilience.For[int](resilience.Compose(breaker.New()))
	value, permit, err := fallback.Value(pipeline, 42).Open(t.Context(), answer(7, nil))
	require.NoError(t, err)
	require.Equal(t, 7, value)
	require.True(t, permit.Done(nil))
}
