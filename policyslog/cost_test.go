package policyslog_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/retry"
)

func stack(more ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append(more, retry.New(), breaker.New(), bulkhead.New(64), resilience.Name("users"))...)
}

func value(context.Context) (int, error) { return 1, nil }

// infoLogger is enabled from INFO on, as most loggers are.
func infoLogger() *slog.Logger { return slog.New(slog.NewJSONHandler(io.Discard, nil)) }

func TestFault232_WhatIsNotLoggedAllocatesNothing(t *testing.T) {
	published := stack()
	publish(published)
	refusals := resilience.Compose(&refuse{"front"}, resilience.Name("users"))
	plain := testing.AllocsPerRun(100, func() { _, _ = resilience.Do(context.Background(), refusals, value) })
	for name, p := range map[string]*resilience.Pipeline{
		"nothing attached":   stack(),
		"expvar":             published,
		"log, INFO":          stack(resilience.Observe(policyslog.New(infoLogger()))),
		"log, nothing on it": stack(resilience.Observe(policyslog.New(slog.New(slog.DiscardHandler)))),
	} {
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(context.Background(), p, value) }), name)
	}
	log := policyslog.New(infoLogger(), policyslog.RefusalsEvery(time.Hour))
	counted := resilience.Compose(refusals, resilience.Observe(log))
	_, _ = resilience.Do(context.Background(), counted, value)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(context.Background(), counted, value) }), plain,
		"a refusal that is only counted")
}

func BenchmarkCall(b *testing.B) {
	published := stack()
	policyslog.Expvar(fmt.Sprintf("bench-%p", b), published)
	recorder := policyslog.Record(io.Discard)
	defer recorder.Close()
	for _, c := range []struct {
		name     string
		pipeline *resilience.Pipeline
	}{
		{"nothing", stack()},
		{"expvar", published},
		{"log/INFO", stack(resilience.Observe(policyslog.New(infoLogger())))},
		{"log/attempts at DEBUG, not enabled", stack(resilience.Observe(policyslog.New(infoLogger(), policyslog.Level(policy.EventAttempt, slog.LevelDebug))))},
		{"log/calls at INFO", stack(resilience.Observe(policyslog.New(infoLogger(), policyslog.Level(policy.EventCall, slog.LevelInfo))))},
		{"record", stack(resilience.Observe(recorder))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = resilience.Do(context.Background(), c.pipeline, value)
			}
		})
	}
}

func BenchmarkRefusal(b *testing.B) {
	front := &refuse{"front"}
	for _, c := range []struct {
		name     string
		pipeline *resilience.Pipeline
	}{
		{"nothing", named("users", front)},
		{"log", named("users", front, resilience.Observe(policyslog.New(infoLogger())))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = resilience.Do(context.Background(), c.pipeline, value)
			}
		})
	}
}
