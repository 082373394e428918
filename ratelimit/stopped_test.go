package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A process can be stopped between the reading of the clock and the lock, for as long as anybody likes. That is no other
// clock, and mints nothing.
func TestFault118_AReadingThatIsVeryOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 10)
		old := l.bucket.clock.Elapsed()
		time.Sleep(48 * time.Hour)
		admitted := 0
		for i := range 50 {
			reading := l.bucket.clock.Elapsed()
			if i%5 == 2 {
				reading = old
			}
			if l.bucket.takeAt(reading) {
				admitted++
			}
		}
		require.Equal(t, 10, admitted)
		require.Zero(t, l.bucket.shift)
	})
}
