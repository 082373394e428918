package replay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
)

// recording is what our own recorder writes of a world: calls that come by chance, through a candidate, to a server.
func recording(t *testing.T, c *Candidate, seed uint64, rate float64, horizon time.Duration, server *sim.Server) []byte {
	t.Helper()
	var out bytes.Buffer
	var recorder *policyslog.Recorder
	_, err := sim.Run(seed, func(w *sim.World) {
		recorder = policyslog.Record(&out, policyslog.Buffer(1<<28))
		pipeline, err := c.compose(w, resilience.Observe(recorder))
		if err != nil {
			panic(err)
		}
		w.Open(sim.Poisson(rate), horizon, func(a *sim.Actor) error { return pipeline.Run(a, server.Call) })
		w.At(horizon+time.Hour, func() {})
	})
	require.NoError(t, err)
	require.NoError(t, recorder.Close())
	return out.Bytes()
}

// again is the recording of a replay of a recording.
func again(t *testing.T, c *Candidate, seed uint64, recording []byte) []byte {
	t.Helper()
	source, err := logs.Open(bytes.NewReader(recording), logs.Options{})
	require.NoError(t, err)
	log, err := Read(source, nil)
	require.NoError(t, err)
	log.startAt(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when worlds begin
	var out bytes.Buffer
	var recorder *policyslog.Recorder
	_, err = RunWith(log, c, Trace(), seed, nil, func() policy.Layer {
		recorder = policyslog.Record(&out, policyslog.Buffer(1<<28))
		return resilience.Observe(recorder)
	})
	require.NoError(t, err)
	require.NoError(t, recorder.Close())
	return out.Bytes()
}

// Identity: the lines that our recorder wrote are those that it writes when they are replayed, byte for byte.
func TestY1_IdentityWithOurRecorder(t *testing.T) {
	pipelines := map[string]string{
		"retry and breaker":   `{"kind":"retry"},{"kind":"breaker","failureRate":{"rate":0.5,"minimumCalls":20}}`,
		"bulkhead, timeouts":  `{"kind":"timeout","total":"2s"},{"kind":"retry"},{"kind":"breaker","failureRate":{"rate":0.5,"minimumCalls":20}},{"kind":"bulkhead","limit":24,"queue":{"length":10,"wait":"50ms"}},{"kind":"timeout","perAttempt":"300ms"}`,
		"hedge":               `{"kind":"timeout","total":"2s"},{"kind":"retry"},{"kind":"hedge","idempotent":true,"after":"60ms"},{"kind":"bulkhead","limit":64},{"kind":"timeout","perAttempt":"300ms"}`,
		"rate limit":          `{"kind":"retry"},{"kind":"ratelimit","perSecond":180,"burst":20,"maxWait":"50ms"},{"kind":"timeout","perAttempt":"300ms"}`,
		"throttle":            `{"kind":"retry","attempts":4,"noBudget":true},{"kind":"throttle"},{"kind":"timeout","perAttempt":"200ms"}`,
		"constant waits":      `{"kind":"retry","attempts":4,"constant":"20ms","noJitter":true,"noBudget":true},{"kind":"bulkhead","limit":12,"queue":{"length":20,"wait":"50ms"}},{"kind":"timeout","perAttempt":"100ms"}`,
		"nothing but timeout": `{"kind":"timeout","perAttempt":"150ms"}`,
	}
	if raceEnabled {
		pipelines = map[string]string{"hedge": pipelines["hedge"]}
	}
	for name, layers := range pipelines {
		t.Run(name, func(t *testing.T) {
			c, err := NewCandidate("p.json", []byte(`{"pipelines":{"users":{"layers":[`+layers+`]}}}`), "")
			require.NoError(t, err)
			for seed := range uint64(testsize.Pick(1, 12)) {
				server := &sim.Server{
					Slots: 10, Queue: 200, Service: sim.Either(.05, sim.Exponential(300*time.Millisecond), sim.Exponential(25*time.Millisecond)),
					Fails: func(at time.Duration) float64 {
						if at > 2*time.Second && at < 4*time.Second {
							return .6
						}
						return .02
					},
				}
				recorded := recording(t, c, seed, 200, 6*time.Second, server)
				require.Greater(t, bytes.Count(recorded, []byte("\n")), 1000)
				replayed := again(t, c, seed, recorded)
				requireSameLines(t, recorded, replayed)
			}
		})
	}
}

var callNumber = regexp.MustCompile(`"call":(\d+)`)

// renumbered numbers the calls of a recording from 1: the process gives out numbers, and never the same again.
func renumbered(recording []byte) []byte {
	numbers := map[string]int{}
	return callNumber.ReplaceAllFunc(recording, func(match []byte) []byte {
		if numbers[string(match)] == 0 {
			numbers[string(match)] = len(numbers) + 1
		}
		return fmt.Appendf(nil, `"call":%d`, numbers[string(match)])
	})
}

// requireSameLines shows the first lines that differ.
func requireSameLines(t *testing.T, want, got []byte) {
	t.Helper()
	want, got = renumbered(want), renumbered(got)
	if bytes.Equal(want, got) {
		return
	}
	a, b := bytes.Split(want, []byte("\n")), bytes.Split(got, []byte("\n"))
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			t.Fatalf("line %d of %d and %d:\n%s\n%s", i+1, len(a), len(b), a[i], b[i])
		}
	}
	t.Fatalf("%d lines, and %d", len(a), len(b))
}

// random is a log of n requests in an hour, ten minutes of which are bad.
func random(n int, tick time.Duration) *made {
	r := rand.New(rand.NewPCG(9, 9))
	out := &made{notes: logs.Notes{Format: "made", Why: "it was made", Resolution: tick}}
	at := 0.0
	for range n {
		at += r.ExpFloat64() * 3600 / float64(n)
		took, bad := 20e6*(.5+r.ExpFloat64()), .005
		if at > 1200 && at < 1800 {
			took, bad = took*8, .3
		}
		record := logs.Record{Start: noon.Add(time.Duration(at * 1e9).Truncate(tick)), Latency: time.Duration(took).Truncate(min(tick, time.Millisecond))}
		if r.Float64() < bad {
			record.Failed, record.Kind = true, "5xx"
		}
		out.records = append(out.records, record)
	}
	return out
}

// startAt lets the time of a replay begin before the first call, when the policies were made.
func (l *Log) startAt(begin time.Time) {
	lead := l.Begin.Sub(begin)
	l.Begin = begin
	l.Span += lead
	for i := range l.calls {
		l.calls[i].at += lead
	}
	for i := range l.attempts {
		l.attempts[i].at += lead
	}
}
