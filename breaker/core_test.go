package breaker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStreak(t *testing.T) {
	var s streak
	for range 3 {
		s = s.next(true, 10)
	}
	require.Equal(t, streak{failures: 3, good: 10}, s)
	require.EqualValues(t, 2, s.successes(12))
	require.Equal(t, streak{failures: 1, good: 12}, s.next(true, 12))
	s = s.next(false, 10) // a slow success, which is not in good
	require.EqualValues(t, 1, s.successes(10))
	require.Equal(t, streak{failures: 1, good: 10}, s.next(true, 10))
}
