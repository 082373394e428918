package policyotel

import (
	"context"
	"math"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// Metrics are instruments that the SDK reads when it collects. Make them with [NewMetrics].
type Metrics struct {
	provider     metric.MeterProvider
	targets      []*target.Target
	growths      []growth // of the targets
	gauges       map[string]metric.Float64ObservableGauge
	counters     map[string]metric.Float64ObservableCounter
	registration metric.Registration
	once         sync.Once
}

// NewMetrics registers instruments with a provider, or with the global one if it is nil. The error is a
// [*policy.ConfigError] if an option is out of its range or the provider already shows a pipeline of the same name.
// Otherwise it is the provider's own. After an error nothing is registered.
//
// Counters never fall, even when a [resilience.Source] replaces its pipeline and the new one's counters begin at 0.
func NewMetrics(provider metric.MeterProvider, opts ...Option) (*Metrics, error) {
	targets, err := target.Configure("policyotel", opts)
	if err != nil {
		return nil, err
	}
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m := &Metrics{
		provider: provider,
		targets:  targets,
		growths:  make([]growth, len(targets)),
		gauges:   make(map[string]metric.Float64ObservableGauge),
		counters: make(map[string]metric.Float64ObservableCounter),
	}
	if err := show(provider, targets); err != nil {
		return nil, err
	}
	if err := m.register(); err != nil {
		hide(provider, targets)
		return nil, err
	}
	return m, nil
}

// register makes the instruments and has them read.
func (m *Metrics) register() (err error) {
	meter := m.provider.Meter(scope)
	if err := m.instruments(meter); err != nil {
		return err
	}
	all := make([]metric.Observable, 0, len(m.gauges)+len(m.counters))
	for _, instrument := range m.gauges {
		all = append(all, instrument)
	}
	for _, instrument := range m.counters {
		all = append(all, instrument)
	}
	m.registration, err = meter.RegisterCallback(m.observe, all...)
	return err
}

// Shutdown unregisters the instruments: the SDK no longer reads them, and others can show the same pipelines. It may be
// called more than once.
func (m *Metrics) Shutdown() error {
	err := m.registration.Unregister()
	m.once.Do(func() { hide(m.provider, m.targets) })
	return err
}

// instruments makes all instruments.
func (m *Metrics) instruments(meter metric.Meter) (err error) {
	add := func(kind policy.ValueKind, name, unit, text string) {
		switch {
		case err != nil || name == "":
		case kind == policy.Counter && m.counters[name] == nil:
			m.counters[name], err = meter.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		case kind == policy.Gauge && m.gauges[name] == nil:
			m.gauges[name], err = meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
		}
	}
	add(policy.Counter, nameCalls, "{call}", "Calls, by how they ended.")
	add(policy.Counter, nameFailures, "{reading}", "Readings of the pipeline that failed because a layer panicked.")
	add(policy.Counter, nameRejections, "{attempt}", "Attempts that the policy refused.")
	add(policy.Counter, nameShadowRejections, "{attempt}", "Attempts that the policy would have refused, had it not been in shadow.")
	add(policy.Counter, nameOtherEvents, "{event}", "What a layer of another package counts.")
	add(policy.Gauge, nameShadow, "1", "Whether the policy is in shadow, where it refuses nothing: 1 or 0.")
	add(policy.Gauge, nameOtherState, "1", "Whether a layer of another package is in the state: 1 or 0.")
	add(policy.Gauge, nameOtherValue, "1", "What a layer of another package measures.")
	add(policy.Gauge, nameOtherLimit, "1", "The most that the value of a layer of another package can be.")
	for _, name := range states {
		add(policy.Gauge, name, "1", "Whether the policy is in the state: 1 or 0.")
	}
	for _, found := range known {
		add(found.kind, found.name, found.unit, found.text)
		add(policy.Gauge, found.limit, found.unit, "The most that this can be, or that it may be before the policy acts: "+found.name+".")
	}
	return err
}

// observe is called when the SDK collects.
func (m *Metrics) observe(_ context.Context, to metric.Observer) error {
	for i, t := range m.targets {
		m.observeTarget(t, &m.growths[i], to)
	}
	return nil
}

func (m *Metrics) observeTarget(t *target.Target, g *growth, to metric.Observer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.round++
	r := reading{m, g, to, attribute.String(attrPipeline, t.Name)}
	found, ok := t.Read()
	if ok {
		r.calls(found.Calls)
		for _, report := range found.Layers {
			r.layer(report)
		}
	}
	r.count(nameFailures, float64(t.Failures()))
	if ok {
		g.forget()
	}
}

// reading hands what was read of a target to the SDK.
type reading struct {
	metrics  *Metrics
	growth   *growth
	to       metric.Observer
	pipeline attribute.KeyValue
}

func (r reading) count(name string, number float64, attrs ...attribute.KeyValue) {
	set := attribute.NewSet(append(attrs, r.pipeline)...)
	number = r.growth.of(counter{name, set.Equivalent()}, number)
	r.to.ObserveFloat64(r.metrics.counters[name], number, metric.WithAttributeSet(set))
}

func (r reading) gauge(name string, number float64, attrs ...attribute.KeyValue) {
	if !math.IsNaN(number) {
		r.to.ObserveFloat64(r.metrics.gauges[name], number, metric.WithAttributes(append(attrs, r.pipeline)...))
	}
}

func (r reading) calls(c *resilience.Calls) {
	if c == nil {
		return
	}
	for outcome, n := range map[target.Outcome]uint64{
		target.Succeeded: c.Succeeded, target.Expected: c.Expected, target.Failed: c.Failed,
		target.Rejected: c.Rejected, target.Canceled: c.Canceled, target.Panicked: c.Panicked,
	} {
		r.count(nameCalls, float64(n), attribute.String(attrOutcome, target.Outcomes[outcome]))
	}
}

func (r reading) layer(report policy.Report) {
	of := func(more ...attribute.KeyValue) []attribute.KeyValue {
		return append(more, attribute.String(attrType, report.Kind), attribute.String(attrPolicy, report.Name))
	}
	if report.State.Name != "" {
		name, isKnown := states[report.Kind]
		if !isKnown {
			name = nameOtherState
		}
		for _, state := range report.State.All {
			r.gauge(name, oneIf(state == report.State.Name), of(attribute.String(attrState, state))...)
		}
	}
	if _, ok := report.Value("shadow_rejected", ""); ok {
		r.gauge(nameShadow, oneIf(report.Shadow), of()...)
	}
	for _, v := range report.Values {
		r.value(report.Kind, v, of)
	}
}

// value hands over a value and its limit. A gauge that is not known has no series, a counter stands still.
func (r reading) value(kind string, v policy.Value, of func(...attribute.KeyValue) []attribute.KeyValue) {
	if v.Unknown {
		v.Number = math.NaN()
	}
	found, isKnown := known[key{kind, v.Name}]
	attrs := of()
	switch {
	case v.Kind == policy.Counter && v.Name == "rejected" && v.Label == "":
		found.name = nameRejections
	case v.Kind == policy.Counter && v.Name == "shadow_rejected" && v.Label == "":
		found.name = nameShadowRejections
	case isKnown && found.kind == v.Kind:
		if v.Label != "" {
			attrs = of(attribute.String(attrState, v.Label))
		}
	case v.Kind == policy.Counter:
		found.name = nameOtherEvents
		attrs = of(attribute.String(attrValue, v.Name), attribute.String(attrLabel, v.Label))
	default:
		found.name, found.limit = nameOtherValue, nameOtherLimit
		attrs = of(attribute.String(attrValue, v.Name), attribute.String(attrLabel, v.Label))
	}
	if v.Kind == policy.Counter {
		r.count(found.name, v.Number, attrs...)
		return
	}
	r.gauge(found.name, v.Number, attrs...)
	if v.Limit > 0 && found.limit != "" {
		r.gauge(found.limit, v.Limit, attrs...)
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
