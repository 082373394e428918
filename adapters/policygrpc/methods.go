package policygrpc

import (
	"iter"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// MethodSource is a [resilience.Source] whose pipeline depends on the method. [PerMethod], [PerService] and
// [FromServiceConfig] return one.
type MethodSource interface {
	resilience.Source

	// PipelineFor returns the pipeline for a method, such as "/users.Users/Get", never nil. It must be fast and safe for
	// concurrent use.
	PipelineFor(method string) *resilience.Pipeline
}

// Other is the name with which [PerMethod] and [PerService] make the pipeline that all methods or services without a
// place share.
const Other = "*"

// Methods holds a pipeline for each method or service. Make it with [PerMethod] or [PerService]. It is safe for
// concurrent use.
type Methods struct {
	key      func(method string) string
	registry *keyed.Registry[string, *resilience.Pipeline]
}

// PerMethod returns a source with a pipeline for each method, so that a failing method does not stop calls to the
// others:
//
//	policygrpc.PerMethod(func(method string) *resilience.Pipeline { … })
//
// make is called when a method is first called, with its full name, such as "/users.Users/Get". It is called once more
// at the beginning, with [Other], for a pipeline that all methods without a place share: by default there is room for
// 10,000. Use the options of package keyed; make must follow the rules of [keyed.New].
//
// PerMethod panics with a [*policy.ConfigError] where keyed.New does, and when what make returns for [Other] was not
// made with [resilience.Compose].
func PerMethod(make func(method string) *resilience.Pipeline, options ...keyed.Option) *Methods {
	return newMethods("policygrpc.PerMethod", make, func(method string) string { return method }, options)
}

// PerService is [PerMethod] for services: make is called with the name of a service, such as "users.Users".
func PerService(make func(service string) *resilience.Pipeline, options ...keyed.Option) *Methods {
	return newMethods("policygrpc.PerService", make, serviceOf, options)
}

func newMethods(
	name string, make func(string) *resilience.Pipeline, key func(string) string, options []keyed.Option,
) *Methods {
	if make == nil {
		panic(&policy.ConfigError{Policy: name, Problems: []string{"make is nil"}})
	}
	m := &Methods{key, keyed.New(func(key string) *resilience.Pipeline {
		if key == "" {
			key = Other
		}
		return make(key)
	}, options...)}
	problems := policy.ConfigError{Policy: name}
	if !sources.Check(m, m.Current(), &problems) {
		panic(problems.Err())
	}
	return m
}

// PipelineFor returns the pipeline of a method. It implements [MethodSource].
func (m *Methods) PipelineFor(method string) *resilience.Pipeline {
	if key := m.key(method); key != "" {
		return m.registry.Get(key)
	}
	return m.Current()
}

// Current returns the pipeline that methods or services without a place share. It implements [resilience.Source].
func (m *Methods) Current() *resilience.Pipeline { return m.registry.Overflow() }

// All returns the methods or services and their pipelines, in no particular order. It does not include those without a
// place.
func (m *Methods) All() iter.Seq2[string, *resilience.Pipeline] { return m.registry.All() }

// Report returns the report of the registry: how many pipelines there are, and what became of others; see
// [keyed.Registry].
func (m *Methods) Report() policy.Report { return m.registry.Report() }
