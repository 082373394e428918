package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/minheap"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
	"github.com/go-resilience/resilience/lab/internal/theory"
)

// queue is a log of M/M/c, made without the library: Poisson arrivals, exponential service, first come first served.
func queue(seed uint64, slots int, perSecond float64, service time.Duration, horizon float64) (m *made, meanService float64) {
	r := rand.New(rand.NewPCG(seed, 4))
	m = &made{notes: logs.Notes{Format: "made", Why: "it was made", Resolution: 1}}
	free := make(minheap.Heap[time.Duration], slots)
	n := 0.0
	for at := r.ExpFloat64() / perSecond; at < horizon; at += r.ExpFloat64() / perSecond {
		came := time.Duration(at * 1e9)
		took := time.Duration(r.ExpFloat64() * float64(service))
		done := max(came, free[0]) + took
		free.Replace(done)
		m.records = append(m.records, logs.Record{Start: noon.Add(came), Latency: done - came})
		meanService += took.Seconds()
		n++
	}
	return m, meanService / n
}

// The replay of a log of M/M/c waits as the closed form says, within six standard errors of so many runs.
func TestY4_QueueByClosedForm(t *testing.T) {
	const slots, load, horizon = 10, 8.0, 60.0
	service := 40 * time.Millisecond
	n := testsize.Pick(2, 10)
	_, wait := reference.Queue(slots, load, horizon/service.Seconds(), 0, false, 20)
	sum := 0.0
	for seed := range uint64(n) {
		source, mean := queue(seed, slots, load/service.Seconds(), service, horizon)
		log := source.log(t)
		f := newFit(log)
		require.Equal(t, slots, f.slots)
		require.Greater(t, f.growth, significant, "load shows")
		require.Less(t, math.Abs(f.residual), significant, "and the slots explain it")
		m, err := Run(log, WithoutPolicies(), f.server(variant{}), 1, nil)
		require.NoError(t, err)
		require.Equal(t, len(log.calls), m.Succeeded)
		sum += (m.Waited.Seconds()/float64(m.Calls) - mean) / service.Seconds()
		recorded := log.Recorded()
		require.InEpsilon(t, recorded.Waited.Seconds(), m.Waited.Seconds(), .1, "and as this log says")
		require.InEpsilon(t, recorded.P99.Seconds(), m.P99.Seconds(), .15)
	}
	allowed := 6 * math.Hypot(wait.Deviation/math.Sqrt(float64(n)), wait.Error)
	require.InDelta(t, theory.MeanWait(slots, load), sum/float64(n), allowed)
}

// Slots are found also where times are in milliseconds, and not found where load changes nothing.
func TestSlotsAreFound(t *testing.T) {
	for _, slots := range []int{4, 12} {
		source, _ := queue(7, slots, .9*float64(slots)/.05, 50*time.Millisecond, 40)
		require.Equal(t, slots, newFit(source.log(t)).slots)
	}
	source, _ := queue(7, 1000, 200, 30*time.Millisecond, 40)
	f := newFit(source.log(t))
	require.Zero(t, f.slots)
	require.Less(t, math.Abs(f.growth), significant)
}

// A log in the order in which requests ended, with times in milliseconds, says nothing of load where load changes nothing:
// those that began in the same millisecond are not slower for standing further down.
func TestTheOrderOfALogIsNoLoad(t *testing.T) {
	source, _ := queue(7, 1000, 1000, 30*time.Millisecond, 60)
	inMilliseconds(source)
	f := newFit(source.log(t))
	require.Less(t, math.Abs(f.growth), significant)
	require.Less(t, math.Abs(f.residual), significant)
	require.Zero(t, f.slots)

	source, _ = queue(7, 12, 216, 50*time.Millisecond, 40)
	inMilliseconds(source)
	require.Equal(t, 12, newFit(source.log(t)).slots, "and slots are found")
}

// inMilliseconds makes of a log one as nginx writes it: in the order of the ends, which are in milliseconds.
func inMilliseconds(m *made) {
	end := func(r logs.Record) time.Time { return r.Start.Add(r.Latency) }
	slices.SortStableFunc(m.records, func(a, b logs.Record) int { return end(a).Compare(end(b)) })
	for i, r := range m.records {
		m.records[i].Latency = r.Latency.Truncate(time.Millisecond)
		m.records[i].Start = end(r).Truncate(time.Millisecond).Add(-m.records[i].Latency)
	}
	m.notes.Resolution = time.Millisecond
}

// A bound of the queue is found by failures that come at once, all at one level.
func TestBoundIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := &made{notes: logs.Notes{Resolution: 1}}
	free := make(minheap.Heap[time.Duration], 6)
	var ends minheap.Heap[time.Duration]
	for at := 0.0; at < 40; at += r.ExpFloat64() / 200 {
		came := time.Duration(at * 1e9)
		ends.Drop(came)
		if len(ends) >= 6+15 {
			m.records = append(m.records, logs.Record{Start: noon.Add(came), Latency: 50 * time.Microsecond, Failed: true, Kind: "5xx"})
			continue
		}
		done := max(came, free[0]) + time.Duration(r.ExpFloat64()*35e6)
		free.Replace(done)
		ends.Push(done)
		m.records = append(m.records, logs.Record{Start: noon.Add(came), Latency: done - came})
	}
	f := newFit(m.log(t))
	require.Equal(t, 6, f.slots)
	require.Equal(t, 15, f.queue)
}
