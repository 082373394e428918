package policygrpc

import (
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/policy"
)

// suitability is what is known of the pipelines of a source, or of one method of it.
type suitability struct {
	suitable   atomic.Pointer[resilience.Pipeline] // the last one that can guard a handler
	unsuitable atomic.Pointer[resilience.Pipeline] // the last one that cannot
}

// maxToldPipelines bounds what is remembered of OnConfigError.
const maxToldPipelines = 100

// isSuitable reports whether pipeline can guard a handler, and tells OnConfigError if not. A nil one cannot.
func (s *server) isSuitable(pipeline *resilience.Pipeline, known *suitability) bool {
	switch {
	case pipeline == nil: // to be told of
	case pipeline == known.suitable.Load():
		return true
	case pipeline == known.unsuitable.Load():
		return false
	}
	problems := policy.ConfigError{Policy: s.name}
	if sources.CheckGuards(s.pipelines.source, pipeline, &problems) {
		known.suitable.Store(pipeline)
		return true
	}
	known.unsuitable.Store(pipeline)
	if s.onConfigError != nil && s.told.first(pipeline, maxToldPipelines) {
		s.onConfigError(problems.Err())
	}
	return false
}
