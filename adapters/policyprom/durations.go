package policyprom

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// DurationsOption configures [Durations].
type DurationsOption func(*durationsConfig)

type durationsConfig struct {
	buckets   []float64
	native    bool
	pipelines []string
}

// Buckets sets the upper bounds of the buckets, in seconds: finite and growing. The default is [prometheus.DefBuckets]: 5 ms
// to 10 s.
func Buckets(bounds ...float64) DurationsOption {
	return func(c *durationsConfig) { c.buckets = slices.Clone(bounds) }
}

// Native makes native histograms, whose buckets are chosen by Prometheus with a width of 10 % and need no bounds, instead of
// classic ones. The server must be told to scrape them. With Buckets there are both.
func Native() DurationsOption { return func(c *durationsConfig) { c.native = true } }

// ForPipelines names pipelines whose series are there before their first call.
func ForPipelines(names ...string) DurationsOption {
	return func(c *durationsConfig) { c.pipelines = append(c.pipelines, names...) }
}

// maxPipelines bounds the values of the label "pipeline": names of pipelines that are made per key must not become series
// without end. What comes later is "other".
const maxPipelines = 100

const otherPipelines = "other"

// Durations is an observer with two histograms: how long calls take, as their callers see it, and how long attempts take,
// without queues and waits. A call that was refused is in neither: its end after 0 ms would pass for an answer of the
// dependency. The label "outcome" says how it ended: succeeded, expected, failed, canceled, panicked.
//
// Durations is made by [NewDurations], is a [prometheus.Collector], and is safe for concurrent use. One serves any number of
// pipelines.
type Durations struct {
	calls, attempts *prometheus.HistogramVec

	mu        sync.Mutex // of those who add
	pipelines atomic.Pointer[map[string]*pipelineDurations]
}

var (
	_ prometheus.Collector = (*Durations)(nil)
	_ policy.KindObserver  = (*Durations)(nil)
)

// pipelineDurations are the series of one pipeline, by outcome.
type pipelineDurations struct {
	calls, attempts [target.Timed]prometheus.Observer
}

// NewDurations returns histograms that no pipeline has yet. It panics with a [*policy.ConfigError] when an option makes no
// sense.
func NewDurations(opts ...DurationsOption) *Durations {
	c := durationsConfig{}
	problems := policy.ConfigError{Policy: "policyprom.NewDurations"}
	for i, opt := range opts {
		if opt == nil {
			problems.Add("option %d is nil", i+1)
			continue
		}
		opt(&c)
	}
	for i, bound := range c.buckets {
		if !(bound > 0 && bound < 1e9) || i > 0 && bound <= c.buckets[i-1] {
			problems.Add("Buckets(%v): must be above 0, finite and growing", c.buckets)
			break
		}
	}
	if len(c.pipelines) > maxPipelines {
		problems.Add("ForPipelines: %d names: at most %d", len(c.pipelines), maxPipelines)
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	d := &Durations{
		calls:    c.histogram(nameCallDuration, "How long calls took, with all attempts, waits and queues. Refused calls are not in it."),
		attempts: c.histogram(nameAttemptDuration, "How long the operation took, without waits and queues. Refused attempts are not in it."),
	}
	d.pipelines.Store(&map[string]*pipelineDurations{})
	for _, name := range c.pipelines {
		d.add(name)
	}
	return d
}

func (c *durationsConfig) histogram(name, help string) *prometheus.HistogramVec {
	opts := prometheus.HistogramOpts{Name: name, Help: help, Buckets: c.buckets}
	if c.native {
		opts.NativeHistogramBucketFactor = 1.1
		opts.NativeHistogramMaxBucketNumber = 160
		opts.NativeHistogramMinResetDuration = time.Hour
	}
	return prometheus.NewHistogramVec(opts, []string{labelPipeline, labelOutcome})
}

// Describe implements [prometheus.Collector].
func (d *Durations) Describe(descs chan<- *prometheus.Desc) {
	d.calls.Describe(descs)
	d.attempts.Describe(descs)
}

// Collect implements [prometheus.Collector].
func (d *Durations) Collect(metrics chan<- prometheus.Metric) {
	d.calls.Collect(metrics)
	d.attempts.Collect(metrics)
}

// ObservedKinds returns attempts and calls.
func (d *Durations) ObservedKinds() []policy.EventKind {
	return []policy.EventKind{policy.EventAttempt, policy.EventCall}
}

// Observe notes a duration.
func (d *Durations) Observe(_ context.Context, event policy.Event) {
	outcome := target.OutcomeOf(event.Outcome)
	if outcome == target.Rejected {
		return
	}
	all := *d.pipelines.Load()
	found := all[event.Pipeline]
	if found == nil && len(all) > maxPipelines {
		found = all[otherPipelines]
	}
	if found == nil {
		found = d.add(event.Pipeline)
	}
	switch event.Kind {
	case policy.EventAttempt:
		found.attempts[outcome].Observe(event.Elapsed.Seconds())
	case policy.EventCall:
		found.calls[outcome].Observe(event.Elapsed.Seconds())
	}
}

// add adds the series of a pipeline. Beyond the bound they are those of all others.
func (d *Durations) add(pipeline string) *pipelineDurations {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := *d.pipelines.Load()
	if found := all[pipeline]; found != nil {
		return found
	}
	if len(all) >= maxPipelines {
		pipeline = otherPipelines
		if found := all[pipeline]; found != nil {
			return found
		}
	}
	found := &pipelineDurations{}
	for i, outcome := range target.Outcomes[:target.Timed] {
		labels := prometheus.Labels{labelPipeline: target.Text(pipeline), labelOutcome: outcome}
		found.calls[i], found.attempts[i] = d.calls.With(labels), d.attempts.With(labels)
	}
	more := maps.Clone(all)
	more[pipeline] = found
	d.pipelines.Store(&more)
	return found
}
