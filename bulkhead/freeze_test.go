package bulkhead

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// An attempt can find the word frozen by a Resize although there is a free slot. Without a queue it must not be refused
// for that: it looks again, under the mutex.
func TestFrozenIsNotFull(t *testing.T) {
	b := New(1)
	require.NoError(t, b.acquire(context.Background(), 1))
	require.Equal(t, 1, b.Snapshot().InFlight)
	require.ErrorIs(t, b.acquire(context.Background(), 1), ErrFull)
}
