package policygrpc

import (
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
)

// pipelines picks the pipeline of a method from a source. Beside it there is a T, in which its user keeps what it
// knows about the pipeline that it has seen last: one T for each method of a [MethodSource], one for any other source.
type pipelines[T any] struct {
	source   resilience.Source
	byMethod MethodSource // source, if it is one
	ofSource T
	ofMethod *keyed.Registry[string, *T] // if there is byMethod
}

func newPipelines[T any](source resilience.Source) *pipelines[T] {
	p := &pipelines[T]{source: source}
	if p.byMethod, _ = source.(MethodSource); p.byMethod != nil {
		p.ofMethod = keyed.New(func(string) *T { return new(T) }, keyed.IdleIf(func(*T) bool { return true }))
	}
	return p
}

// current returns the pipeline of a method now, and what is known of the last one.
func (p *pipelines[T]) current(method string) (*resilience.Pipeline, *T) {
	if p.byMethod != nil {
		return p.byMethod.PipelineFor(method), p.ofMethod.Get(method)
	}
	return p.source.Current(), &p.ofSource
}
