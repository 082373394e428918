package replay

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// A replay repeats itself, whatever the resolution of the log, and whatever the pipeline: also where timers of several
// policies would be due at the same instant, and where slots wake other calls.
func TestReplaysRepeatThemselves(t *testing.T) {
	pipelines := []string{
		`{"kind":"timeout","total":"2s"},{"kind":"retry","attempts":4,"constant":"20ms","noJitter":true,"noBudget":true},{"kind":"hedge","after":"50ms","idempotent":true},{"kind":"ratelimit","perSecond":240,"burst":10,"maxWait":"50ms"},{"kind":"bulkhead","limit":6,"queue":{"length":20,"wait":"50ms"}},{"kind":"timeout","perAttempt":"100ms"}`,
		`{"kind":"hedge","after":"50ms","idempotent":true},{"kind":"bulkhead","limit":8,"queue":{"length":20,"wait":"50ms"}}`,
		`{"kind":"retry"},{"kind":"breaker","failureRate":{"rate":0.3,"minimumCalls":20}},{"kind":"throttle"}`,
	}
	for _, tick := range []time.Duration{1, time.Millisecond, time.Second} {
		log := random(testsize.Pick(600, 2000), tick)
		squeeze(log, int64(testsize.Pick(1200, 400)))
		l := log.log(t)
		for i, layers := range pipelines[:testsize.Pick(2, 3)] {
			c := candidate(t, layers)
			first, err := Run(l, c, Trace(), 1, nil)
			require.NoError(t, err)
			runs := testsize.Pick(3, 20)
			if raceEnabled {
				runs = 2
			}
			for range runs - 1 {
				again, err := Run(l, c, Trace(), 1, nil)
				require.NoError(t, err)
				require.Equal(t, first.Hash, again.Hash, "pipeline %d, times to %v", i, tick)
				first.Took, again.Took = 0, 0
				require.Equal(t, first, again)
			}
			other, err := Run(l, c, Trace(), 2, nil)
			require.NoError(t, err)
			if i == 2 {
				require.NotEqual(t, first.Hash, other.Hash, "another seed is other luck")
			}
		}
	}
}

// squeeze makes a log of an hour one of a few seconds, so that calls meet each other.
func squeeze(m *made, factor int64) {
	tick := m.notes.Resolution
	for i := range m.records {
		at := m.records[i].Start.Sub(noon) / time.Duration(factor)
		m.records[i].Start = noon.Add(at.Truncate(tick))
		m.records[i].Latency = max(m.records[i].Latency, time.Duration(i%50)*time.Millisecond)
	}
}

// What is kept of a line is so small that a million lines need a small part of 500 MB; see BenchmarkY3_Lines for the time.
func TestY3_MemoryOfALine(t *testing.T) {
	source := random(100_000, time.Millisecond)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := source.log(t)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, float64(after.HeapAlloc-before.HeapAlloc)/100_000, 100.0, "bytes a line")
	runtime.KeepAlive(source)
	runtime.KeepAlive(l)
}

// BenchmarkY3_Lines replays a log with one model; it reports lines a second.
func BenchmarkY3_Lines(b *testing.B) {
	l := random(100_000, time.Millisecond).log(b)
	c := candidate(b, `{"kind":"timeout","total":"2s"},{"kind":"retry"},{"kind":"breaker","failureRate":{"rate":0.5,"minimumCalls":20}},{"kind":"bulkhead","limit":64},{"kind":"timeout","perAttempt":"300ms"}`)
	for b.Loop() {
		_, err := Run(l, c, Trace(), 1, nil)
		require.NoError(b, err)
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
