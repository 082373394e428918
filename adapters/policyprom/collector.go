package policyprom

import (
	"math"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// Collector shows the state and the activity of pipelines and registries. Make it with [NewCollector]. It is safe for
// concurrent use.
type Collector struct {
	targets []shown
	self    *prometheus.Desc // has no series; see collectors
}

// collectors numbers collectors. Each describes its number: otherwise the error of a registry that refuses a second collector
// with the same pipelines would not name them.
var collectors atomic.Int64

var _ prometheus.Collector = (*Collector)(nil)

// shown is a target and how it is described.
type shown struct {
	*target.Target
	descs *descs
}

// NewCollector returns a collector of what the options name. It panics with a [*policy.ConfigError] when an option is
// out of its range or two pipelines have the same name. Two collectors that show pipelines of the same name cannot be
// registered at the same registry: the second registration fails, with an error that names the pipeline.
func NewCollector(opts ...Option) *Collector {
	targets, err := target.Configure("policyprom", opts)
	if err != nil {
		panic(err)
	}
	number := prometheus.Labels{"collector": strconv.FormatInt(collectors.Add(1), 10)}
	c := &Collector{self: prometheus.NewDesc(prefix+"collector", "Has no series.", nil, number)}
	for _, t := range targets {
		c.targets = append(c.targets, shown{t, newDescs(t.Name)})
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.self
	for _, t := range c.targets {
		t.descs.all(func(desc *prometheus.Desc) { descs <- desc })
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	for _, t := range c.targets {
		for _, metric := range t.collect() {
			metrics <- metric
		}
	}
}

// collect returns the metrics of a target.
func (t shown) collect() (metrics []prometheus.Metric) {
	s := series{descs: t.descs}
	if found, ok := t.Read(); ok {
		s.calls(found.Calls)
		for _, report := range found.Layers {
			s.layer(report)
		}
	}
	s.count(t.descs.failures, float64(t.Failures()))
	return s.metrics
}

// series grows by the series of a target.
type series struct {
	descs   *descs
	metrics []prometheus.Metric
}

func (s *series) add(desc *prometheus.Desc, kind prometheus.ValueType, number float64, labels ...string) {
	if metric, err := prometheus.NewConstMetric(desc, kind, number, labels...); err == nil { // else the scrape would fail
		s.metrics = append(s.metrics, metric)
	}
}

func (s *series) count(desc *prometheus.Desc, number float64, labels ...string) {
	s.add(desc, prometheus.CounterValue, number, labels...)
}

func (s *series) gauge(desc *prometheus.Desc, number float64, labels ...string) {
	s.add(desc, prometheus.GaugeValue, number, labels...)
}

func (s *series) calls(c *resilience.Calls) {
	if c == nil {
		return
	}
	for outcome, n := range map[string]uint64{
		"succeeded": c.Succeeded, "expected": c.Expected, "failed": c.Failed,
		"rejected": c.Rejected, "canceled": c.Canceled, "panicked": c.Panicked,
	} {
		s.count(s.descs.calls, float64(n), outcome)
	}
}

// layer adds the series of one layer.
func (s *series) layer(r policy.Report) {
	s.state(r)
	if !r.State.Since.IsZero() {
		s.gauge(s.descs.since, float64(r.State.Since.UnixNano())/1e9, r.Kind, r.Name)
	}
	for _, v := range r.Values {
		s.value(r.Kind, r.Name, v)
	}
	if _, ok := r.Value("shadow_rejected", ""); ok {
		s.gauge(s.descs.shadow, oneIf(r.Shadow), r.Kind, r.Name)
	}
}

// state adds one series for each state.
func (s *series) state(r policy.Report) {
	if r.State.Name == "" {
		return
	}
	desc, isKnown := s.descs.states[r.Kind]
	for _, state := range r.State.All {
		if isKnown {
			s.gauge(desc, oneIf(state == r.State.Name), r.Name, state)
		} else {
			s.gauge(s.descs.otherState, oneIf(state == r.State.Name), r.Kind, r.Name, state)
		}
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// value adds the series of a value and its limit.
func (s *series) value(kind, name string, v policy.Value) {
	number := v.Number
	if v.Unknown {
		number = math.NaN()
	}
	d, isKnown := s.descs.values[valueKey{kind, v.Name}]
	isKnown = isKnown && d.kind == v.Kind && d.unit == v.Unit && d.labelled == (v.Label != "")
	labels := []string{name}
	if v.Label != "" {
		labels = append(labels, v.Label)
	}
	switch {
	case v.Kind == policy.Counter && v.Name == "rejected" && v.Label == "":
		s.count(s.descs.rejected, number, kind, name)
	case v.Kind == policy.Counter && v.Name == "shadow_rejected" && v.Label == "":
		s.count(s.descs.shadowRejected, number, kind, name)
	case isKnown && v.Kind == policy.Counter:
		s.count(d.number, number, labels...)
	case isKnown:
		s.gauge(d.number, number, labels...)
		if v.Limit > 0 {
			s.gauge(d.limit, v.Limit, labels...)
		}
	case v.Kind == policy.Counter:
		s.count(s.descs.otherTotal, number, kind, name, v.Name, v.Label)
	default:
		s.gauge(s.descs.otherValue, number, kind, name, v.Name, v.Label)
		if v.Limit > 0 {
			s.gauge(s.descs.otherLimit, v.Limit, kind, name, v.Name, v.Label)
		}
	}
}
