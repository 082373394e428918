package policygrpc

import (
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
)

// pipelines picks the pipeline of a method from a source. Beside it there is a memo, in which its user keeps what it
// knows about the pipeline that it has seen last: one for each method of a [MethodSource], one for any other source.
type pipelines[Memo any] struct {
	source      resilience.Source
	byMethod    MethodSource // source, if it is one
	sourceMemo  Memo
	methodMemos *keyed.Registry[string, *Memo] // if there is byMethod
}

func newPipelines[Memo any](source resilience.Source) *pipelines[Memo] {
	p := &pipelines[Memo]{source: source}
	if p.byMethod, _ = source.(MethodSource); p.byMethod != nil {
		p.methodMemos = keyed.New(func(string) *Memo { return new(Memo) }, keyed.IdleIf(func(*Memo) bool { return true }))
	}
	return p
}

// current returns the pipeline of a method now, and the memo of the last one.
func (p *pipelines[Memo]) current(method string) (*resilience.Pipeline, *Memo) {
	if p.byMethod != nil {
		return p.byMethod.PipelineFor(method), p.methodMemos.Get(method)
	}
	return p.source.Current(), &p.sourceMemo
}
