package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Reconfigure has read the time, and before it replaces the window an admission begins the next bucket: the new window begins
// with that bucket too, or it would have no place for what is in it.
func TestAWindowThatTurnsWhileItsSuccessorIsMade(t *testing.T) {
	w := newWindow(4*time.Second, 4, 0)
	now := 999 * time.Millisecond
	newest, _ := w.advance(time.Second)
	w.count(&w.bucket(newest).started)
	w.answered(newest, true)
	next := w.replace(10*time.Second, 10, now)
	_, counts := next.at(now)
	require.Equal(t, tally{requests: 1, accepts: 1}, counts)
}

// An admission that began before the window was replaced finds it out too late to keep its hands off. Counts that are about to be
// moved must not be cleared by it, nor be taken for those of another bucket.
func TestAReplacedWindowDoesNotTurn(t *testing.T) {
	w := newWindow(4*time.Second, 4, 0)
	next := w.replace(10*time.Second, 10, 0)
	w.bucket(0).accepted.Add(1) // a success in the middle of count
	newest, _ := w.advance(5 * time.Second)
	require.Zero(t, newest)
	w.drain() // the rest of count
	_, counts := next.at(5 * time.Second)
	require.Equal(t, tally{accepts: 1}, counts)
}
