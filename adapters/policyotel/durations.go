package policyotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// maxAttempts bounds the values of the attribute "resilience.attempt.number".
const maxAttempts = 4

// bounds of the buckets, in seconds: those that the semantic conventions advise for HTTP.
var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// Durations is an observer with two histograms: how long calls take, as their callers see it, and how long attempts
// take, without queues and waits. Neither includes refused calls, whose 0 ms would look like answers of the dependency.
// Make it with [NewDurations]. One can serve any number of pipelines, and it is safe for concurrent use.
type Durations struct {
	calls, attempts metric.Float64Histogram
	pipelines       *target.ByPipeline[attributes]
}

var _ policy.KindObserver = (*Durations)(nil)

// attributes are those of the series of one pipeline, made once.
type attributes struct {
	calls    [target.Timed][]metric.RecordOption
	attempts [target.Timed][maxAttempts][]metric.RecordOption
}

// NewDurations makes the histograms with a provider, or with the global one if it is nil. It panics if the provider
// refuses them, which the SDK does only for invalid names.
func NewDurations(provider metric.MeterProvider) *Durations {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	histogram := func(name, text string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(bounds...))
		if err != nil {
			panic(err)
		}
		return h
	}
	return &Durations{
		calls:     histogram(namePipelineDuration, "How long calls took, with all attempts, waits and queues. Refused calls are not in it."),
		attempts:  histogram(nameAttemptDuration, "How long the operation took, without waits and queues. Refused attempts are not in it."),
		pipelines: target.NewByPipeline(attributesOf),
	}
}

// ObservedKinds returns attempts and calls.
func (d *Durations) ObservedKinds() []policy.EventKind {
	return []policy.EventKind{policy.EventAttempt, policy.EventCall}
}

// Observe records a duration.
func (d *Durations) Observe(ctx context.Context, event policy.Event) {
	outcome := target.OutcomeOf(event.Outcome)
	if outcome == target.Rejected {
		return
	}
	found := d.pipelines.Of(event.Pipeline)
	switch event.Kind {
	case policy.EventAttempt:
		d.attempts.Record(ctx, event.Elapsed.Seconds(), found.attempts[outcome][min(max(event.Attempt, 1), maxAttempts)-1]...)
	case policy.EventCall:
		d.calls.Record(ctx, event.Elapsed.Seconds(), found.calls[outcome]...)
	}
}

// attributesOf makes the attributes of a pipeline.
func attributesOf(pipeline string) *attributes {
	found := &attributes{}
	with := func(attrs ...attribute.KeyValue) []metric.RecordOption {
		set := attribute.NewSet(append(attrs, attribute.String(attrPipeline, pipeline))...)
		return []metric.RecordOption{metric.WithAttributeSet(set)}
	}
	for i, outcome := range target.Outcomes[:target.Timed] {
		outcome := attribute.String(attrOutcome, outcome)
		found.calls[i] = with(outcome)
		for n := range maxAttempts {
			found.attempts[i][n] = with(outcome, attribute.Int(attrAttempt, n+1))
		}
	}
	return found
}
