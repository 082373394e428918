package ratelimit

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// A clock that goes back by a day at most flaps, and the limiter waits for it to catch up; beyond that it is another
// clock, by which the limiter goes on.
func TestFault118_HowFarBackTellsTheClocksApart(t *testing.T) {
	for back, another := range map[time.Duration]bool{24 * time.Hour: false, 24*time.Hour + 1: true} {
		l := Every(time.Hour, 1)
		at := 48 * time.Hour
		require.True(t, l.bucket.takeAt(at))
		require.False(t, l.bucket.takeAt(at-back))
		require.Equal(t, another, l.bucket.takeAt(at-back+time.Hour), "%v back, and an hour later by that clock", back)
	}
}

// What comes beyond the horizon comes never, also when the limiter has been there for long: no moment overflows.
func TestFault127_TheHorizonDoesNotMove(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for left, ever := range map[time.Duration]bool{30 * year: false, 33 * year: true} { // a token takes 31.7 years
		l := New(MinRate, 1)
		l.bucket.advance(horizon - left)
		require.True(t, l.bucket.take(1))
		_, ok := l.bucket.turn(1)
		require.Equal(t, ever, ok, "%d years are left", left/year)
		_, ok = l.bucket.turnBehind(1, 1)
		require.False(t, ok, "two tokens")
	}
	l := New(MinRate, 1)
	l.bucket.advance(horizon - 65*year)
	require.True(t, l.bucket.take(1))
	_, ok := l.bucket.turnBehind(1, 1)
	require.True(t, ok)

	l = New(MinRate, 10)
	l.bucket.advance(horizon - 46*year)
	require.True(t, l.bucket.take(7))
	require.False(t, l.bucket.take(4), "full in 222 years, which is beyond the largest moment")
}

// The cost of an attempt may be so much above the burst that it cannot be told from it in float64. It is refused, and
// nothing is borrowed afterwards.
func TestFault128_ACostJustAboveTheLargestBurst(t *testing.T) {
	for _, known := range []bool{true, false} { // whether it is known that the bucket is full
		l := New(10, MaxBurst)
		if !known {
			require.True(t, l.bucket.take(1))
			l.bucket.giveBack(1)
		}
		require.False(t, l.bucket.take(MaxBurst+1))
		require.True(t, l.bucket.take(MaxBurst))
		l.bucket.advance(100*time.Millisecond - 1)
		require.False(t, l.bucket.take(1))
		l.bucket.advance(100 * time.Millisecond)
		require.True(t, l.bucket.take(1))
	}
}

// What an admission needs is in the first two of the four lines of memory that a limiter fills.
func TestLimiterFillsItsLines(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("words of another size")
	}
	var l Limiter
	require.Equal(t, uintptr(256), unsafe.Sizeof(l))
	require.Equal(t, uintptr(128), unsafe.Offsetof(l.bucket)+unsafe.Offsetof(l.bucket.certain))
}
