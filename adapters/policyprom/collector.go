package policyprom

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// Collector shows what pipelines and registries are and do. It is made by [NewCollector] and safe for concurrent use.
type Collector struct {
	targets []*target
	self    *prometheus.Desc // has no series; see collectors
}

// collectors numbers collectors. Each describes its number: otherwise the error of a registry that refuses a second collector
// with the same pipelines would not name them.
var collectors atomic.Int64

var _ prometheus.Collector = (*Collector)(nil)

// target is a pipeline or registry.
type target struct {
	name     string
	what     string
	read     func() reading
	problem  string
	descs    *descs
	failures atomic.Uint64
}

// reading is what a target was like at one moment.
type reading struct {
	calls  *resilience.Calls
	layers []policy.Report
}

func readingOf(report resilience.Report) reading { return reading{report.Calls, report.Layers} }

// NewCollector returns a collector of what the options name. It panics with a [*policy.ConfigError] when an option makes no
// sense, or two pipelines have the same name. Two collectors that show pipelines of the same name cannot be registered at the
// same registry: the second registration fails, with an error that names the pipeline.
func NewCollector(opts ...Option) *Collector {
	config, err := configure(opts)
	if err != nil {
		panic(err)
	}
	for _, t := range config.targets {
		t.descs = newDescs(t.name)
	}
	number := prometheus.Labels{"collector": strconv.FormatInt(collectors.Add(1), 10)}
	return &Collector{config.targets, prometheus.NewDesc(prefix+"collector", "Has no series.", nil, number)}
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
func (t *target) collect() (metrics []prometheus.Metric) {
	found, ok := t.try()
	s := series{descs: t.descs, names: make(map[valueKey]int)}
	if ok {
		s.calls(found.calls)
		for _, report := range found.layers {
			s.layer(report)
		}
	}
	s.count(t.descs.failures, float64(t.failures.Load()))
	return s.metrics
}

// try reads a target, and counts a panic.
func (t *target) try() (found reading, ok bool) {
	defer func() {
		if !ok {
			_ = recover()
			t.failures.Add(1)
		}
	}()
	return t.read(), true
}

// series grows by the series of a target.
type series struct {
	descs   *descs
	metrics []prometheus.Metric
	names   map[valueKey]int // how often a kind and name occurred
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
	kind, name := text(r.Kind), s.unique(r)
	s.state(kind, name, r.State)
	if !r.State.Since.IsZero() {
		s.gauge(s.descs.since, float64(r.State.Since.UnixNano())/1e9, kind, name)
	}
	seen := make(map[[2]string]bool, len(r.Values))
	for _, v := range r.Values {
		if id := [2]string{v.Name, v.Label}; !seen[id] { // of a third party, whose mistake must not fail the scrape
			seen[id] = true
			s.value(kind, name, v)
		}
	}
	if seen[[2]string{"shadow_rejected"}] {
		s.gauge(s.descs.shadow, oneIf(r.Shadow), kind, name)
	}
}

// unique returns the name of a layer, with a number if there was one of the same kind and name before.
func (s *series) unique(r policy.Report) string {
	id := valueKey{text(r.Kind), text(r.Name)}
	s.names[id]++
	if n := s.names[id]; n > 1 {
		return fmt.Sprintf("%s#%d", id.name, n)
	}
	return id.name
}

// state adds one series for each state.
func (s *series) state(kind, name string, state policy.State) {
	if state.Name == "" {
		return
	}
	all := state.All
	if !slices.Contains(all, state.Name) {
		all = append(slices.Clone(all), state.Name)
	}
	desc, isKnown := s.descs.states[kind]
	seen := make(map[string]bool, len(all))
	for _, one := range all {
		one := text(one)
		switch {
		case seen[one]:
		case isKnown:
			s.gauge(desc, oneIf(one == text(state.Name)), name, one)
		default:
			s.gauge(s.descs.otherState, oneIf(one == text(state.Name)), kind, name, one)
		}
		seen[one] = true
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
		labels = append(labels, text(v.Label))
	}
	switch {
	case v.Kind == policy.Counter && v.Name == "rejected":
		s.count(s.descs.rejected, number, kind, name)
	case v.Kind == policy.Counter && v.Name == "shadow_rejected":
		s.count(s.descs.shadowRejected, number, kind, name)
	case isKnown && v.Kind == policy.Counter:
		s.count(d.number, number, labels...)
	case isKnown:
		s.gauge(d.number, number, labels...)
		if v.Limit > 0 {
			s.gauge(d.limit, v.Limit, labels...)
		}
	case v.Kind == policy.Counter:
		s.count(s.descs.otherTotal, number, kind, name, text(v.Name), text(v.Label))
	default:
		s.gauge(s.descs.otherValue, number, kind, name, text(v.Name), text(v.Label))
		if v.Limit > 0 {
			s.gauge(s.descs.otherLimit, v.Limit, kind, name, text(v.Name), text(v.Label))
		}
	}
}

// readKeys reads single keys of a registry. Their layers have the label of the key as name.
func readKeys[K comparable, V any](registry *keyed.Registry[K, V], label func(K) string, most int) reading {
	type one struct {
		label string
		value any
	}
	var keys []one
	seen := map[string]bool{}
	for key, value := range registry.All() {
		if label := text(label(key)); label != "" && !seen[label] {
			seen[label] = true
			keys = append(keys, one{label, value})
		}
	}
	slices.SortFunc(keys, func(a, b one) int { return cmp.Compare(a.label, b.label) })
	var found reading
	for _, key := range keys[:min(most, len(keys))] {
		for _, report := range reportsOf(key.value) {
			report.Name = key.label
			found.layers = append(found.layers, report)
		}
	}
	return found
}

// reportsOf returns the reports of the value of a key, which is a policy or a pipeline.
func reportsOf(value any) []policy.Report {
	switch value := value.(type) {
	case policy.Reporter:
		return []policy.Report{value.Report()}
	case resilience.Source:
		return value.Current().Report().Layers
	}
	return nil
}
