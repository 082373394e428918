package policyprom

import (
	"iter"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// Option says what a [Collector] shows.
type Option func(*target.Config)

// Pipelines shows pipelines. Each must have a name (resilience.Name), which is the permanent value of the label
// "pipeline": it does not change when a [resilience.Source] replaces its pipeline with one of another name. A source with
// a pipeline for each key, such as what policyhttp.PerHost returns, is for [Registry].
func Pipelines(sources ...resilience.Source) Option { return target.Pipelines(sources...) }

// Registry shows a keyed registry, a retry budget that several pipelines share, or anything else that reports and is
// not part of a pipeline. name is the value of the label "pipeline". The keys of a keyed registry are counted by state,
// and never become labels; see [PerKey].
func Registry(name string, reporter policy.Reporter) Option { return target.Registry(name, reporter) }

// PerKey shows single keys of a registry whose values are policies or pipelines, in addition to [Registry]. registry is
// a *keyed.Registry, or what policyhttp.PerHost returns. label turns
// a key into the label "name", or returns "" to leave the key out. It must not reveal what the monitoring may not know.
// Only the first most labels in alphabetical order are shown; most must be between 1 and 1000. name must differ from
// that of the [Registry].
func PerKey[K comparable, V any](name string, registry interface{ All() iter.Seq2[K, V] }, label func(K) string, most int) Option {
	return target.PerKey(name, registry, label, most)
}

// Validate returns the [*policy.ConfigError] that [NewCollector] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := target.Configure("policyprom", opts)
	return err
}
