package policyotel

import (
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// Option says what [Metrics] show.
type Option func(*target.Config)

// Pipelines shows pipelines. Each must have a name (resilience.Name), which is the attribute "resilience.pipeline.name" for
// good: it does not change when a [resilience.Source] replaces its pipeline by one of another name.
func Pipelines(sources ...resilience.Source) Option { return target.Pipelines(sources...) }

// Registry shows a keyed registry, a retry budget that several pipelines share, or anything else that reports and stands in
// no pipeline. name is the attribute "resilience.pipeline.name". Of a keyed registry the keys are counted by state, and are
// never attributes; see [PerKey].
func Registry(name string, reporter policy.Reporter) Option { return target.Registry(name, reporter) }

// PerKey shows single keys of a registry whose values are policies or pipelines, in addition to [Registry]. label turns a key
// into the attribute "resilience.policy.name"; it must not tell what the monitoring may not know, and leaves a key out by
// returning "". Of the labels, in alphabetical order, the first most are shown; most must be between 1 and 1000. name must be
// another than that of the Registry.
//
// The SDK keeps 2,000 series of an instrument apart unless it is told otherwise (WithCardinalityLimit), and adds up the
// others. A breaker has five, one for each state: that is room for some 400 keys.
func PerKey[K comparable, V any](name string, registry *keyed.Registry[K, V], label func(K) string, most int) Option {
	return target.PerKey(name, registry, label, most)
}

// Validate returns the [*policy.ConfigError] that [NewMetrics] would return, or nil.
func Validate(opts ...Option) error {
	_, err := target.Configure("policyotel", opts)
	return err
}
