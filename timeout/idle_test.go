package timeout_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/timeout"
)

// Whoever sees the new limit must not be told that a new Timeout would be the same. The moment in between is short: it takes
// many Timeouts to hit it.
func TestATimeoutIsNotIdleOnceItsLimitIsNew(t *testing.T) {
	const before, after = time.Second, 2 * time.Second
	limits := make([]*timeout.Timeout, 200_000)
	for i := range limits {
		limits[i] = timeout.Total(before)
	}
	failed := make(chan error, 1)
	go func() {
		for _, limit := range limits {
			if err := limit.Reconfigure(after); err != nil {
				failed <- err
				return
			}
		}
	}()
	for _, limit := range limits {
		for limit.TimeLimit() == before {
			if len(failed) > 0 {
				require.NoError(t, <-failed)
			}
		}
		require.False(t, limit.Idle())
	}
}
