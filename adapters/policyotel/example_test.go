package policyotel_test

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyotel"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/retry"
)

func Example() {
	reader := sdkmetric.NewManualReader() // a service has an exporter here
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))

	traces := policyotel.NewTraces()
	users := resilience.Compose(
		resilience.Name("users"),
		retry.New(),
		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OnChange(traces.Change)),
		resilience.Observe(traces, policyotel.NewDurations(provider)),
	)
	metrics, err := policyotel.NewMetrics(provider, policyotel.Pipelines(users))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = metrics.Shutdown() }()

	var found metricdata.ResourceMetrics
	fmt.Println(reader.Collect(context.Background(), &found))
	fmt.Println(len(found.ScopeMetrics[0].Metrics) > 20)
	// Output:
	// <nil>
	// true
}

// The part of docs/observing.md about OpenTelemetry.
func Example_observing() {
	traces := policyotel.NewTraces()
	users := resilience.Compose(
		resilience.Name("users"),
		retry.New(),
		breaker.New(breaker.Name("users-db"), breaker.OnChange(traces.Change)),
		policyotel.Attempts(nil), // a span per attempt: only if you want them
		resilience.Observe(traces, policyotel.NewDurations(nil)),
	)
	metrics, err := policyotel.NewMetrics(nil, policyotel.Pipelines(users))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = metrics.Shutdown() }()
	fmt.Println(users)
	// Output:
	// retry 3 > attempt spans > breaker "users-db"
}
