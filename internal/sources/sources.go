// Package sources checks the sources of pipelines that the clients and handlers of this module are given.
package sources

import (
	"reflect"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Check reports whether pipeline, the current one of source, can be used at all, and adds the reason to problems if not.
func Check(source resilience.Source, pipeline *resilience.Pipeline, problems *policy.ConfigError) bool {
	switch {
	case pipeline == nil:
		problems.Add("%T: the pipeline in force is nil", source)
	case len(pipeline.Layers()) == 0 && resilience.Validate(pipeline) != nil:
		problems.Add("a Pipeline must be made with Compose")
	default:
		return true
	}
	return false
}

// CheckGuards reports whether pipeline, the current one of source, can stand in front of a handler: it must not repeat. The
// reasons are added to problems if not.
func CheckGuards(source resilience.Source, pipeline *resilience.Pipeline, problems *policy.ConfigError) bool {
	if !Check(source, pipeline, problems) {
		return false
	}
	guardsOnly := true
	for _, layer := range Bare(pipeline.Layers()) {
		switch layer.(type) {
		case policy.Repeater:
			problems.Add("%v: repeats, and a handler must not run twice", layer)
			guardsOnly = false
		case policy.Wrapper:
			problems.Add("%v: wraps, and a handler must not run twice or on another goroutine", layer)
			guardsOnly = false
		}
	}
	return guardsOnly
}

// Bare replaces each of layers that was moved to another stage by the layer itself, and returns layers.
func Bare(layers []policy.Layer) []policy.Layer {
	for i, layer := range layers {
		if placed, ok := layer.(policy.Placed); ok {
			layers[i] = placed.Layer
		}
	}
	return layers
}

// IsNil reports whether source is nil, or a nil pointer, function or map.
func IsNil(source resilience.Source) bool {
	if source == nil {
		return true
	}
	switch r := reflect.ValueOf(source); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map:
		return r.IsNil()
	}
	return false
}
