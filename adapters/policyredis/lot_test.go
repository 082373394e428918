package policyredis_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestLotsSaveTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", 1000, 100, policyredis.Lots(20, time.Second))
		require.Equal(t, 63, admitted(l, 63))
		require.EqualValues(t, 3, l.Snapshot().Calls, "one for 21 attempts")
		require.False(t, l.Idle(), "it holds tokens")
		require.NoError(t, l.Drain(t.Context()))
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 37, level.Tokens, "nothing is held")
		time.Sleep(time.Minute)
		require.True(t, l.Idle())
	})
}

func TestLotsGoBackAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", hourly, 100, policyredis.Lots(20, time.Second))
		require.NoError(t, attempt(l))
		time.Sleep(time.Second - 1)
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 79, level.Tokens)
		time.Sleep(2)
		synctest.Wait()
		level, err = l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 99, level.Tokens)
		require.Zero(t, l.Snapshot().Forgotten, "no alarm about one's own lots")
		require.NoError(t, l.Drain(t.Context()))
	})
}

// What is left is taken even if it is less than a lot, and a refusal is remembered until its token is there.
func TestLotsWhenTheBucketIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", 10, 25, policyredis.Lots(20, time.Second))
		require.Equal(t, 25, admitted(l, 100))
		require.EqualValues(t, 3, l.Snapshot().Calls, "21, 4, and one refusal")
		err := attempt(l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 100*time.Millisecond, wait)
		time.Sleep(wait - 1)
		require.Error(t, attempt(l))
		require.EqualValues(t, 3, l.Snapshot().Calls)
		time.Sleep(1)
		require.NoError(t, attempt(l))
		require.NoError(t, l.Drain(t.Context()))
	})
}

// The documented error: in any window at most burst + rate·w, and in addition what the processes held as it began.
func TestTheErrorOfLots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst, lot, processes = 100.0, 50, 10, 4
		server := fake(scriptInGo())
		var limiters []*policyredis.Limiter
		for range processes {
			limiters = append(limiters, policyredis.New(server, "lots", perSecond, burst, policyredis.Lots(lot, time.Minute)))
		}
		for _, l := range limiters {
			require.NoError(t, attempt(l)) // each takes a lot
		}
		time.Sleep(time.Second) // and the bucket is full again
		yes, began := 0, time.Now()
		for range 200 {
			for _, l := range limiters {
				yes += admitted(l, 1)
			}
		}
		require.Zero(t, time.Since(began))
		require.Equal(t, burst+lot*processes, yes)
		for _, l := range limiters {
			require.NoError(t, l.Drain(t.Context()))
		}
	})
}

func TestLotsUnderConcurrency(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "lots", hourly, 500, policyredis.Lots(50, time.Minute), patient())
	var yes atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 100 {
				if attempt(l) == nil {
					yes.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 500, yes.Load())
	require.NoError(t, l.Drain(t.Context()))
}

// Tokens of attempts that are not made go back into the lot.
func TestLotsTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", hourly, 10, policyredis.Lots(9, time.Minute))
		for range 100 {
			permit, err := policy.Acquire(t.Context(), l)
			require.NoError(t, err)
			permit.Settle(policy.Outcome{Kind: policy.NotCalled})
		}
		require.Equal(t, 9, admitted(l, 20), "the lot is never more than a lot")
		require.NoError(t, l.Drain(t.Context()))
	})
}
