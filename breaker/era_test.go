package breaker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

// A success that finds its era just before it ends, and adds to it just after, must not be lost: it is settled again,
// as stale.
func TestASuccessThatIsTooLateIsNotLost(t *testing.T) {
	b := New()
	ticket := policy.Ticket{Period: b.current().generation}
	require.True(t, b.succeed(ticket))
	e := b.current()
	b.Reset()
	require.Less(t, e.good.n.Load(), int64(0))
	b.era.Store(e) // what the success has in its hand
	require.False(t, b.succeed(ticket))
	require.Less(t, e.good.n.Load(), int64(0), "the next one, too")
	require.False(t, b.succeed(ticket))
}

// One that adds to its era while somebody else is about to end it counts as the success that it is.
func TestASuccessThatIsJustInTimeIsCounted(t *testing.T) {
	b := New()
	ticket := policy.Ticket{Period: b.current().generation}
	require.True(t, b.succeed(ticket))
	b.update(func(c *core, now time.Duration) {
		c.force(ForcedOpen, ReasonForced, policy.Cause{}, now)
		require.True(t, b.succeed(ticket))
	})
	s := b.Snapshot()
	require.EqualValues(t, 2, s.Successes)
	require.EqualValues(t, 2, s.Requests)
}
