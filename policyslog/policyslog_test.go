package policyslog_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/retry"
)

func TestP5_ACallThatIsGivenUpIsWarnedOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelDebug)
		log := policyslog.New(logger)
		p := named("users", retry.New(retry.Attempts(3), retry.Constant(time.Second), retry.NoJitter()), resilience.Observe(log))

		require.Error(t, p.Run(t.Context(), fail))

		lines := out.lines(t)
		require.Len(t, lines, 6, "three attempts, two retries, one end")
		for _, l := range lines[:5] {
			require.Equal(t, "DEBUG", l.Level, l.Msg)
		}
		require.Len(t, of(lines, "attempt"), 3)
		retries := of(lines, "retry")
		require.Len(t, retries, 2)
		require.EqualValues(t, time.Second, retries[0].Attrs["wait"], "a duration, not a text")
		last := lines[5]
		require.Equal(t, "WARN", last.Level)
		require.Equal(t, "call given up", last.Msg)
		delete(last.Attrs, "error")
		require.NotZero(t, last.Attrs["call"])
		delete(last.Attrs, "call")
		require.Equal(t, map[string]any{
			"event": "stopped", "pipeline": "users", "kind": "retry", "attempt": 3.0, "outcome": "failed", "class": "transient",
			"code": "retry.exhausted", "reason": "attempts exhausted",
		}, last.Attrs)
	})
}

func TestP5_WhatSucceedsAtOnceIsNotLoggedAndNotObserved(t *testing.T) {
	logger, out := newLogger(slog.LevelInfo)
	log := policyslog.New(logger)
	require.NotContains(t, log.ObservedKinds(), policy.EventAttempt)
	require.NotContains(t, log.ObservedKinds(), policy.EventCall)
	p := named("users", retry.New(), resilience.Observe(log))
	require.NoError(t, p.Run(t.Context(), ok))
	require.Empty(t, out.lines(t))
}

func TestP5_TheLevelOfEachKindCanBeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelInfo)
		log := policyslog.New(logger,
			policyslog.Level(policy.EventRetry, slog.LevelWarn),
			policyslog.Level(policy.EventCall, slog.LevelInfo),
			policyslog.Level(policy.EventAttempt, slog.LevelError+2),
			policyslog.Off(policy.EventStopped))
		p := named("users", retry.New(retry.Attempts(2)), resilience.Observe(log))
		require.Error(t, p.Run(t.Context(), fail))
		var got []string
		for _, l := range out.lines(t) {
			got = append(got, l.Level+" "+l.Msg)
		}
		require.Equal(t, []string{"ERROR+2 attempt ended", "WARN retry", "ERROR+2 attempt ended", "INFO call ended"}, got)
	})
}

func TestP5_ALevelThatWasSetHoldsWhenTheLoggerIsEnabledLater(t *testing.T) {
	var level slog.LevelVar
	logger, out := newLogger(&level)
	log := policyslog.New(logger, policyslog.Level(policy.EventAttempt, slog.LevelDebug))
	p := named("users", resilience.Observe(log))
	require.NoError(t, p.Run(t.Context(), ok))
	require.Empty(t, out.lines(t))
	level.Set(slog.LevelDebug)
	require.NoError(t, p.Run(t.Context(), ok))
	require.Len(t, of(out.lines(t), "attempt"), 1)
}

// A client that goes away is no trouble of the service.
func TestP5_WhatTheCallerCancelsIsNoWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelDebug)
		log := policyslog.New(logger)
		slots := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
		held, err := policy.Acquire(t.Context(), slots)
		require.NoError(t, err)
		defer held.Done(nil)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		require.ErrorIs(t, named("queued", slots, resilience.Observe(log)).Run(ctx, ok), context.Canceled)

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		sleepy := named("waiting", retry.New(retry.Constant(time.Minute)), resilience.Observe(log))
		require.ErrorIs(t, sleepy.Run(ctx, fail), context.Canceled)

		lines := out.lines(t)
		require.Len(t, of(lines, "rejected"), 1)
		require.Len(t, of(lines, "stopped"), 1)
		for _, l := range lines {
			require.Equal(t, "DEBUG", l.Level, l.Msg)
		}
	})
}

func TestP5_AttributesAreInAGroupOfAnyName(t *testing.T) {
	logger, out := newLogger(slog.LevelInfo)
	log := policyslog.New(logger, policyslog.Group("calls"))
	require.Error(t, named("users", &refuse{"front"}, resilience.Observe(log)).Run(t.Context(), ok))
	require.Contains(t, out.text.String(), `"calls":{"event":"rejected","pipeline":"users","kind":"gate","name":"front"`)

	logger, out = newLogger(slog.LevelInfo)
	log = policyslog.New(logger, policyslog.Group(""))
	require.Error(t, named("users", &refuse{"front"}, resilience.Observe(log)).Run(t.Context(), ok))
	require.Contains(t, out.text.String(), `"msg":"refused","event":"rejected"`)
}

func TestP5_WithoutALoggerItIsTheDefaultAtTheTimeOfTheLine(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	log := policyslog.New(nil)
	logger, out := newLogger(slog.LevelInfo)
	slog.SetDefault(logger)
	require.Error(t, named("users", &refuse{"front"}, resilience.Observe(log)).Run(t.Context(), ok))
	require.Len(t, out.lines(t), 1)
}

func TestP5_AttemptsOfAHedgeAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, out := newLogger(slog.LevelDebug)
		log := policyslog.New(logger)
		p := named("users", hedge.New(hedge.Idempotent(), hedge.After(10*time.Millisecond)), resilience.Observe(log))
		require.NoError(t, p.Run(t.Context(), func(ctx context.Context) error {
			if hedge.Attempt(ctx) == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}))
		synctest.Wait()
		outcomes := map[any]any{}
		for _, l := range of(out.lines(t), "attempt") {
			outcomes[l.Attrs["hedge"]] = l.Attrs["outcome"]
		}
		require.Equal(t, map[any]any{nil: "canceled", 2.0: "succeeded"}, outcomes)
	})
}

// What comes from outside cannot forge lines or fill the log.
func TestP5_HostileTextsStayOnOneLine(t *testing.T) {
	var text strings.Builder
	log := policyslog.New(slog.New(slog.NewTextHandler(&text, nil)), policyslog.Level(policy.EventCall, slog.LevelInfo))
	hostile := errorText("first\nlevel=ERROR msg=\"forged\"\r\n" + strings.Repeat("x", 10_000))
	p := named("users\nlevel=ERROR", resilience.Observe(log))
	require.Error(t, p.Run(t.Context(), func(context.Context) error { return hostile }))
	require.Equal(t, 1, strings.Count(text.String(), "\n"))
	require.Less(t, text.Len(), 1000)
}

type errorText string

func (e errorText) Error() string { return string(e) }

func TestP5_OneLogServesManyPipelinesAndGoroutines(t *testing.T) {
	logger, out := newLogger(slog.LevelInfo)
	log := policyslog.New(logger, policyslog.Level(policy.EventCall, slog.LevelInfo))
	done := make(chan struct{})
	for _, name := range []string{"a", "b"} {
		p := named(name, breaker.New(), resilience.Observe(log))
		for range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 50 {
					_ = p.Run(context.Background(), ok)
				}
			}()
		}
	}
	for range 8 {
		<-done
	}
	require.Len(t, of(out.lines(t), "call"), 400)
}
