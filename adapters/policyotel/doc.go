// Package policyotel shows pipelines to OpenTelemetry: metrics, durations and traces. It uses the API only; the application
// brings the SDK. A nil provider is the global one.
//
//	metrics, err := policyotel.NewMetrics(nil, policyotel.Pipelines(users, orders), policyotel.Registry("hosts", hosts))
//	…
//	defer metrics.Shutdown()
//	traces := policyotel.NewTraces()
//	users := resilience.Compose(
//		resilience.Name("users"),
//		retry.New(),
//		breaker.New(breaker.Name("users-db"), breaker.OnChange(traces.Change)),
//		resilience.Observe(traces, policyotel.NewDurations(nil)),
//	)
//
// # Metrics
//
// [Metrics] are observable instruments, read from the reports of pipelines when the SDK collects. A call pays nothing; every
// series is there from the first collection on, has the value of the moment, and goes when its policy goes. [Durations] are
// two histograms, on request, since they are on the path of every call.
//
// # Traces
//
// [Traces] is an observer that adds events to the span of the caller: retries, refusals, calls that were given up, changes of
// breakers. It makes no spans. [Attempts] is a layer that makes one span for each attempt, also for one that is refused.
// [ResendCount] marks the spans of HTTP requests that are sent again.
//
// A handled failure does not mark the caller's span as an error: its status stays Unset.
//
// # Names
//
// The names are in names.go and are experimental: the semantic conventions have none for policies yet (see
// semantic-conventions issue 2355). docs/observing.md has them beside those of Prometheus, Polly and resilience4j.
//
// # What waits
//
// A span processor of the SDK runs where a span ends: with [Attempts], on the goroutine of the call. One that blocks, such as
// a synchronous exporter, holds that call; use a batching one. A panic of the SDK is contained. Collecting metrics holds no
// call.
package policyotel
