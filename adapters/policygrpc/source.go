package policygrpc

import (
	"iter"
	"strings"
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
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
// make is called when a method is first called, with its full name, such as "/users.Users/Get". It is called once more at
// the beginning, with [Other], for a pipeline that all methods without a place share: by default there is room for 10,000.
// Use the options of package keyed; make must follow the rules of [keyed.New].
//
// PerMethod panics with a [*policy.ConfigError] where keyed.New does, and when what make returns for [Other] was not made
// with [resilience.Compose].
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

// serviceOf returns the service of a method, "" if it has none.
func serviceOf(method string) string {
	method = strings.TrimPrefix(method, "/")
	return method[:max(0, strings.LastIndexByte(method, '/'))] // as gRPC: a service may have slashes in its name
}

// lines leads calls to pipelines.
type lines struct {
	source   resilience.Source
	byMethod MethodSource                                   // source, if it is one
	last     atomic.Pointer[line]                           // of source
	methods  *keyed.Registry[string, *atomic.Pointer[line]] // of byMethod
	config   *ServiceConfig                                 // source, if it is one
}

// line is a pipeline and what a call must know about it.
type line struct {
	pipeline *resilience.Pipeline
	repeats  bool // attempts may follow each other
	races    bool // attempts may run at the same time, or longer than the call

	// Of a [ServiceConfig]:
	strict   bool // what is retried is not ours to say
	throttle *retry.TokenBudget
	nonFatal codeSet // of a hedge; nil for a retry
}

func newLine(pipeline *resilience.Pipeline) *line {
	l := &line{pipeline: pipeline}
	for _, layer := range pipeline.Layers() {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		switch layer.(type) {
		case policy.Repeater:
			l.repeats = true
		case policy.Wrapper:
			l.repeats, l.races = true, true
		}
	}
	return l
}

func newLines(source resilience.Source, problems *policy.ConfigError) *lines {
	l := &lines{source: source}
	if sources.IsNil(source) {
		problems.Add("the source is nil")
		return l
	}
	if config, ok := source.(*ServiceConfig); ok {
		l.config = config
	} else if byMethod, ok := source.(MethodSource); ok {
		l.byMethod = byMethod
		l.methods = keyed.New(func(string) *atomic.Pointer[line] { return new(atomic.Pointer[line]) },
			keyed.IdleIf(func(*atomic.Pointer[line]) bool { return true }))
	} else {
		sources.Check(source, source.Current(), problems)
	}
	return l
}

// of returns the line of a method.
func (l *lines) of(method string) *line {
	switch {
	case l.config != nil:
		return l.config.lineOf(method)
	case l.byMethod != nil:
		return latest(l.methods.Get(method), l.byMethod.PipelineFor(method))
	}
	return latest(&l.last, l.source.Current())
}

// latest returns the line of pipeline, which is that in last unless the pipeline was replaced.
func latest(last *atomic.Pointer[line], pipeline *resilience.Pipeline) *line {
	if known := last.Load(); known != nil && known.pipeline == pipeline {
		return known
	}
	l := newLine(pipeline)
	last.Store(l)
	return l
}
