package policyprom

import (
	"context"
	"slices"
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
	exemplar  func(context.Context) prometheus.Labels
}

// Buckets sets the upper bounds of the buckets, in seconds: finite and growing. The default is [prometheus.DefBuckets]: 5 ms
// to 10 s.
func Buckets(bounds ...float64) DurationsOption {
	return func(c *durationsConfig) { c.buckets = slices.Clone(bounds) }
}

// Native makes native histograms instead of classic ones. Prometheus chooses their buckets, with a width of 10 %, so
// they need no bounds. The server must be configured to scrape them. Together with [Buckets] there are both kinds.
func Native() DurationsOption { return func(c *durationsConfig) { c.native = true } }

// ForPipelines names pipelines whose series exist before their first call.
func ForPipelines(names ...string) DurationsOption {
	return func(c *durationsConfig) { c.pipelines = append(c.pipelines, names...) }
}

// Exemplars attaches to the buckets what labels returns for the context of a call or an attempt, such as the ID of its
// trace, so that you can find a call that fell into a slow bucket. If labels returns nil, nothing is attached.
// Exemplars that Prometheus does not accept, such as those with more than 128 characters in all, are left out. labels
// is called on the goroutine of the call. By default there are no exemplars.
//
// The handler must speak OpenMetrics for them: promhttp.HandlerOpts{EnableOpenMetrics: true}.
func Exemplars(labels func(context.Context) prometheus.Labels) DurationsOption {
	return func(c *durationsConfig) { c.exemplar = labels }
}

// Durations is an observer with two histograms: how long calls take, as their callers see it, and how long attempts
// take, without queues and waits. Neither includes refused calls, whose 0 ms would look like answers of the dependency.
// The label "outcome" says how a call or attempt ended: succeeded, expected, failed, canceled, panicked.
//
// Make it with [NewDurations]. It is a [prometheus.Collector] and safe for concurrent use. One can serve any number of
// pipelines.
type Durations struct {
	calls, attempts *prometheus.HistogramVec
	pipelines       *target.ByPipeline[pipelineDurations]
	exemplar        func(context.Context) prometheus.Labels // nil: none
}

var (
	_ prometheus.Collector = (*Durations)(nil)
	_ policy.KindObserver  = (*Durations)(nil)
)

// pipelineDurations are the series of one pipeline, by outcome.
type pipelineDurations struct {
	calls, attempts [target.Timed]prometheus.Observer
}

// NewDurations returns histograms; give them to resilience.Observe. It panics with a [*policy.ConfigError] when an
// option is out of its range.
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
	if len(c.pipelines) > target.MaxPipelines {
		problems.Add("ForPipelines: %d names: at most %d", len(c.pipelines), target.MaxPipelines)
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	d := &Durations{
		exemplar: c.exemplar,
		calls:    c.histogram(nameCallDuration, "How long calls took, with all attempts, waits and queues. Refused calls are not in it."),
		attempts: c.histogram(nameAttemptDuration, "How long the operation took, without waits and queues. Refused attempts are not in it."),
	}
	d.pipelines = target.NewByPipeline(d.series)
	for _, name := range c.pipelines {
		d.pipelines.Of(name)
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

// Observe records a duration.
func (d *Durations) Observe(ctx context.Context, event policy.Event) {
	outcome := target.OutcomeOf(event.Outcome)
	if outcome == target.Rejected {
		return
	}
	found := d.pipelines.Of(event.Pipeline)
	switch event.Kind {
	case policy.EventAttempt:
		d.observe(ctx, found.attempts[outcome], event.Elapsed)
	case policy.EventCall:
		d.observe(ctx, found.calls[outcome], event.Elapsed)
	}
}

func (d *Durations) observe(ctx context.Context, to prometheus.Observer, elapsed time.Duration) {
	if d.exemplar == nil {
		to.Observe(elapsed.Seconds())
		return
	}
	d.observeWith(d.labels(ctx), to, elapsed)
}

func (d *Durations) observeWith(labels prometheus.Labels, to prometheus.Observer, elapsed time.Duration) {
	defer func() { _ = recover() }() // of labels that are not accepted, which is found out after the duration was counted
	to.(prometheus.ExemplarObserver).ObserveWithExemplar(elapsed.Seconds(), labels)
}

// labels returns the labels of an exemplar. A panic costs the exemplar.
func (d *Durations) labels(ctx context.Context) prometheus.Labels {
	defer func() { _ = recover() }()
	return d.exemplar(ctx)
}

// series returns the series of a pipeline.
func (d *Durations) series(pipeline string) *pipelineDurations {
	found := &pipelineDurations{}
	for i, outcome := range target.Outcomes[:target.Timed] {
		labels := prometheus.Labels{labelPipeline: pipeline, labelOutcome: outcome}
		found.calls[i], found.attempts[i] = d.calls.With(labels), d.attempts.With(labels)
	}
	return found
}
