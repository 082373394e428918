package ratelimit

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
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
		next := old.after(fewer, func() time.Duration {
			reading := p.clock.Elapsed()
			if asked++; asked == 1 { // no segment is closed yet
				take()
				for range 100 {
					time.Sleep(time.Millisecond)
					take()
				}
				require.Equal(t, 110, taken)
			}
			return reading
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

// A process can be stopped for days between a reading of the clock and its use, and the quota be changed meanwhile. That is no
// other clock, and mints nothing.
func TestFault118_APerKeyReadsTheClockAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPerKey[string](1, 10, nil)
		time.Sleep(48 * time.Hour) // after a reading of 0
		require.NoError(t, p.Reconfigure(1, 10))
		q := p.quota.Load()
		require.False(t, q.reaches(0))
		p.adopt()
		require.Same(t, q, p.quota.Load())
	})
}

// While keys are moved, a report waits for the word of its key, and does not say that the bucket is full.
func TestPerKeyReportWhileKeysAreMoved(t *testing.T) {
	p := NewPerKey[string](0.001, 10, nil, Keys(1000))
	for p.Allow("a") {
	}
	fewer, err := configurePerKey[string](nil, 0.001, 10, []Option{Keys(100)})
	require.NoError(t, err)
	reports, begun := make(chan policy.Report), make(chan struct{})
	p.mu.Lock() // as Reconfigure does
	old := p.quota.Load()
	asked := 0
	p.quota.Store(old.after(fewer, func() time.Duration {
		if asked++; asked == 2 { // the table is closed
			go func() {
				close(begun)
				report, _ := p.ReportOf("a")
				reports <- report
			}()
			<-begun
			for range 1000 {
				runtime.Gosched()
			}
		}
		return p.clock.Elapsed()
	}))
	p.mu.Unlock()
	require.Equal(t, 2, asked)
	require.Less(t, (<-reports).Values[0].Number, 1.0)
}
