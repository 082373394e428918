package replay

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

// What was recorded is shown exactly, and a pipeline without policies changes nothing of it.
func TestY2_WithoutPoliciesNothingChanges(t *testing.T) {
	for _, tick := range []time.Duration{1, time.Millisecond, time.Second} {
		source := random(2000, tick)
		var took []time.Duration
		failed, busy := 0, time.Duration(0)
		for _, r := range source.records {
			busy += r.Latency
			if r.Failed {
				failed++
			} else {
				took = append(took, r.Latency)
			}
		}
		slices.Sort(took)
		log := source.log(t)
		recorded := log.Recorded()
		require.Equal(t, 2000, recorded.Calls)
		require.Equal(t, 2000-failed, recorded.Succeeded)
		require.Equal(t, failed, recorded.Failed)
		require.Equal(t, []Count{{"5xx", failed}}, recorded.Kinds)
		require.Equal(t, 2000, recorded.Attempts)
		require.Equal(t, busy, recorded.Busy)
		require.Equal(t, busy, recorded.Waited)
		for q, got := range map[float64]time.Duration{.5: recorded.P50, .95: recorded.P95, .99: recorded.P99} {
			require.Equal(t, took[int(math.Ceil(q*float64(len(took))))-1], got, q)
		}
		replayed, err := Run(log, WithoutPolicies(), Trace(), 1, nil)
		require.NoError(t, err)
		require.NotZero(t, replayed.Hash)
		replayed.Hash, replayed.Took = 0, 0
		require.Equal(t, recorded, replayed, tick)
	}
}

// outage is a log of two minutes in which the dependency is down for 20 s.
func outage() *made {
	m := &made{notes: logs.Notes{Format: "made", Why: "it was made", Resolution: 1}}
	for i := range 12_000 {
		at := time.Duration(i)*10*time.Millisecond + time.Duration(i*7919%5_000_000)
		r := logs.Record{Start: noon.Add(at), Latency: 20*time.Millisecond + time.Duration(i*7907%20_000_000)}
		if at > 40*time.Second && at < 60*time.Second {
			r.Failed, r.Kind, r.Latency = true, "5xx", 5*time.Millisecond
		}
		m.records = append(m.records, r)
	}
	return m
}

// The table shows the state of each layer over time, refusals by policy and code, and limits against peaks.
func TestStatesRefusalsAndLimitsAreInTheTable(t *testing.T) {
	log := outage().log(t)
	c := candidate(t, `{"kind":"breaker","name":"users-db","consecutiveFailures":5,"openFor":"5s","jitter":0},{"kind":"bulkhead","limit":4},{"kind":"ratelimit","perSecond":1000,"burst":100}`)
	m, err := Run(log, c, Trace(), 1, nil)
	require.NoError(t, err)
	require.Equal(t, 12_000, m.Succeeded+m.Failed+m.Refused)
	require.Len(t, m.Refusals, 2)
	require.Equal(t, `breaker.open "users-db"`, m.Refusals[0].What)
	require.Equal(t, "bulkhead.full", m.Refusals[1].What)
	require.Equal(t, m.Refused, m.Refusals[0].N+m.Refusals[1].N)
	require.InDelta(t, 2000, m.Refusals[0].N, 200)
	require.Len(t, m.States, 2)
	open := time.Duration(0)
	for _, span := range m.States[0].Spans {
		if span.State == "open" {
			open += span.Until - span.From
		}
	}
	require.InDelta(t, 20, open.Seconds(), 5)
	require.Contains(t, m.Limits, Limit{"bulkhead 4", "attempts at once", 4, 4})

	report := &Report{Files: []string{"x.log"}, Log: log, Recorded: log.Recorded(), Predictions: []*Prediction{{Candidate: c, Verdict: Firm, Model: Trace(), Main: m}}}
	text := report.Text()
	for _, want := range []string{
		`breaker.open "users-db"`, "bulkhead.full", "at most 4 attempts at once, the limit is 4", "recorded: 5 attempts at once, 100 in a second", `breaker "users-db": closed`, "open 2", "|....................ooo", "prediction: firm",
		"lost", "worst ten seconds", "0.0 % at 12:00:4",
	} {
		require.Contains(t, text, want)
	}
	require.Less(t, strings.Index(text, "prediction: firm"), strings.Index(text, "succeeded"), "the verdict comes before any number of it")
}

// Lost and gained are told apart: what a candidate loses is not made up for by what it gains.
func TestLostAndGained(t *testing.T) {
	log := outage().log(t)
	recorded := log.Recorded()
	m, err := Run(log, candidate(t, `{"kind":"retry","attempts":5,"constant":"30s","noBudget":true},{"kind":"ratelimit","perSecond":50,"burst":1}`), Trace(), 1, nil)
	require.NoError(t, err)
	require.Positive(t, m.Lost)
	require.Equal(t, m.Succeeded, recorded.Succeeded-m.Lost+m.Gained)
}

func TestConditions(t *testing.T) {
	recorded := &Measured{Calls: 1000, Succeeded: 900, Attempts: 1000, Busy: time.Minute, Waited: time.Minute}
	m := &Measured{Calls: 1000, Succeeded: 880, Lost: 27, Gained: 7, Failed: 20, Refused: 100, Attempts: 1500, Busy: 30 * time.Second, Waited: time.Minute, P99: 250 * time.Millisecond}
	for text, want := range map[string]bool{
		"lost > 2.9 %": true, "lost > 3 %": false, "lost>=3%": true, "gained < 1 %": true, "success < 88 %": false, "success <= 88 %": true, "refused > 9.99 %": true,
		"attempts > 149 %": true, "busy > 50 %": false, "waited >= 100 %": true, "p99 > 249ms": true, "p99 > 1s": false, " p50 < 1 ms ": true, "failed > 1e0 %": true,
	} {
		c, err := ParseCondition(text)
		require.NoError(t, err, text)
		require.Equal(t, want, c.holds(recorded, m), text)
	}
	for _, text := range []string{"", "lost", "lost > ", "lost > 1", "lost > x %", "lost > -1 %", "lost > NaN %", "lost > Inf %", "lost = 1 %", "lost > 1 % 2", "loss > 1 %", "p99 > 1", "p99 > 1 %", "p99 > -1ms", "lost > 0x1 %", "> 1 %", "lost <> 1 %"} {
		_, err := ParseCondition(text)
		require.Error(t, err, text)
	}
}

// A latency of no call at all is longer than any: a candidate that lets nothing through is not fast.
func TestConditionsWithoutSuccesses(t *testing.T) {
	recorded, m := &Measured{Calls: 100, Succeeded: 100}, &Measured{Calls: 100, Refused: 100}
	for text, want := range map[string]Answer{"p99 > 500ms": Yes, "p50 < 10s": No} {
		c, err := ParseCondition(text)
		require.NoError(t, err)
		got, words := (&Prediction{Verdict: Firm, Main: m}).Holds(c, recorded)
		require.Equal(t, want, got, text)
		require.Contains(t, words, "of no success")
	}
}

// A marked prediction fails a build only if every guess does, and passes it only if none does.
func TestY7_ConditionsAndVerdicts(t *testing.T) {
	recorded := &Measured{Calls: 1000, Succeeded: 1000}
	trial := func(lost int, counts bool) *Trial {
		return &Trial{Outcome: &Measured{Calls: 1000, Lost: lost}, Counts: counts}
	}
	c, err := ParseCondition("lost > 1 %")
	require.NoError(t, err)
	for name, one := range map[string]struct {
		p    Prediction
		want Answer
	}{
		"firm, no":        {Prediction{Verdict: Firm, Main: &Measured{Lost: 10}}, No},
		"firm, yes":       {Prediction{Verdict: Firm, Main: &Measured{Lost: 11}}, Yes},
		"marked, no":      {Prediction{Verdict: Marked, Trials: []*Trial{trial(1, true), trial(2, true), trial(500, false)}}, No},
		"marked, yes":     {Prediction{Verdict: Marked, Trials: []*Trial{trial(20, true), trial(30, true), trial(0, false)}}, Yes},
		"marked, perhaps": {Prediction{Verdict: Marked, Trials: []*Trial{trial(0, true), trial(30, true)}}, Perhaps},
		"cannot tell":     {Prediction{Verdict: CannotTell, Trials: []*Trial{trial(0, true), trial(300, true)}}, Perhaps},
		"refused":         {Prediction{Verdict: Refused}, Perhaps},
	} {
		got, words := one.p.Holds(c, recorded)
		require.Equal(t, one.want, got, "%s: %s", name, words)
	}
}

func FuzzCondition(f *testing.F) {
	for _, text := range []string{"lost > 1 %", "p99 >= 500ms", "success<99.9%", "lost > 1e400 %", "p50 < 9999999h", "\xff > 1 %",
		strings.Repeat("\xfb", 3000) + "<", strings.Repeat("\U000e0001", 3000) + "<", strings.Repeat("😀", 3000) + "<", strings.Repeat("\u2028", 3000) + "a<"} {
		f.Add(text)
	}
	m := &Measured{}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err != nil {
			if len(err.Error()) > 600 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if !(c.bound >= 0) || math.IsInf(c.bound, 0) {
			t.Fatalf("%q has the bound %v", text, c.bound)
		}
		again, err := ParseCondition(fmt.Sprint(c))
		if err != nil || again.bound != c.bound || again.op != c.op {
			t.Fatalf("%q is read as %v, and that as %v, %v", text, c, again, err)
		}
		c.holds(m, m)
	})
}

// A log that cannot be right is refused with the reason, and never replayed for ever.
func TestHostileLogs(t *testing.T) {
	at := func(d time.Duration) logs.Record { return logs.Record{Start: noon.Add(d), Latency: time.Millisecond} }
	for name, one := range map[string]struct {
		records []logs.Record
		want    string
	}{
		"no line":                 {nil, "the log has no line"},
		"ten years between lines": {[]logs.Record{at(0), at(10 * 365 * 24 * time.Hour)}, "spans 3650 days"},
		"the year 1":              {[]logs.Record{{}}, "a line of the year 1"},
	} {
		_, err := Read(&made{records: one.records}, nil)
		require.ErrorContains(t, err, one.want, name)
	}
	one := (&made{records: []logs.Record{at(0)}}).log(t)
	m, err := Run(one, candidate(t, `{"kind":"retry"}`), Trace(), 1, nil)
	require.NoError(t, err)
	require.Equal(t, 1, m.Succeeded)

	refused := logs.Record{Start: noon, Failed: true, Kind: "rejected", Policy: "breaker", Code: "breaker.open", Call: "1", Attempt: 1}
	_, err = Run((&made{records: []logs.Record{refused}}).log(t), WithoutPolicies(), Trace(), 1, nil)
	require.ErrorContains(t, err, "every call of the log was refused")
}

// Lines that began at the same tick are set apart, within the tick and in order.
func TestTicksAreSpread(t *testing.T) {
	m := &made{notes: logs.Notes{Resolution: time.Second}}
	for i := range 1000 {
		m.records = append(m.records, logs.Record{Start: noon.Add(time.Duration(i/100) * time.Second), Latency: time.Millisecond, Status: i})
	}
	log := m.log(t)
	for i := range log.calls {
		require.Equal(t, i/100, int(log.calls[i].at/time.Second)+int(log.Begin.Sub(noon)/time.Second), i)
		if i > 0 {
			require.Greater(t, log.calls[i].at, log.calls[i-1].at)
		}
	}
}

// Whatever a log says, it is read, measured and fitted, or refused; never a panic or a hang. Worlds are not for fuzz workers.
func FuzzLog(f *testing.F) {
	f.Add([]byte("a log of forty bytes, that is two records"))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255, 255, 255, 255, 255, 9, 9, 9, 9, 9, 9, 9, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &made{notes: logs.Notes{Resolution: 1}}
		for ; len(data) >= 16 && len(m.records) < 300; data = data[16:] {
			number := func(i int) int64 { return int64(data[i]) | int64(data[i+1])<<8 | int64(data[i+2])<<16 }
			r := logs.Record{
				Start: noon.Add(time.Duration(number(0)) * 10 * time.Microsecond), Latency: time.Duration(number(3)-100) << (data[6] % 30), Queued: time.Duration(number(7)-5) << (data[10] % 20),
				Failed: data[11]&1 > 0, Censored: data[11]&2 > 0, Kind: []string{"", "5xx", "rejected", "timeout", "throttled"}[data[12]%5],
				Policy: []string{"", "breaker"}[data[13]%2], Code: []string{"", "timeout.attempt", "breaker.open"}[data[14]%3],
			}
			if data[15]&1 > 0 {
				r.Call, r.Attempt = strconv.Itoa(int(data[15]>>4)), int(data[15]>>1&7)
			}
			m.records = append(m.records, r)
		}
		l, err := Read(m, nil)
		if err != nil {
			return
		}
		recorded := l.Recorded()
		if recorded.Succeeded+recorded.Failed+recorded.Refused != len(l.calls) || recorded.Lost+recorded.Gained > 0 {
			t.Fatalf("%+v", recorded)
		}
		j := NewJudge(l, 1)
		if len(l.attempts) > 0 {
			newFit(l)
			l.near(l.Span/2, neighbours, halfSecond)
		}
		_ = j.Signs()
	})
}
