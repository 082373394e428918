package policyconfig_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// users is the pipeline of the design page.
const users = `
	{"kind": "timeout", "total": "2s"},
	{"kind": "retry", "attempts": 4, "exponential": {"initial": "50ms", "longest": "2s"}},
	{"kind": "breaker", "name": "users-db", "failureRate": {"rate": 0.5, "minimumCalls": 20}, "openFor": "5s"},
	{"kind": "ratelimit", "perSecond": 100, "burst": 10, "maxWait": "1s"},
	{"kind": "bulkhead", "limit": 16, "queue": {"length": 8, "wait": "100ms"}},
	{"kind": "timeout", "perAttempt": "300ms"}`

// TestFileEqualsGo: a pipeline from a file is the one written in Go.
func TestFileEqualsGo(t *testing.T) {
	handle := load(t, layersOf(users)).Pipeline("users")
	written := resilience.Compose(
		resilience.Name("users"),
		timeout.Total(2*time.Second),
		retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, 2*time.Second)),
		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second)),
		ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
		bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond)),
		timeout.PerAttempt(300*time.Millisecond),
	)
	require.Equal(t, written.String(), handle.String())
	require.Equal(t, settings(written), settings(handle))
}

// settings returns a report without what moves: how the layers were configured.
func settings(source resilience.Source) resilience.Report {
	report := source.Current().Report()
	for i := range report.Layers {
		report.Layers[i].State.Since = time.Time{}
		report.Layers[i].Values = nil
	}
	return report
}
