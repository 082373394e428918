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
// A [Collector] reads the reports of pipelines when Prometheus scrapes: states, values beside their limits, counters. A call
// pays nothing for it. Every series is there from the first scrape on, has the value of the moment, and goes when its
// policy goes. A state has one series for each state that the policy can be in; the one that it is in is 1.
//
// The label "pipeline" is the name of the pipeline, or what the registry was registered as; "name" is the name of the policy.
// Of two policies of one kind and name in a pipeline the second is "#2". No label comes from a call, so the number of series
// does not grow with traffic, keys or errors. A policy that several pipelines share is reported by each of them: use
// max by (name), not sum.
//
// # Durations
//
// [Durations] is a collector and an observer with histograms of how long calls and attempts take, on request, since it is on
// the path of every call:
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
// A layer whose report panics costs the series of its pipeline, and is counted in resilience_report_failures_total. A report
// that hangs holds the scrape, and no call.
package policyprom
