package main

import (
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/timeout"
)

// observers are the four ways to look.
type observers struct {
	log        *policyslog.Log
	prometheus *scraped
	otel       *telemetry
	page       *policystatus.Page
}

func newObservers(log *policyslog.Log) (*observers, error) {
	prometheus, err := newScraped()
	if err != nil {
		return nil, err
	}
	return &observers{log: log, prometheus: prometheus, otel: newTelemetry(), page: newPage()}, nil
}

// newUsers returns the pipeline for requests to "users", with everything attached: what happens in a call goes to the
// observers, a change of the breaker to its subscribers, and what is only read now and then is read from the pipeline.
func newUsers(o *observers) (*resilience.Pipeline, error) {
	users := policyhttp.Standard("users",
		timeout.Total(3*time.Second),
		breaker.New(
			breaker.Name("users-db"),
			breaker.FailureRate(0.5, 20), // half of at least 20 attempts
			breaker.TimeWindow(5*time.Second, 10),
			breaker.OpenFor(2*time.Second),
			breaker.OnChange(o.log.Change),
			breaker.OnChange(o.otel.traces.Change),
			breaker.OnChange(func(c breaker.Change) { o.page.Note("users", c.String()) }),
		),
		bulkhead.New(50, bulkhead.Name("users")),
		timeout.PerAttempt(500*time.Millisecond),
		resilience.Observe(o.log, o.prometheus.durations, o.otel.traces, o.otel.durations, o.page),
	)
	o.page.Add(users)
	if err := o.prometheus.add(users); err != nil {
		return nil, err
	}
	return users, o.otel.add(users)
}
