package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// opened is a result that stays open.
type opened struct {
	b      *breaker.Breaker
	ticket policy.Ticket
}

// open admits an attempt whose operation takes a while, and returns its open result.
func open(t *testing.T, b *breaker.Breaker, takes time.Duration) opened {
	t.Helper()
	_, ticket, err := b.Admit(t.Context())
	require.NoError(t, err)
	time.Sleep(takes)
	return opened{b, b.Returned(t.Context(), ticket)}
}

func (o opened) done(err error) {
	o.b.Settle(nil, o.ticket, policy.Outcome{Kind: policy.Returned, Err: err}) //nolint:staticcheck // it is not used
}

func TestAnOpenResultCountsWhenTheOperationReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(2, breaker.FailureRate(1, 100))
		stream := open(t, b, 0)
		require.EqualValues(t, 1, b.Snapshot().Successes)
		time.Sleep(time.Hour)
		stream.done(nil)
		s := b.Snapshot()
		require.EqualValues(t, 1, s.Successes, "it only gives back")
		require.EqualValues(t, 1, s.Requests)

		stream = open(t, b, 0)
		stream.done(errDown)
		s = b.Snapshot()
		require.EqualValues(t, 2, s.Successes)
		require.EqualValues(t, 1, s.Failures, "one failure more")
		require.EqualValues(t, 1, s.CallsFailed)
		require.Equal(t, 1, s.ConsecutiveFailures)
		identity(t, s)

		stream = open(t, b, 0)
		stream.b.Settle(t.Context(), stream.ticket, policy.Outcome{Kind: policy.Returned, Err: errDown, Canceled: true})
		require.EqualValues(t, 1, b.Snapshot().Failures, "the caller's cancellation is neutral")
		require.Zero(t, b.Snapshot().Neutral)

		first, second := open(t, b, 0), open(t, b, 0)
		first.done(errDown)
		second.b.Settle(t.Context(), second.ticket, policy.Outcome{Kind: policy.Panicked})
		require.Equal(t, breaker.Open, b.State())
		identity(t, b.Snapshot())
	})
}

func TestAnOpenProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		half(b)
		stream := open(t, b, 0)
		require.Equal(t, breaker.Closed, b.State(), "it has answered")
		time.Sleep(time.Hour)
		stream.done(errDown)
		require.Equal(t, breaker.Open, b.State(), "a failure of the closed breaker")
		require.Equal(t, breaker.ReasonConsecutiveFailures, b.Snapshot().Reason)
		identity(t, b.Snapshot())

		b = tripAt(1, breaker.Successes(2))
		half(b)
		stream = open(t, b, 0)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Zero(t, b.Snapshot().InFlight, "the slot came back")
		stream.done(errDown)
		require.Equal(t, breaker.Open, b.State(), "a failed probe")
		require.Equal(t, breaker.ReasonProbeFailed, b.Snapshot().Reason)

		time.Sleep(D)
		stream = open(t, b, 0)
		failTimes(b, 1)
		require.Equal(t, breaker.Open, b.State())
		until, failures := b.Snapshot().Until, b.Snapshot().Failures
		stream.done(errDown)
		require.Equal(t, until, b.Snapshot().Until, "an open breaker stays as it is")
		require.Equal(t, failures+1, b.Snapshot().Failures)
		identity(t, b.Snapshot())

		time.Sleep(D)
		stream = open(t, b, 0)
		b.Reset()
		stream.done(errDown)
		require.Equal(t, breaker.Closed, b.State(), "Reset: what was in flight does not count")
		require.EqualValues(t, 1, b.Snapshot().Stale)
		identity(t, b.Snapshot())
	})
}

func TestTheTimeOfAnOpenResultIsThatOfTheOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(time.Second, 1, 2), breaker.CountWindow(2))
		fast := open(t, b, time.Second-1)
		time.Sleep(time.Hour)
		fast.done(nil)
		require.Zero(t, b.Snapshot().CallsSlow)
		slow := open(t, b, time.Second)
		require.EqualValues(t, 1, b.Snapshot().CallsSlow)
		slow.done(errDown)
		require.EqualValues(t, 1, b.Snapshot().CallsSlow, "a stream that fails late is not slow")
		require.EqualValues(t, 1, b.Snapshot().CallsFailed)
	})
}

func TestAStaleOpenResultCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		_, ticket, err := b.Admit(t.Context())
		require.NoError(t, err)
		b.Reset()
		stale := opened{b, b.Returned(t.Context(), ticket)}
		require.EqualValues(t, 1, b.Snapshot().Stale)
		stale.done(errDown)
		s := b.Snapshot()
		require.EqualValues(t, 1, s.Stale)
		require.EqualValues(t, 1, s.Requests)
		require.Equal(t, breaker.Closed, s.State)
	})
}

// One of a hundred opens fails, all streams last an hour: a breaker of 50 % must not open.
func TestOpenResultsDoNotBias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 20))
		for i := range 10_000 {
			if i%100 == 99 {
				failTimes(b, 1)
			} else {
				open(t, b, 0)
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Snapshot().Changes)
		require.InDelta(t, 0.01, b.Snapshot().FailureRate, 0.005)
	})
}
