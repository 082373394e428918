package bulkhead

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// While the word is frozen, by a Resize for example, an attempt without a queue is not refused: it looks again.
func TestFrozenIsNotFull(t *testing.T) {
	b := New(1)
	b.mu.Lock()
	b.freeze()
	result := make(chan error)
	go func() {
		_, _, err := b.Admit(context.Background())
		result <- err
	}()
	select {
	case err := <-result:
		t.Errorf("did not wait for the mutex: %v", err)
		b.mu.Unlock()
		return
	default:
	}
	b.thaw()
	b.mu.Unlock()
	require.NoError(t, <-result)
	require.Equal(t, 1, b.Snapshot().InFlight)
}
