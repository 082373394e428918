package policygrpc

import (
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/policy"
)

// route is the pipeline that a call of a client goes through, and what the call must know about it.
type route struct {
	pipeline      *resilience.Pipeline
	repeats       bool          // it has a retry or the like: the call may have several attempts
	races         bool          // it has a hedge or the like: attempts may run at the same time, and longer than the call
	serviceConfig *methodConfig // of a [ServiceConfig], else nil
}

func newRoute(pipeline *resilience.Pipeline) *route {
	r := &route{pipeline: pipeline}
	for _, layer := range sources.Bare(pipeline.Layers()) {
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
	pipelines := newPipelines[atomic.Pointer[route]](source)
	if pipelines.byMethod == nil {
		sources.Check(source, source.Current(), problems)
	}
	return &sourceRouter{pipelines}
}

// sourceRouter remembers the route of the last pipeline, and makes another one when the source has another pipeline.
type sourceRouter struct {
	pipelines *pipelines[atomic.Pointer[route]]
}

func (r *sourceRouter) routeOf(method string) *route {
	pipeline, last := r.pipelines.current(method)
	if route := last.Load(); route != nil && route.pipeline == pipeline {
		return route
	}
	route := newRoute(pipeline)
	last.Store(route)
	return route
}
