package replay

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

// outcomes of 10,000 calls, of which so many succeed.
func succeeded(n int) *Measured {
	return &Measured{Calls: 10_000, Succeeded: n, Failed: 10_000 - n, Attempts: 10_000, Busy: time.Minute, PeakRate: 100, P99: time.Second, P99Low: time.Second, P99High: time.Second}
}

func TestY5_Verdicts(t *testing.T) {
	trial := func(r role, n int, change ...func(*Measured)) *Trial {
		m := succeeded(n)
		for _, f := range change {
			f(m)
		}
		return &Trial{role: r, Outcome: m}
	}
	same := []*Trial{trial(inTime, 9000), trial(inTime, 9010), trial(inTime, 9020), trial(callBound, 8990)}
	server := []*Trial{trial(inTime, 9900), trial(callBound, 9000), trial(loaded, 9000), trial(loaded, 9010), trial(stressed, 8990)}
	for name, one := range map[string]struct {
		signs  Signs
		trials []*Trial
		want   Verdict
		reason string
	}{
		"all agree":                  {Signs{Queue: -1}, same, Firm, ""},
		"seeds differ":               {Signs{}, []*Trial{trial(inTime, 9000), trial(inTime, 9300), trial(callBound, 9100)}, Marked, "models or seeds differ by 3.0 points of success"},
		"seeds differ in refusals":   {Signs{}, []*Trial{trial(inTime, 9000), trial(inTime, 9000, func(m *Measured) { m.Refused = 200 }), trial(callBound, 9000)}, Marked, "2.0 points of refusals"},
		"seeds differ in attempts":   {Signs{}, []*Trial{trial(inTime, 9000), trial(inTime, 9000, func(m *Measured) { m.Attempts = 11_000 }), trial(callBound, 9000)}, Marked, "10.0 % of the attempts"},
		"seeds differ in busy time":  {Signs{}, []*Trial{trial(inTime, 9000), trial(inTime, 9000, func(m *Measured) { m.Busy *= 2 }), trial(callBound, 9000)}, Marked, "100.0 % of the time"},
		"far apart":                  {Signs{}, []*Trial{trial(inTime, 5000), trial(inTime, 9300), trial(callBound, 9100)}, CannotTell, "models or seeds differ by 43.0 points"},
		"whose failures":             {Signs{}, []*Trial{trial(inTime, 9900), trial(callBound, 9500)}, Marked, "whether failures belong to the moment or to their calls"},
		"the moment's":               {Signs{Second: 1000, SecondFailed: 205, Expected: 200}, []*Trial{trial(inTime, 9900), trial(callBound, 9500)}, Firm, ""},
		"the calls' own":             {Signs{Second: 1000, SecondFailed: 600, Expected: 200}, []*Trial{trial(inTime, 9900), trial(callBound, 9500)}, Marked, "50 % of the failures belong to their calls"},
		"too few to tell":            {Signs{Second: 99, SecondFailed: 20, Expected: 20}, []*Trial{trial(inTime, 9900), trial(callBound, 9500)}, Marked, "does not tell"},
		"all fail, so nothing tells": {Signs{Second: 1000, SecondFailed: 950, Expected: 950}, []*Trial{trial(inTime, 9900), trial(callBound, 9500)}, Marked, "does not tell"},
		"more than ever":             {Signs{}, []*Trial{trial(inTime, 9000, func(m *Measured) { m.PeakRate = 121 }), trial(callBound, 9000)}, Marked, "1.21 times as many attempts"},
		"load, and no server":        {Signs{Growth: 5}, same, Marked, "no server with slots explains it"},
		"failures by load":           {Signs{FailGrowth: 5, Slots: 8}, server, Marked, "failures grow with the load"},
		"a server that fits":         {Signs{Growth: 12, Slots: 8, Residual: -1}, server, Firm, ""},
		"a server that fits badly":   {Signs{Growth: 12, Slots: 8, Residual: 6}, server, Marked, "does not explain it all"},
		"at the edge":                {Signs{Growth: 12, Slots: 8}, []*Trial{trial(inTime, 9900), trial(callBound, 9000), trial(loaded, 9000), trial(stressed, 8000)}, Marked, "10 % more service time tips it: 10.0 points"},
		"cut short, a server":        {Signs{Growth: 12, Slots: 8, Censored: .1}, server, Marked, "10.0 % of the attempts were cut short"},
		"cut short, longer now":      {Signs{Censored: .1}, []*Trial{trial(inTime, 9000, func(m *Measured) { m.Imputed = 500 }), trial(callBound, 9000), trial(lost, 8500)}, Marked, "5.0 % of the attempts would take longer"},
		"cut short, as before":       {Signs{Censored: .1}, []*Trial{trial(inTime, 9000), trial(callBound, 9000), trial(lost, 5000)}, Firm, ""},
	} {
		p := &Prediction{Verdict: Firm, Trials: one.trials}
		for _, trial := range p.Trials {
			trial.Counts = false
		}
		j := &Judge{recorded: succeeded(9000), signs: one.signs}
		j.judge(p)
		require.Equal(t, one.want, p.Verdict, "%s: %v", name, p.Reasons)
		require.Contains(t, strings.Join(p.Reasons, "\n"), one.reason, name)
		require.Equal(t, one.want == Firm, len(p.Reasons) == 0, name)
		for _, trial := range p.Trials {
			if trial.Counts {
				require.LessOrEqual(t, p.Low, trial.Outcome.Success(), name)
				require.GreaterOrEqual(t, p.High, trial.Outcome.Success(), name)
			}
		}
		require.NotNil(t, p.CallBound, name)
	}
}

func TestLoadInWords(t *testing.T) {
	for want, signs := range map[string]Signs{
		"load: requests queue as at a server of 8 slots (latency on load, within seconds: t 12.3)":                       {Growth: 12.34, Slots: 8, Queue: -1},
		"load: requests queue as at a server of 8 slots and 20 places to wait (latency on load, within seconds: t 12.3)": {Growth: 12.34, Slots: 8, Queue: 20},
		"load: latency grows with it within seconds (t 5.0), and not as at a server with slots":                          {Growth: 5},
		"load: latency does not grow with it within seconds (t -0.5)":                                                    {Growth: -.5},
	} {
		require.Equal(t, want, (&Judge{fit: &fit{}, signs: signs}).Load())
	}
	require.Empty(t, new(Judge).Load())
}

// A log that does not hold what a prediction needs is refused, with the reason, and no number is shown.
func TestY6_RefusedLogs(t *testing.T) {
	log := func(n int, every time.Duration, tick time.Duration, change func(i int, r *logs.Record)) *Log {
		m := &made{notes: logs.Notes{Format: "made", Why: "it was made", Resolution: tick}}
		for i := range n {
			r := logs.Record{Start: noon.Add(time.Duration(i) * every).Truncate(tick), Latency: 30 * time.Millisecond}
			if change != nil {
				change(i, &r)
			}
			m.records = append(m.records, r)
		}
		return m.log(t)
	}
	cut := func(i int, r *logs.Record) {
		if i%50 == 0 {
			r.Failed, r.Kind, r.Censored = true, "timeout", true
		}
	}
	sampled := &made{notes: logs.Notes{Format: "made", Resolution: 1, Sampled: "every tenth"}}
	holes := &made{notes: logs.Notes{Format: "made", Resolution: 1}}
	for i := range 2000 { // one call in ten is tried again, and two lines in three are there
		r := logs.Record{Start: noon.Add(time.Duration(i) * 10 * time.Millisecond), Latency: 20 * time.Millisecond, Call: strconv.Itoa(i), Attempt: 1}
		sampled.records = append(sampled.records, r)
		for ; r.Attempt < 3 && (r.Attempt == 1 || i%10 == 0); r.Attempt++ {
			if (i/10+r.Attempt)%3 > 0 {
				holes.records = append(holes.records, r)
			}
			r.Start = r.Start.Add(30 * time.Millisecond)
		}
	}
	for name, one := range map[string]struct {
		log  *Log
		want string
	}{
		"sampled":                  {sampled.log(t), "the log is sampled: every tenth"},
		"lines are missing":        {holes.log(t), "66 of 133 calls that were tried again have no first attempt: lines are missing, as in a sampled log"},
		"thin":                     {log(500, 100*time.Millisecond, 1, nil), "10.0 lines a second: with fewer than 20"},
		"cut short":                {log(2000, 10*time.Millisecond, 1, cut), "2.0 % of the lines were cut short"},
		"coarse":                   {log(2000, 10*time.Millisecond, 2*time.Millisecond, nil), "times are in steps of 2ms, and the median latency is 30ms"},
		"seconds, without latency": {log(2000, 10*time.Millisecond, time.Second, func(_ int, r *logs.Record) { r.Latency = 0 }), "times are in steps of 1s"},
		"one line":                 {log(1, time.Second, 1, nil), "1.0 lines a second"},
	} {
		p, err := NewJudge(one.log, 1).Predict(WithoutPolicies(), nil)
		require.NoError(t, err)
		require.Equal(t, Refused, p.Verdict, name)
		require.Contains(t, strings.Join(p.Reasons, "\n"), one.want, name)
		require.Nil(t, p.Main, name)
		text := (&Report{Log: one.log, Recorded: one.log.Recorded(), Predictions: []*Prediction{p}}).Text()
		require.Contains(t, text, "prediction: refused\n    - ")
		require.Regexp(t, `succeeded +\S+ % +-\n`, text)
	}
	// A log in which all fails is no reason to refuse.
	failing := log(1000, 10*time.Millisecond, 1, func(_ int, r *logs.Record) { r.Failed, r.Kind = true, "5xx" })
	p, err := NewJudge(failing, 1).Predict(candidate(t, `{"kind":"breaker"}`), func(int, int) {})
	require.NoError(t, err)
	require.Equal(t, Firm, p.Verdict, p.Reasons)
	require.Zero(t, p.Main.Succeeded)
	require.Greater(t, p.Main.Refused, 900)
}
