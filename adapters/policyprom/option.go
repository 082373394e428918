package policyprom

import (
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// Option says what a [Collector] shows.
type Option func(*target.Config)

// Pipelines shows pipelines. Each must have a name (resilience.Name), which is the value of the label "pipeline" for good: it
// does not change when a [resilience.Source] replaces its pipeline by one of another name.
func Pipelines(sources ...resilience.Source) Option { return target.Pipelines(sources...) }

// Registry shows a keyed registry, a retry budget that several pipelines share, or anything else that reports and stands in no
// pipeline. name is the value of the label "pipeline". Of a keyed registry the keys are counted by state, and are never
// labels; see [PerKey].
func Registry(name string, reporter policy.Reporter) Option { return target.Registry(name, reporter) }

// PerKey shows single keys of a registry whose values are policies or pipelines, in addition to [Registry]. label turns a
// key into the label "name"; it must not tell what the monitoring may not know, and leaves a key out by returning "". Of the
// labels, in alphabetical order, the first most are shown; most must be between 1 and 1000. name must be another than that
// of the Registry.
func PerKey[K comparable, V any](name string, registry *keyed.Registry[K, V], label func(K) string, most int) Option {
	return target.PerKey(name, registry, label, most)
}

// Validate returns the [*policy.ConfigError] that [NewCollector] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := target.Configure("policyprom", opts)
	return err
}
