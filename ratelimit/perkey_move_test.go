package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// While keys are moved, which takes a tenth of a second for a million of them, attempts go on by the old quota until their
// segment is closed. What they take counts: the bucket does not get the tokens of that time twice.
func TestPerKeyWindowBoundWhileKeysAreMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 1000, 10
		p := NewPerKey[string](perSecond, burst, nil, Keys(1000))
		fewer, err := configurePerKey[string](nil, perSecond, burst, []Option{Keys(100)})
		require.NoError(t, err)
		begin, taken := time.Now(), 0
		take := func() {
			for p.Allow("a") {
				taken++
			}
			require.LessOrEqual(t, taken, burst+int(perSecond*time.Since(begin)/time.Second))
		}
		old := p.quota.Load()
		asked := 0
		next := old.after(fewer, func() (int64, time.Duration) {
			ceiling, start := p.end(old)
			if asked++; asked == 1 { // no segment is closed yet
				take()
				for range 100 {
					time.Sleep(time.Millisecond)
					take()
				}
				require.Equal(t, 110, taken)
			}
			return ceiling, start
		})
		require.NotSame(t, old.table, next.table)
		require.Equal(t, 2, asked)
		p.quota.Store(next)
		take()
		require.Equal(t, 110, taken)
		time.Sleep(time.Millisecond + 1) // a change takes a nanosecond
		take()
		require.Equal(t, 111, taken)
	})
}
