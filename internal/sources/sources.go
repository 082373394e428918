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
