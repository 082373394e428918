package policyslog_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policyslog"
)

func TestP5_UM6_OneLineForEachChangeWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		log := policyslog.New(logger)
		b := breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.CountWindow(40),
			breaker.OpenFor(5200*time.Millisecond), breaker.Jitter(0), breaker.OnChange(log.Change))
		p := named("users", b)
		for range 14 {
			require.NoError(t, p.Run(t.Context(), ok))
		}
		for b.State() == breaker.Closed {
			require.Error(t, p.Run(t.Context(), fail))
		}
		time.Sleep(6 * time.Second)
		require.Error(t, p.Run(t.Context(), fail)) // the probe
		time.Sleep(6 * time.Second)
		require.NoError(t, p.Run(t.Context(), ok))
		b.ForceOpen()
		b.ForceClosed()
		b.Reset()

		lines := out.lines(t)
		var got []string
		for _, l := range lines {
			got = append(got, l.Level+" "+l.Msg)
		}
		require.Equal(t, []string{
			`WARN breaker "users-db" opened: 14 of the last 28 calls failed (50 %), the limit is 50 % of at least 20; for 5.2s`,
			`INFO breaker "users-db" is half-open: open time over`,
			`WARN breaker "users-db" opened: probe failed, 1 of the last 1 calls failed, the limit is 1; for 5.2s`,
			`INFO breaker "users-db" is half-open: open time over`,
			`INFO breaker "users-db" closed: probes succeeded`,
			`WARN breaker "users-db" was forced open`,
			`INFO breaker "users-db" was forced closed`,
			`INFO breaker "users-db" closed: reset`,
		}, got)

		attrs := lines[0].Attrs
		require.NotEmpty(t, attrs["since"])
		require.NotEmpty(t, attrs["until"])
		delete(attrs, "since")
		delete(attrs, "until")
		require.Equal(t, map[string]any{
			"event": "change", "kind": "breaker", "name": "users-db", "number": 1.0, "from": "closed", "to": "open",
			"reason": "failure rate", "shadow": false, "for": float64(5200 * time.Millisecond),
			"calls": 28.0, "calls_failed": 14.0, "calls_slow": 0.0, "failure_rate": 0.5, "consecutive_failures": 14.0,
			"rejected": 0.0, "error": "down",
			"cause": map[string]any{
				"text": "14 of the last 28 calls failed (50 %), the limit is 50 % of at least 20",
				"rule": "FailureRate", "what": "failed", "bad": 14.0, "calls": 28.0, "limit": 0.5, "minimum": 20.0,
			},
		}, attrs)
	})
}

func TestP5_AChangeInShadowIsNoWarning(t *testing.T) {
	logger, out := newLogger(slog.LevelInfo)
	log := policyslog.New(logger)
	b := breaker.New(breaker.ConsecutiveFailures(1), breaker.Shadow(), breaker.Jitter(0), breaker.OnChange(log.Change))
	require.Error(t, named("users", b).Run(t.Context(), fail))
	lines := out.lines(t)
	require.Len(t, lines, 1)
	require.Equal(t, "INFO", lines[0].Level)
	require.Equal(t, "breaker would have opened: 1 calls in a row failed, the limit is 1; for 5s", lines[0].Msg)
	require.Equal(t, true, lines[0].Attrs["shadow"])
}

func TestP5_TheLevelOfEachChangeCanBeSet(t *testing.T) {
	logger, out := newLogger(slog.LevelInfo)
	log := policyslog.New(logger, policyslog.ChangeLevel(breaker.Open, slog.LevelError), policyslog.ChangeLevel(breaker.Closed, slog.LevelDebug))
	b := breaker.New(breaker.OnChange(log.Change))
	b.Trip()
	b.Reset()
	lines := out.lines(t)
	require.Len(t, lines, 1)
	require.Equal(t, "ERROR", lines[0].Level)
}
