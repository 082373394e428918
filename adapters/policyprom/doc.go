// Package policyprom shows pipelines to Prometheus.
//
//	collector := policyprom.NewCollector(
//		policyprom.Pipelines(users, orders),
//		policyprom.Registry("hosts", hosts), // a keyed registry: counts, not keys
//	)
//	registry.MustRegister(collector)
//
// # What is collected
//
// A [Collector] reads the reports of pipelines when Prometheus scrapes: states, values and their limits, counters.
// Calls pay nothing for it. Every series exists from the first scrape on, shows the current value, and disappears with
// its policy. There is one series for each state that a policy can be in; the current state has the value 1.
//
// The label "pipeline" is the name of the pipeline, or the name given to [Registry]; "name" is the name of the policy.
// If a pipeline has two policies of the same kind and name, the second is "#2". No label comes from a call, so the
// number of series does not grow with traffic, keys or errors. Each pipeline reports the policies that it shares with
// others: use max by (name), not sum.
//
// # Durations
//
// [Durations] is a collector and an observer with histograms of how long calls and attempts take. It is optional, since
// every call has to record its duration:
//
//	durations := policyprom.NewDurations(policyprom.Native())
//	registry.MustRegister(durations)
//	users := resilience.Compose(resilience.Name("users"), …, resilience.Observe(durations))
//
// # Names
//
// The names are in names.go and, beside those of OpenTelemetry, Polly and resilience4j, in docs/observing.md.
// dashboards/resilience.json is a dashboard for Grafana, alerts/resilience.yml has rules for alerts.
//
// # Isolation
//
// If a layer's report panics, the scrape lacks the series of its pipeline, and resilience_report_failures_total counts
// it. A report that hangs holds up the scrape, but no call.
package policyprom
