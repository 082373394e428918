package bulkhead

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

// An attempt can find the word frozen by a Reconfigure although there is a free slot. Without a queue it must not be refused
// for that: it looks again, under the mutex.
func TestFrozenIsNotFull(t *testing.T) {
	b := New(1)
	_, err := b.acquire(context.Background(), 1)
	require.NoError(t, err)
	require.Equal(t, 1, b.Snapshot().InFlight)
	_, err = b.acquire(context.Background(), 1)
	require.ErrorIs(t, err, ErrFull)
}

// Whoever finds the word frozen must not change it, since the holder of the mutex is about to write what it has
// calculated: the way leads through the mutex, and on it the word is thawed again.
func TestFrozenIsLeftAlone(t *testing.T) {
	for name, b := range map[string]*Bulkhead{
		"plain":   New(3),
		"queue":   New(3, Queue(1, time.Hour)),
		"weights": New(3, WeightOf(func(context.Context) int { return 1 })),
	} {
		t.Run(name, func(t *testing.T) {
			b.freeze()
			ctx, ticket, err := b.Admit(t.Context())
			require.NoError(t, err)
			require.False(t, b.word.load().frozen(), "it went past the mutex")
			require.Equal(t, 1, b.Snapshot().InFlight)
			b.freeze()
			b.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
			require.False(t, b.word.load().frozen(), "it went past the mutex")
			require.Zero(t, b.Snapshot().InFlight)
			require.Equal(t, 1, b.Snapshot().PeakInFlight)
		})
	}
}
