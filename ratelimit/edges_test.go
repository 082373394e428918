package ratelimit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A clock that goes back by a day at most flaps, and the limiter waits for it to catch up; beyond that it is another
// clock, by which the limiter goes on.
func TestFault118_HowFarBackTellsTheClocksApart(t *testing.T) {
	for back, another := range map[time.Duration]bool{24 * time.Hour: false, 24*time.Hour + 1: true} {
		l := Every(time.Hour, 1)
		at := 48 * time.Hour
		require.True(t, l.decideFor(at))
		require.False(t, l.decideFor(at-back))
		require.Equal(t, another, l.decideFor(at-back+time.Hour), "%v back, and an hour later by that clock", back)
	}
}

// The cost of an attempt may be so much above the burst that it cannot be told from it in float64. It is refused, and
// nothing is borrowed afterwards.
func TestFault128_ACostJustAboveTheLargestBurst(t *testing.T) {
	l := New(10, MaxBurst)
	require.False(t, l.bucket.take(MaxBurst+1))
	require.True(t, l.bucket.take(MaxBurst))
	l.bucket.advance(100*time.Millisecond - 1)
	require.False(t, l.bucket.take(1))
	l.bucket.advance(100 * time.Millisecond)
	require.True(t, l.bucket.take(1))
}
