package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyotel"
)

// telemetry is the third way to look. Its metrics and its last spans are served as JSON, so that nothing else is needed
// to see them. In your own service, an OTLP exporter replaces recent, and a periodic reader with an OTLP exporter
// replaces the manual reader; the rest stays.
type telemetry struct {
	reader    *sdkmetric.ManualReader
	meters    *sdkmetric.MeterProvider
	recent    *recent
	tracers   *sdktrace.TracerProvider
	traces    *policyotel.Traces
	durations *policyotel.Durations
	metrics   []*policyotel.Metrics
}

func newTelemetry() *telemetry {
	t := &telemetry{reader: sdkmetric.NewManualReader(), recent: &recent{}, traces: policyotel.NewTraces()}
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(t.reader))
	t.tracers = sdktrace.NewTracerProvider(sdktrace.WithBatcher(t.recent)) // no call waits for an exporter
	t.durations = policyotel.NewDurations(t.meters)
	return t
}

// add registers a pipeline.
func (t *telemetry) add(pipeline resilience.Source) error {
	metrics, err := policyotel.NewMetrics(t.meters, policyotel.Pipelines(pipeline))
	if err == nil {
		t.metrics = append(t.metrics, metrics)
	}
	return err
}

// serveMetrics serves what a reader collects now.
func (t *telemetry) serveMetrics(w http.ResponseWriter, r *http.Request) {
	var collected metricdata.ResourceMetrics
	var body bytes.Buffer
	exporter, err := stdoutmetric.New(stdoutmetric.WithWriter(&body), stdoutmetric.WithPrettyPrint())
	if err == nil {
		err = t.reader.Collect(r.Context(), &collected)
	}
	if err == nil {
		err = exporter.Export(r.Context(), &collected)
	}
	answer(w, &body, err)
}

// serveSpans serves the last spans to which something has happened: those with events.
func (t *telemetry) serveSpans(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(&body), stdouttrace.WithPrettyPrint())
	if err == nil {
		err = t.tracers.ForceFlush(r.Context())
	}
	if err == nil {
		err = exporter.ExportSpans(r.Context(), t.recent.list())
	}
	answer(w, &body, err)
}

func answer(w http.ResponseWriter, body *bytes.Buffer, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = body.WriteTo(w)
}

// close ends everything that was begun, and waits for it.
func (t *telemetry) close(ctx context.Context) error {
	var errs []error
	for _, metrics := range t.metrics {
		errs = append(errs, metrics.Shutdown())
	}
	return errors.Join(append(errs, t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx))...)
}
