package policyprom_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/retry"
)

func Example() {
	durations := policyprom.NewDurations(policyprom.ForPipelines("users"))
	users := resilience.Compose(
		resilience.Name("users"),
		retry.New(),
		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20)),
		resilience.Observe(durations),
	)
	hosts := keyed.New(func(host string) *breaker.Breaker { return breaker.New(breaker.Name(host)) })

	registry := prometheus.NewRegistry()
	registry.MustRegister(durations, policyprom.NewCollector(
		policyprom.Pipelines(users),
		policyprom.Registry("hosts", hosts),
	))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	families, err := registry.Gather()
	fmt.Println(len(families) > 20, err)
	// Output:
	// true <nil>
}

// The part of docs/observing.md about Prometheus.
func Example_observing() {
	mux := http.NewServeMux()
	users, orders := named("users", retry.New()), named("orders", retry.New())
	hosts := keyed.New(func(host string) *breaker.Breaker { return breaker.New(breaker.Name(host)) })

	collector := policyprom.NewCollector(
		policyprom.Pipelines(users, orders),
		policyprom.Registry("hosts", hosts), // keys as counts by state
	)
	durations := policyprom.NewDurations() // given to each pipeline: resilience.Observe(durations)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector, durations)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	_, err := registry.Gather()
	fmt.Println(err)
	// Output:
	// <nil>
}

// With the trace of OpenTelemetry, trace.SpanContextFromContext(ctx).TraceID() is the id.
func ExampleExemplars() {
	type traceKey struct{}
	durations := policyprom.NewDurations(policyprom.Exemplars(func(ctx context.Context) prometheus.Labels {
		id, ok := ctx.Value(traceKey{}).(string)
		if !ok {
			return nil
		}
		return prometheus.Labels{"trace_id": id}
	}))
	registry := prometheus.NewRegistry()
	registry.MustRegister(durations)
	users := resilience.Compose(resilience.Name("users"), resilience.Observe(durations))

	ctx := context.WithValue(context.Background(), traceKey{}, "4bf92f3577b34da6a3ce929d0e0e4736")
	_ = users.Run(ctx, func(context.Context) error { return nil })
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
}
