package policyotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

func ok(context.Context) error   { return nil }
func fail(context.Context) error { return errDown }

// named returns a pipeline with a name.
func named(name string, layers ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append(layers, resilience.Name(name))...)
}

// newReader returns a provider whose metrics are collected by hand.
func newReader() (*sdkmetric.MeterProvider, *sdkmetric.ManualReader) {
	reader := sdkmetric.NewManualReader()
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), reader
}

// collected is what a collection has found, by metric, and by "attribute=value attribute=value".
type collected map[string]map[string]float64

func collect(t testing.TB, reader *sdkmetric.ManualReader) collected {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &data))
	found := collected{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			points := map[string]float64{}
			switch data := m.Data.(type) {
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					points[labels(p.Attributes)] = p.Value
				}
			case metricdata.Sum[float64]:
				require.True(t, data.IsMonotonic, m.Name)
				for _, p := range data.DataPoints {
					points[labels(p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					points[labels(p.Attributes)] = float64(p.Count)
					points[labels(p.Attributes)+" sum"] = p.Sum
				}
			default:
				t.Fatalf("%s: %T", m.Name, m.Data)
			}
			found[m.Name] = points
		}
	}
	return found
}

// labels returns attributes without what their names have in common.
func labels(set attribute.Set) string {
	var texts []string
	for _, kv := range set.ToSlice() {
		texts = append(texts, fmt.Sprintf("%s=%s", strings.TrimPrefix(string(kv.Key), "resilience."), kv.Value.String()))
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// newTracer returns a provider and what it has recorded.
func newTracer(opts ...sdktrace.TracerProviderOption) (*sdktrace.TracerProvider, *tracetest.InMemoryExporter) {
	exporter := tracetest.NewInMemoryExporter()
	return sdktrace.NewTracerProvider(append(opts, sdktrace.WithSyncer(exporter))...), exporter
}

// attrs returns attributes as a map.
func attrs(kvs []attribute.KeyValue) map[string]any {
	found := map[string]any{}
	for _, kv := range kvs {
		found[string(kv.Key)] = kv.Value.AsInterface()
	}
	return found
}
