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
// [Metrics] are observable instruments, read from the reports of pipelines when the SDK collects. Calls pay nothing.
// Every series exists from the first collection on, shows the current value, and disappears with its policy.
// [Durations] are two histograms. They are optional, since every call has to record them.
//
// # Traces
//
// [Traces] is an observer that adds events to the caller's span: retries, refusals, calls that were given up, changes
// of breakers. It makes no spans. [Attempts] is a layer that makes one span for each attempt, including refused ones.
// [ResendCount] marks the spans of HTTP requests that are sent again.
//
// A handled failure does not mark the caller's span as an error: its status stays Unset.
//
// # Names
//
// The names are in names.go and are experimental: the semantic conventions have none for policies yet (see
// semantic-conventions issue 2355). docs/observing.md lists them next to those of Prometheus, Polly and resilience4j.
//
// # What waits
//
// The SDK's span processors run where a span ends: with [Attempts] that is the goroutine of the call. A processor that
// blocks, such as a synchronous exporter, holds up that call; use a batching one. A panic in the SDK is contained.
// Collecting metrics never holds up a call.
package policyotel
