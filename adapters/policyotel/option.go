package policyotel

import (
	"iter"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// Option says what [Metrics] show.
type Option func(*target.Config)

// Pipelines shows pipelines. Each must have a name (resilience.Name), which is the permanent value of the attribute
// "resilience.pipeline.name": it does not change when a [resilience.Source] replaces its pipeline with one of another
// name. A source with a pipeline for each key, such as what policyhttp.PerHost returns, is for [Registry].
func Pipelines(sources ...resilience.Source) Option { return target.Pipelines(sources...) }

// Registry shows a keyed registry, a retry budget that several pipelines share, or anything else that reports and is
// not part of a pipeline. name is the attribute "resilience.pipeline.name". The keys of a keyed registry are counted by
// state, and never become attributes; see [PerKey].
func Registry(name string, reporter policy.Reporter) Option { return target.Registry(name, reporter) }

// PerKey shows single keys of a registry whose values are policies or pipelines, in addition to [Registry]. registry is
// a *keyed.Registry, or what policyhttp.PerHost returns. label turns
// a key into the attribute "resilience.policy.name", or returns "" to leave the key out. It must not reveal what the
// monitoring may not know. Only the first most labels in alphabetical order are shown; most must be between 1 and 1000.
// name must differ from that of the [Registry].
//
// The SDK keeps 2,000 series of an instrument apart unless it is told otherwise (WithCardinalityLimit), and adds up the
// others. A breaker has five, one for each state: that is room for some 400 keys.
func PerKey[K comparable, V any](name string, registry interface{ All() iter.Seq2[K, V] }, label func(K) string, most int) Option {
	return target.PerKey(name, registry, label, most)
}

// Validate returns the [*policy.ConfigError] that [NewMetrics] would return, or nil.
func Validate(opts ...Option) error {
	_, err := target.Configure("policyotel", opts)
	return err
}
