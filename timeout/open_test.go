package timeout_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// opened is an attempt with a result that stays open, as the engine makes it.
type opened struct {
	limit  *timeout.Timeout
	ctx    context.Context
	ticket policy.Ticket
}

// open admits an attempt whose operation takes some time and succeeds.
func open(ctx context.Context, limit *timeout.Timeout, takes time.Duration) (opened, error) {
	admitted, ticket, lift, err := limit.AdmitOpen(ctx)
	if err != nil {
		return opened{}, err
	}
	select {
	case <-time.After(takes):
	case <-admitted.Done():
		if lift != nil {
			lift()
		}
		limit.Settle(admitted, ticket, policy.Outcome{Kind: policy.Returned, Err: admitted.Err()})
		return opened{}, context.Cause(admitted)
	}
	if lift != nil {
		lift()
	}
	return opened{limit, admitted, limit.Returned(admitted, ticket)}, nil
}

func (o opened) done(err error) {
	o.limit.Settle(o.ctx, o.ticket, policy.Outcome{Kind: policy.Returned, Err: err})
}

func TestTheAttemptTimeoutIsLiftedFromAnOpenResult(t *testing.T) {
	for name, limit := range map[string]*timeout.Timeout{
		"per attempt":  timeout.PerAttempt(300 * ms),
		"from latency": timeout.FromLatency(0.99, 2, 10*ms, 300*ms),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, err := open(t.Context(), limit, 299*ms)
				require.NoError(t, err)
				_, bounded := o.ctx.Deadline()
				require.False(t, bounded, "a deadline would be sent on")
				time.Sleep(time.Hour)
				require.NoError(t, o.ctx.Err())
				o.done(errBackend)
				require.ErrorIs(t, o.ctx.Err(), context.Canceled)
				require.NotErrorIs(t, context.Cause(o.ctx), timeout.ErrTimeout)
				require.Zero(t, limit.Snapshot().Expired)

				o, err = open(t.Context(), limit, 301*ms)
				require.ErrorIs(t, err, timeout.ErrTimeout)
				require.Equal(t, opened{}, o)
				require.EqualValues(t, 1, limit.Snapshot().Expired)
			})
		})
	}
}

// The context says Canceled, since it has no deadline, and the cause says whose end it is: not the caller's.
func TestTheEndOfAnOpeningAttemptIsNoCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.PerAttempt(300 * ms)
		ctx, ticket, _, err := limit.AdmitOpen(t.Context())
		require.NoError(t, err)
		<-ctx.Done()
		require.Equal(t, context.Canceled, ctx.Err())
		require.ErrorIs(t, context.Cause(ctx), timeout.ErrTimeout)
		require.False(t, policy.Canceled(ctx))
		limit.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned, Err: ctx.Err()})
	})
}

// The timer fires between the return of the operation and the lift: the success stands, with an ended context.
func TestALiftThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.PerAttempt(300 * ms)
		ctx, ticket, lift, err := limit.AdmitOpen(t.Context())
		require.NoError(t, err)
		time.Sleep(301 * ms)
		synctest.Wait()
		lift()
		ticket = limit.Returned(ctx, ticket)
		require.ErrorIs(t, context.Cause(ctx), timeout.ErrTimeout)
		limit.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned, Err: ctx.Err()})
		require.Zero(t, limit.Snapshot().Expired, "the attempt has succeeded")
	})
}

// The total timeout bounds the use of the result too, and counts that, whatever the user of the permit says.
func TestTheTotalTimeoutEndsTheReading(t *testing.T) {
	for _, end := range []error{nil, errBackend} {
		synctest.Test(t, func(t *testing.T) {
			limit := timeout.Total(time.Second)
			o, err := open(t.Context(), limit, 10*ms)
			require.NoError(t, err)
			deadline, _ := o.ctx.Deadline()
			require.Equal(t, 990*ms, time.Until(deadline))
			<-o.ctx.Done()
			require.ErrorIs(t, context.Cause(o.ctx), timeout.ErrTimeout)
			require.Zero(t, limit.Snapshot().Expired, "not settled yet")
			o.done(end)
			require.EqualValues(t, 1, limit.Snapshot().Expired)

			o, err = open(t.Context(), limit, 10*ms)
			require.NoError(t, err)
			o.done(end)
			require.Error(t, o.ctx.Err())
			require.EqualValues(t, 1, limit.Snapshot().Expired, "read in time")
		})
	}
}

// The engine takes Cancel out of the ticket of an answer that is a failure and still to be read.
func TestSettleWithoutCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []*timeout.Timeout{timeout.Total(time.Second), timeout.PerAttempt(time.Second)} {
			ctx, ticket, _, err := limit.AdmitOpen(t.Context())
			require.NoError(t, err)
			end := ticket.Cancel
			ticket.Cancel = nil
			limit.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned, Err: errBackend})
			require.NoError(t, ctx.Err())
			end()
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			require.Zero(t, limit.Snapshot().Expired)
		}
	})
}

// A measured limit follows how long operations take, and not how long their results are used.
func TestFromLatencyMeasuresTheOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.FromLatency(0.5, 2, ms, time.Minute)
		for range 100 {
			o, err := open(t.Context(), limit, 50*ms)
			require.NoError(t, err)
			time.Sleep(time.Hour)
			o.done(nil)
		}
		require.InEpsilon(t, 0.1, limit.Snapshot().Limit.Seconds(), 0.032)
	})
}

func TestAnOpenResultUnderASoonerDeadlineOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
		defer cancel()
		limit := timeout.PerAttempt(300 * ms)
		o, err := open(ctx, limit, 50*ms)
		require.NoError(t, err)
		require.Equal(t, ctx, o.ctx)
		o.done(nil)
		_, _, _, err = limit.AdmitOpen(expired{t.Context()})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// openAbandoning runs an operation that succeeds after some time, and returns what ends its context.
func openAbandoning(ctx context.Context, limit *timeout.Abandoner, takes time.Duration, err error) (context.Context, context.CancelFunc, error) {
	var live context.Context
	var end context.CancelFunc
	err = limit.Open(ctx, func(ctx context.Context, cancel context.CancelFunc) error {
		live, end = ctx, cancel
		time.Sleep(takes)
		return err
	})
	return live, end, err
}

func TestAnAbandonerBoundsTheOpeningOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Abandon(300 * ms)
		ctx, end, err := openAbandoning(t.Context(), limit, 200*ms, nil)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.NoError(t, ctx.Err())
		end()
		require.ErrorIs(t, ctx.Err(), context.Canceled)

		ctx, end, err = openAbandoning(t.Context(), limit, 200*ms, errBackend)
		require.ErrorIs(t, err, errBackend)
		time.Sleep(time.Hour)
		require.NoError(t, ctx.Err(), "the call sees to it: the failure may still have to be read")
		end()
		require.ErrorIs(t, ctx.Err(), context.Canceled)

		require.PanicsWithValue(t, "boom", func() {
			_ = limit.Open(t.Context(), func(inner context.Context, _ context.CancelFunc) error { ctx = inner; panic("boom") })
		})
		require.Error(t, ctx.Err())

		start := time.Now()
		err = limit.Open(t.Context(), func(context.Context, context.CancelFunc) error { time.Sleep(time.Second); return nil })
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, 300*ms, time.Since(start))
		require.EqualValues(t, 1, limit.Snapshot().Expired)

		caller, cancel := context.WithCancel(t.Context())
		time.AfterFunc(ms, cancel)
		err = limit.Open(caller, func(ctx context.Context, _ context.CancelFunc) error { <-ctx.Done(); return ctx.Err() })
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, errors.Is(err, timeout.ErrTimeout))
		time.Sleep(time.Second)
	})
}

// What an open result holds ends with it, whether the limit is a deadline or was lifted.
func TestFault088_TheContextOfAnOpenResultIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []*timeout.Timeout{timeout.Total(time.Hour), timeout.PerAttempt(time.Hour)} {
			o, err := open(t.Context(), limit, ms)
			require.NoError(t, err)
			require.NoError(t, o.ctx.Err())
			o.done(nil)
			require.ErrorIs(t, o.ctx.Err(), context.Canceled, limit)
			require.NotErrorIs(t, context.Cause(o.ctx), timeout.ErrTimeout, limit)
		}
	})
}

// answered is an answer that is a failure and still to be read.
type answered struct{ error }

func (answered) Live() bool      { return true }
func (a answered) Unwrap() error { return a.error }

func TestAFailureInsideAnAbandonerCanBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, layer := range []policy.Layer{timeout.Abandon(time.Second), timeout.PerAttempt(time.Second)} {
			p := resilience.Compose(layer)
			ctx, permit, err := resilience.Open(t.Context(), p, func(ctx context.Context) (context.Context, error) {
				return ctx, answered{errBackend}
			})
			require.ErrorIs(t, err, errBackend)
			require.NotNil(t, permit, "%v", p)
			time.Sleep(time.Hour)
			require.NoError(t, ctx.Err(), "%v", p)
			require.True(t, permit.Done(nil))
			require.Error(t, ctx.Err(), "%v", p)

			ctx, permit, err = resilience.Open(t.Context(), p, func(ctx context.Context) (context.Context, error) { return ctx, errBackend })
			require.ErrorIs(t, err, errBackend)
			require.Nil(t, permit)
			require.Error(t, ctx.Err(), "there is nothing to be read")
		}
	})
}

// An operation that has ended its own context is about to return: neither the limit nor the caller has ended the attempt.
func TestAnOperationThatEndsItsOwnContextIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Abandon(time.Minute)
		err := limit.Open(t.Context(), func(_ context.Context, end context.CancelFunc) error {
			end()
			time.Sleep(50 * ms)
			return errBackend
		})
		require.Equal(t, errBackend, err)
		require.Equal(t, timeout.AbandonSnapshot{Limit: time.Minute}, limit.Snapshot())
	})
}
