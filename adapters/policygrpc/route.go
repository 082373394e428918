package policygrpc

import (
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// route is the pipeline that a call of a client goes through, and what the call must know about it.
type route struct {
	pipeline *resilience.Pipeline
	repeats  bool          // it has a retry or the like: the call may have several attempts
	races    bool          // it has a hedge or the like: attempts may run at the same time, and longer than the call
	config   *methodConfig // of a [ServiceConfig], else nil
}

func newRoute(pipeline *resilience.Pipeline) *route {
	r := &route{pipeline: pipeline}
	for _, layer := range pipeline.Layers() {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		switch layer.(type) {
		case policy.Repeater:
			r.repeats = true
		case policy.Wrapper:
			r.repeats, r.races = true, true
		}
	}
	return r
}

// router knows the route of each method: a [ServiceConfig], or a sourceRouter for every other source.
type router interface {
	routeOf(method string) *route
}

func newRouter(source resilience.Source, problems *policy.ConfigError) router {
	if sources.IsNil(source) {
		problems.Add("the source is nil")
		return nil
	}
	if config, ok := source.(*ServiceConfig); ok {
		return config
	}
	r := &sourceRouter{newPipelines[atomic.Pointer[route]](source)}
	if r.byMethod == nil {
		sources.Check(source, source.Current(), problems)
	}
	return r
}

// sourceRouter keeps the route of each pipeline, which is made anew only when the source has another pipeline.
type sourceRouter struct {
	*pipelines[atomic.Pointer[route]]
}

func (r *sourceRouter) routeOf(method string) *route {
	pipeline, last := r.of(method)
	if route := last.Load(); route != nil && route.pipeline == pipeline {
		return route
	}
	route := newRoute(pipeline)
	last.Store(route)
	return route
}

// pipelines picks the pipeline of a method from a source. Beside the pipelines it keeps a T, in which its owner notes what
// it knows about the pipeline that it has seen last: one T for each method of a [MethodSource], one for any other source.
type pipelines[T any] struct {
	source   resilience.Source
	byMethod MethodSource // source, if it is one
	note     T            // for source
	notes    *keyed.Registry[string, *T]
}

func newPipelines[T any](source resilience.Source) *pipelines[T] {
	p := &pipelines[T]{source: source}
	if p.byMethod, _ = source.(MethodSource); p.byMethod != nil {
		p.notes = keyed.New(func(string) *T { return new(T) }, keyed.IdleIf(func(*T) bool { return true }))
	}
	return p
}

// of returns the pipeline of a method now, and what is noted beside it.
func (p *pipelines[T]) of(method string) (*resilience.Pipeline, *T) {
	if p.byMethod != nil {
		return p.byMethod.PipelineFor(method), p.notes.Get(method)
	}
	return p.source.Current(), &p.note
}
