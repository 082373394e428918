package policyslog_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestP5_UM6_RefusalsHaveAtMostOneLinePerSecondAndPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		log := policyslog.New(logger)
		front, back := named("users", &refuse{"front"}, resilience.Observe(log)), named("users", &refuse{"back"}, resilience.Observe(log))
		for i := range 100_000 { // over 10 s
			_ = front.Run(t.Context(), ok)
			_ = back.Run(t.Context(), ok)
			if i%100 == 99 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(time.Minute)

		count := map[any]float64{}
		number := map[any]int{}
		for _, l := range out.lines(t) {
			require.Equal(t, "refused", l.Msg)
			require.Equal(t, "WARN", l.Level)
			name := l.Attrs["name"]
			number[name]++
			count[name] += l.Attrs["count"].(float64)
			require.Equal(t, l.Attrs["count"].(float64)-1, l.Attrs["suppressed"])
			require.Equal(t, "test.closed", l.Attrs["code"])
		}
		for _, name := range []string{"front", "back"} {
			require.Equal(t, 11, number[name], "one at once, and one for each of 10 seconds")
			require.EqualValues(t, 100_000, count[name], "none is lost")
		}
	})
}

func TestP5_UM6_AQuietPolicyIsLoggedAtOnceAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		p := named("users", &refuse{"front"}, resilience.Observe(policyslog.New(logger, policyslog.RefusalsEvery(10*time.Second))))
		for i := range 3 {
			require.Error(t, p.Run(t.Context(), ok))
			require.Len(t, out.lines(t), i+1)
			time.Sleep(11 * time.Second)
		}
		require.Len(t, out.lines(t), 3, "what had its line needs no other")
	})
}

func TestP5_UM6_FlushWritesWhatIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		log := policyslog.New(logger)
		p := named("users", &refuse{"front"}, resilience.Observe(log))
		for range 5 {
			require.Error(t, p.Run(t.Context(), ok))
		}
		log.Flush()
		log.Flush()
		lines := out.lines(t)
		require.Len(t, lines, 2)
		require.EqualValues(t, 4, lines[1].Attrs["count"])
		time.Sleep(time.Minute)
		require.Len(t, out.lines(t), 2)
	})
}

// A program that flushes and ends loses no line that was being written.
func TestP5_UM6_FlushWaitsForALineThatIsBeingWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun, written atomic.Int32
		log := policyslog.New(slog.New(handler{handle: func(slog.Record) error {
			if begun.Add(1) == 2 { // the line after the first interval
				time.Sleep(time.Second)
			}
			written.Add(1)
			return nil
		}}), policyslog.RefusalsEvery(10*time.Second))
		p := named("users", &refuse{"front"}, resilience.Observe(log))
		for range 5 {
			require.Error(t, p.Run(t.Context(), ok))
		}
		time.Sleep(10*time.Second + 500*time.Millisecond)
		require.EqualValues(t, 2, begun.Load())
		require.EqualValues(t, 1, written.Load())
		log.Flush()
		require.EqualValues(t, 2, written.Load())
		time.Sleep(time.Minute) // until the interval is over
	})
}

func TestP5_UM6_ALineOfRefusalsSaysWhyAndUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		log := policyslog.New(logger)
		b := breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 4), breaker.OpenFor(5*time.Second), breaker.Jitter(0))
		p := named("users", b, resilience.Observe(log))
		for range 4 {
			require.ErrorIs(t, p.Run(t.Context(), fail), errDown)
		}
		for range 10 {
			require.ErrorIs(t, p.Run(t.Context(), fail), breaker.ErrOpen)
		}
		time.Sleep(2 * time.Second)
		lines := of(out.lines(t), "rejected")
		require.Len(t, lines, 2)
		require.EqualValues(t, 5*time.Second, lines[0].Attrs["retry_after"])
		require.Equal(t, "breaker", lines[0].Attrs["kind"])
		require.Equal(t, "users-db", lines[0].Attrs["name"])
		require.Equal(t, "breaker.open", lines[0].Attrs["code"])
		require.EqualValues(t, 9, lines[1].Attrs["count"])
		require.EqualValues(t, 5*time.Second, lines[1].Attrs["retry_after"], "as the last refusal was told")
		require.Equal(t, "open", lines[1].Attrs["state"])
		require.Equal(t, map[string]any{
			"text": "4 of the last 4 calls failed (100 %), the limit is 50 % of at least 4",
			"rule": "FailureRate", "what": "failed", "bad": 4.0, "calls": 4.0, "limit": 0.5, "minimum": 4.0,
		}, lines[1].Attrs["cause"])
	})
}

// A line is written up to an interval after the last refusal, and says what that was told then.
func TestP5_UM6_TheWaitOfALineIsThatOfItsLastRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		p := named("users", ratelimit.New(2, 1, ratelimit.Name("client")), resilience.Observe(policyslog.New(logger)))
		require.NoError(t, p.Run(t.Context(), ok))
		require.Error(t, p.Run(t.Context(), ok))
		time.Sleep(200 * time.Millisecond)
		require.Error(t, p.Run(t.Context(), ok))
		time.Sleep(time.Minute)
		lines := out.lines(t)
		require.Len(t, lines, 2)
		for i, wait := range []time.Duration{500 * time.Millisecond, 300 * time.Millisecond} {
			require.EqualValues(t, wait, lines[i].Attrs["retry_after"])
			require.Equal(t, fmt.Sprintf(`rate limiter "client": %v (retry after %v)`, ratelimit.ErrLimited, wait), lines[i].Attrs["error"])
		}
	})
}

// A registry of pipelines per key can make any number of policies. Memory and lines stay bounded.
func TestUM5_UM6_AFloodOfPoliciesIsCountedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		log := policyslog.New(logger)
		observe := resilience.Observe(log)
		const policies = 5000
		for range 2 {
			for i := range policies {
				require.Error(t, resilience.Compose(&refuse{fmt.Sprint(i)}, observe).Run(t.Context(), ok))
			}
		}
		time.Sleep(10 * time.Second)
		total, others := 0.0, 0.0
		lines := out.lines(t)
		for _, l := range lines {
			total += l.Attrs["count"].(float64)
			if l.Attrs["kind"] == "others" {
				others += l.Attrs["count"].(float64)
			}
		}
		require.EqualValues(t, 2*policies, total)
		require.EqualValues(t, 2*(policies-1000), others)
		require.Len(t, lines, 2*1001)
	})
}

func TestP5_ARefusalWithoutARejectionIsNamedByItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		p := named("users", bare{}, resilience.Observe(policyslog.New(logger)))
		require.Error(t, p.Run(t.Context(), ok))
		lines := out.lines(t)
		require.Len(t, lines, 1)
		require.Equal(t, "rate limit", lines[0].Attrs["kind"])
		time.Sleep(time.Minute)
	})
}

// bare is a guard that refuses with an error of its own, and whose report panics.
type bare struct{}

func (bare) Stage() policy.Stage { return policy.StageRateLimit }

func (bare) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, errDown
}
func (bare) Settle(context.Context, policy.Ticket, policy.Outcome) {}
func (bare) Report() policy.Report                                 { panic("report") }

func TestP5_AReportThatPanicsCostsOnlyTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		p := named("users", bare{}, resilience.Observe(policyslog.New(logger)))
		for range 3 {
			require.Error(t, p.Run(t.Context(), ok))
		}
		time.Sleep(time.Minute)
		require.Len(t, out.lines(t), 2)
	})
}
