package breaker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

// A success that finds its era just before it ends, and adds to it just after, must not be lost: it is settled again,
// as stale.
func TestASuccessThatIsTooLateIsNotLost(t *testing.T) {
	b := New()
	ticket := policy.Ticket{Period: b.current().generation}
	require.True(t, b.countFast(ticket))
	e := b.current()
	b.Reset()
	require.Less(t, e.good.n.Load(), int64(0))
	b.era.Store(e) // what the success has in its hand
	require.False(t, b.countFast(ticket))
	require.Less(t, e.good.n.Load(), int64(0), "the next one, too")
	require.False(t, b.countFast(ticket))
}

// One that adds to its era while somebody else is about to end it counts as the success that it is.
func TestASuccessThatIsJustInTimeIsCounted(t *testing.T) {
	b := New()
	ticket := policy.Ticket{Period: b.current().generation}
	require.True(t, b.countFast(ticket))
	b.update(func(c *core, now time.Duration) {
		c.force(ForcedOpen, ReasonForced, policy.Cause{}, now)
		require.True(t, b.countFast(ticket))
	})
	s := b.Snapshot()
	require.EqualValues(t, 2, s.Successes)
	require.EqualValues(t, 2, s.Requests)
}

// Where no rule can trip, a success needs no window, so it takes no lock however old the window's bucket is.
func TestASuccessOfAForcedBreakerTakesNoLock(t *testing.T) {
	for name, opts := range map[string][]Option{
		"time window": {FailureRate(0.5, 20)}, "slow calls": {SlowCalls(time.Second, 0.5, 20)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(opts...)
				b.ForceClosed()
				for range 3 {
					_, ticket, err := b.Admit(t.Context())
					require.NoError(t, err)
					time.Sleep(time.Hour)
					require.True(t, b.countFast(ticket))
				}
				s := b.Snapshot()
				require.EqualValues(t, 3, s.Successes)
				require.EqualValues(t, 3, s.Requests)
				b.Reset()
				_, ticket, _ := b.Admit(t.Context())
				time.Sleep(time.Hour)
				require.False(t, b.countFast(ticket), "closed: the window must learn of the time")
				b.Settle(t.Context(), ticket, policy.Outcome{Kind: policy.Returned})
				require.EqualValues(t, 1, b.Snapshot().Calls)
			})
		})
	}
}

// In shadow and after a ramp the breaker is as closed as ever: one success an age of the bucket takes the lock, no more.
func TestAClosedBreakerTakesTheLockOnceABucket(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *Breaker){
		"shadow": func(_ *testing.T, b *Breaker) { b.Shadow() },
		"after a ramp": func(t *testing.T, b *Breaker) {
			b.Trip()
			time.Sleep(time.Hour)
			for range 2 { // the probe, and the first attempt after the ramp
				_, ticket, err := b.Admit(t.Context())
				require.NoError(t, err)
				b.Settle(t.Context(), ticket, policy.Outcome{Kind: policy.Returned})
				time.Sleep(time.Hour)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(FailureRate(0.5, 20), Ramp(time.Minute))
				prepare(t, b)
				for range 3 {
					time.Sleep(time.Hour)
					_, ticket, err := b.Admit(t.Context())
					require.NoError(t, err)
					require.False(t, b.countFast(ticket))
					b.Settle(t.Context(), ticket, policy.Outcome{Kind: policy.Returned})
					for range 10 {
						require.True(t, b.countFast(ticket))
					}
				}
			})
		})
	}
}
