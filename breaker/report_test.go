package breaker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.SlowCalls(time.Second, 0.25, 100), breaker.CountWindow(100))
		for range 14 {
			require.NoError(t, do(b, ok))
		}
		failTimes(b, 13)
		r := b.Report()
		require.Equal(t, "closed", r.State.Name)
		require.Zero(t, r.State.Cause)
		require.Equal(t, []string{"closed", "open", "half-open", "forced open", "forced closed"}, r.State.All)
		value := func(name string) policy.Value {
			t.Helper()
			v, found := b.Report().Value(name, "")
			require.True(t, found, name)
			return v
		}
		require.Equal(t, policy.Value{Name: "failure_rate", Unit: "ratio", Kind: policy.Gauge, Number: 13.0 / 27, Limit: 0.5}, value("failure_rate"))
		require.True(t, value("slow_rate").Unknown, "27 of 100 calls")
		require.Equal(t, 27.0, value("window_calls").Number)

		start := time.Now()
		failTimes(b, 1)
		for range 2 {
			refused(t, b)
		}
		r = b.Report()
		require.Equal(t, "breaker", r.Kind)
		require.Equal(t, "users-db", r.Name)
		require.Equal(t, policy.StageBreaker, r.Stage)
		require.Equal(t, "open", r.State.Name)
		require.True(t, r.State.Since.Equal(start))
		require.True(t, r.State.Until.Equal(start.Add(D)))
		require.Equal(t, policy.Cause{Rule: "FailureRate", What: "failed", Bad: 14, Calls: 28, Limit: 0.5, Minimum: 20, Err: errDown}, r.State.Cause)
		require.Equal(t, 2.0, value("rejected").Number)
		require.Equal(t, policy.Counter, value("rejected").Kind)

		time.Sleep(D)
		require.Equal(t, "half-open", b.Report().State.Name)
		require.Equal(t, "OpenFor", b.Report().State.Cause.String(), "although no attempt has come")
		probe := admit(t, b)
		require.Equal(t, policy.Value{Name: "in_flight", Unit: "1", Kind: policy.Gauge, Number: 1, Limit: 1}, value("in_flight"))
		require.Equal(t, "OpenFor", b.Report().State.Cause.String())
		probe.Done(nil)
		require.Equal(t, "Successes", b.Report().State.Cause.String())
		b.ForceOpen()
		require.Equal(t, "ForceOpen", b.Report().State.Cause.String())
		b.Shadow()
		require.True(t, b.Report().Shadow)
		_ = do(b, ok)
		require.Equal(t, 1.0, value("shadow_rejected").Number)
		require.Equal(t, 2.0, value("rejected").Number)
	})
}

func TestTheCauseInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := func(b *breaker.Breaker) string { return b.Report().State.Cause.String() }
		b := newBreaker(breaker.FailureRate(0.5, 20), breaker.ConsecutiveFailures(26), breaker.CountWindow(40))
		for range 14 {
			require.NoError(t, do(b, ok))
		}
		failTimes(b, 14)
		require.Equal(t, "14 of the last 28 calls failed (50 %), the limit is 50 % of at least 20", cause(b))
		b = newBreaker(breaker.FailureRate(0.65, 40))
		for range 14 {
			require.NoError(t, do(b, ok))
		}
		failTimes(b, 26)
		require.Equal(t, "26 of the last 40 calls failed (65 %), the limit is 65 % of at least 40", cause(b))
		b = tripAt(3)
		failTimes(b, 3)
		require.Equal(t, "3 calls in a row failed, the limit is 3", cause(b))
		b = newBreaker(breaker.SlowCalls(time.Second, 0.5, 2))
		require.NoError(t, do(b, ok))
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Equal(t, "1 of the last 2 calls were slow (50 %), the limit is 50 % of at least 2", cause(b))
		time.Sleep(D)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Equal(t, "1 of the last 1 calls were slow, the limit is 1", cause(b))
		b.Trip()
		require.Equal(t, "Trip", cause(b))
	})
}

func TestSettings(t *testing.T) {
	require.Empty(t, breaker.New().Report().Settings, "what is not given has its default")
	b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(7), breaker.FailureRate(0.5, 20), breaker.FailureCount(9),
		breaker.SlowCalls(time.Second, 0.25, 30), breaker.TimeWindow(time.Minute, 6), breaker.OpenFor(time.Second), breaker.Jitter(0),
		breaker.Growth(2, time.Minute), breaker.RetryAfter(time.Hour), breaker.Probes(2), breaker.Successes(3), breaker.FailedProbes(1),
		breaker.ProbeLease(time.Minute), breaker.Ramp(5*time.Second), breaker.Shadow(),
		breaker.TripWhen(func(breaker.Snapshot) bool { return false }), breaker.Classify(neutrally),
		breaker.OnChange(func(breaker.Change) {}), breaker.OnChange(func(breaker.Change) {}), breaker.Rand(rand.NewPCG(1, 2)))
	got := ""
	for _, s := range b.Report().Settings {
		got += s.Name
		for _, a := range s.Args {
			got += fmt.Sprintf(" %s=%v(%T)", a.Name, a.Value, a.Value)
		}
		if s.Code {
			got += " code"
		}
		got += "\n"
	}
	require.Equal(t, `Name name=db(string)
ConsecutiveFailures n=7(int)
FailureRate rate=0.5(float64) minimumCalls=20(int)
FailureCount n=9(int)
SlowCalls threshold=1s(time.Duration) share=0.25(float64) minimumCalls=30(int)
TimeWindow d=1m0s(time.Duration) buckets=6(int)
OpenFor d=1s(time.Duration)
Jitter share=0(float64)
Growth factor=2(float64) limit=1m0s(time.Duration)
RetryAfter limit=1h0m0s(time.Duration)
Probes n=2(int)
Successes n=3(int)
FailedProbes n=1(int)
ProbeLease d=1m0s(time.Duration)
Ramp d=5s(time.Duration)
Shadow
TripWhen code
Classify code
OnChange code
OnChange code
Rand code
`, got)
	require.NoError(t, b.Reconfigure(breaker.CountWindow(10)))
	require.Equal(t, []policy.Argument{{Name: "n", Value: 10}}, b.Report().Settings[0].Args)
}

func TestAReportAllocatesOnce(t *testing.T) {
	b := breaker.New(breaker.Name("db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(time.Hour))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = b.Report() }), 1.0)
	b.Trip()
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = b.Report() }), 1.0)
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = b.Snapshot() }))
}

func TestFault280_TextForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var change breaker.Change
		b := newBreaker(breaker.Name("users-db"), breaker.FailureRate(0.5, 2), breaker.CountWindow(10),
			breaker.OnChange(func(c breaker.Change) { change = c }))
		failTimes(b, 2)
		for value, want := range map[any]string{breaker.HalfOpen: `"half-open"`, breaker.ReasonFailureRate: `"failure rate"`} {
			text, err := json.Marshal(value)
			require.NoError(t, err)
			require.Equal(t, want, string(text))
		}
		text, err := json.Marshal(change)
		require.NoError(t, err)
		require.JSONEq(t, `{"number": 1, "from": "closed", "to": "open", "reason": "failure rate", "at": "2000-01-01T00:00:00Z",
			"cause": {"rule": "FailureRate", "what": "failed", "bad": 2, "calls": 2, "limit": 0.5, "minimum": 2, "error": "down",
				"text": "2 of the last 2 calls failed (100 %), the limit is 50 % of at least 2"}, "snapshot": {
			"name": "users-db", "state": "open", "shadow": false, "since": "2000-01-01T00:00:00Z", "until": "2000-01-01T00:00:05Z",
			"generation": 2, "changes": 1, "reason": "failure rate", "cause": "down",
			"calls": 2, "calls_failed": 2, "calls_slow": 0, "consecutive_failures": 2, "consecutive_successes": 0,
			"failure_rate": 1, "slow_rate": null,
			"requests": 2, "successes": 0, "failures": 2, "neutral": 0, "stale": 0,
			"current": {"requests": 0, "successes": 0, "failures": 0, "neutral": 0, "stale": 0},
			"probes": 0, "in_flight": 0, "rejected": 0, "shadow_rejected": 0, "lost_deliveries": 0}}`, string(text))
		text, err = json.Marshal(b.Report())
		require.NoError(t, err)
		require.Contains(t, string(text), `"text":"2 of the last 2 calls failed (100 %), the limit is 50 % of at least 2"`)

		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("changed", "change", change)
		require.Contains(t, log.String(), `change.from=closed change.to=open change.shadow=false change.reason="failure rate"`)
		require.Contains(t, log.String(), `change.snapshot.state=open`)
		require.Contains(t, log.String(), `change.snapshot.cause=down`)
		require.Contains(t, log.String(), `change.snapshot.failure_rate=1 change.snapshot.consecutive_failures=2`)
		require.NotContains(t, log.String(), "slow_rate")

		require.Equal(t, "closed to open: failure rate", fmt.Sprint(change))
		require.Equal(t, `breaker "users-db" open: failure rate, 2 of 2 calls failed, 2 failures and 0 successes in a row; `+
			`requests 2: 0 successes, 2 failures, 0 neutral, 0 stale, 0 in flight; rejected 0, in shadow 0`, fmt.Sprint(b.Snapshot()))
		require.Equal(t, `breaker "users-db"`, fmt.Sprint(b))
		require.Equal(t, "half-open", fmt.Sprint(breaker.HalfOpen))
	})
}

func TestTheCodeOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Ramp(time.Minute), breaker.Rand(luck(func() float64 { return 0.999 })))
		for _, prepare := range []func(){
			b.Trip, b.ForceOpen,
			func() { b.Trip(); time.Sleep(D); admit(t, b) },
			func() { b.Trip(); time.Sleep(D); _ = do(b, ok); admit(t, b) },
		} {
			prepare()
			require.Equal(t, "breaker.open", policy.Code(do(b, ok)))
		}
		require.Equal(t, "breaker.open", policy.Code(breaker.ErrOpen))
	})
}

func TestTheCountsOfTheCurrentState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(2, breaker.Successes(2), breaker.Classify(neutrally))
		old := admit(t, b)
		require.NoError(t, do(b, ok))
		failTimes(b, 2)
		require.Equal(t, breaker.Counts{}, b.Snapshot().Current)
		old.Done(nil)
		require.Equal(t, breaker.Counts{Requests: 1, Stale: 1}, b.Snapshot().Current)
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Counts{Requests: 1, Successes: 1}, b.Snapshot().Current)
		_ = do(b, slowly(0, errNeutral))
		require.Equal(t, 1, b.Snapshot().ConsecutiveSuccesses)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Counts{}, b.Snapshot().Current)
		for i := range 3 {
			require.Equal(t, i, b.Snapshot().ConsecutiveSuccesses)
			require.NoError(t, do(b, ok))
		}
		failTimes(b, 1)
		require.Zero(t, b.Snapshot().ConsecutiveSuccesses)
		require.Equal(t, breaker.Counts{Requests: 4, Successes: 3, Failures: 1}, b.Snapshot().Current)
		require.Equal(t, breaker.Counts{Requests: 10, Successes: 6, Failures: 3, Neutral: 1, Stale: 0}, func() breaker.Counts {
			c := b.Snapshot().Counts
			c.Requests -= c.Stale
			c.Stale = 0
			return c
		}())
	})
}

func TestARateBelowItsMinimumIsNotKnown(t *testing.T) {
	b := newBreaker(breaker.FailureRate(0.5, 3), breaker.CountWindow(10))
	for i := range 5 {
		s := b.Snapshot()
		require.Equal(t, i >= 3, s.FailureRateKnown)
		require.False(t, s.SlowRateKnown)
		require.NoError(t, do(b, ok))
	}
	require.False(t, tripAt(1).Snapshot().FailureRateKnown)
}
