package bench

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/failsafe-go/failsafe-go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyotel"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/policystatus"
)

// seenBy is the four policies, with a name, and what looks at them.
func seenBy(layers ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append(append(four(), resilience.Name("users")), layers...)...)
}

// newMeters returns a provider that collects when it is asked.
func newMeters() metric.MeterProvider {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
}

// BenchmarkSeen is a call that succeeds through the four policies, by what is attached, and the same through failsafe-go with
// and without listeners.
func BenchmarkSeen(b *testing.B) {
	collected, measured, published, shown := seenBy(), seenBy(), seenBy(), policystatus.New()
	prometheus.NewRegistry().MustRegister(policyprom.NewCollector(policyprom.Pipelines(collected)))
	metrics, err := policyotel.NewMetrics(newMeters(), policyotel.Pipelines(measured))
	must(err == nil, "metrics")
	defer func() { _ = metrics.Shutdown() }()
	policyslog.Expvar(b.Name(), published)
	page := seenBy(resilience.Observe(shown))
	shown.Add(page)
	nothing := policy.ObserveOnly(policy.ObserverFunc(func(context.Context, policy.Event) {}), policy.EventAttempt, policy.EventCall)
	log := policyslog.New(slog.New(slog.NewJSONHandler(io.Discard, nil)))
	for _, c := range []struct {
		name     string
		pipeline *resilience.Pipeline
	}{
		{"nothing", seenBy()},
		{"expvar", published},
		{"policyprom", collected},
		{"policyotel", measured},
		{"policystatus", page},
		{"policyslog", seenBy(resilience.Observe(log))},
		{"policyotel-traces", seenBy(resilience.Observe(policyotel.NewTraces()))},
		{"timed", seenBy(resilience.Observe(nothing))},
		{"policyprom-durations", seenBy(resilience.Observe(policyprom.NewDurations()))},
		{"policyprom-durations-native", seenBy(resilience.Observe(policyprom.NewDurations(policyprom.Native())))},
		{"policyotel-durations", seenBy(resilience.Observe(policyotel.NewDurations(newMeters())))},
	} {
		b.Run(ours+"/"+c.name, func(b *testing.B) {
			benchmarkCall(b, func(ctx context.Context) bool { return fetched(resilience.Do(ctx, c.pipeline, fetch)) })
		})
	}
	for name, listening := range map[string]bool{"nothing": false, "listeners": true} {
		executor := failsafe.With(failsafeFour()...)
		if listening {
			executor = executor.OnSuccess(func(failsafe.ExecutionDoneEvent[int]) {}).
				OnFailure(func(failsafe.ExecutionDoneEvent[int]) {}).OnDone(func(failsafe.ExecutionDoneEvent[int]) {})
		}
		b.Run("failsafe-go/"+name, func(b *testing.B) {
			benchmarkCall(b, func(ctx context.Context) bool {
				return fetched(executor.WithContext(ctx).Get(func() (int, error) { return fetch(ctx) }))
			})
		})
	}
}

func benchmarkCall(b *testing.B, c call) {
	b.ReportAllocs()
	ctx := context.Background()
	for b.Loop() {
		must(c(ctx), "result")
	}
}

// BenchmarkHistograms is two records: what both histograms of durations add to a call, beside what the SDKs take for the same
// two records alone.
func BenchmarkHistograms(b *testing.B) {
	for _, c := range []struct {
		name     string
		observer policy.Observer
	}{
		{"policyprom", policyprom.NewDurations()},
		{"policyprom-native", policyprom.NewDurations(policyprom.Native())},
		{"policyotel", policyotel.NewDurations(newMeters())},
	} {
		b.Run(ours+"/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			event := policy.Event{Pipeline: "users", Attempt: 1, Outcome: policy.Outcome{Kind: policy.Returned}, Elapsed: 1e6}
			for b.Loop() {
				event.Kind = policy.EventAttempt
				c.observer.Observe(context.Background(), event)
				event.Kind = policy.EventCall
				c.observer.Observe(context.Background(), event)
			}
		})
	}
	native := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "x", NativeHistogramBucketFactor: 1.1}, []string{"a", "b"}).WithLabelValues("users", "succeeded")
	b.Run("client_golang-native", func(b *testing.B) {
		for b.Loop() {
			native.Observe(0.001)
			native.Observe(0.001)
		}
	})
	histogram, err := newMeters().Meter("bench").Float64Histogram("x")
	must(err == nil, "histogram")
	two := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("a", "users"), attribute.String("b", "succeeded")))}
	three := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("a", "users"), attribute.String("b", "succeeded"), attribute.Int("c", 1)))}
	b.Run("otel-sdk", func(b *testing.B) {
		for b.Loop() {
			histogram.Record(context.Background(), 0.001, three...)
			histogram.Record(context.Background(), 0.001, two...)
		}
	})
}

// BenchmarkSeenHTTP is what otelhttp adds to a request: its metrics, without spans.
func BenchmarkSeenHTTP(b *testing.B) {
	for name, tr := range map[string]http.RoundTripper{
		"bare":     inMemory{},
		"otelhttp": otelhttp.NewTransport(inMemory{}, otelhttp.WithMeterProvider(newMeters()), otelhttp.WithTracerProvider(tracenoop.NewTracerProvider())),
	} {
		b.Run(name, func(b *testing.B) { benchmarkTransport(b, tr, "http://example.com/") })
	}
}
