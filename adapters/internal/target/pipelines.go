package target

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// MaxPipelines bounds the names of pipelines that an observer keeps apart: names of pipelines that are made per key must not
// become series without end. What comes later is OtherPipelines.
const MaxPipelines = 100

// OtherPipelines is the name of all pipelines beyond MaxPipelines.
const OtherPipelines = "other"

// ByPipeline is what an observer keeps for each pipeline: its series, made once. It is made by [NewByPipeline] and safe for
// concurrent use.
type ByPipeline[T any] struct {
	create func(name string) *T

	mu    sync.Mutex // of those who add
	known atomic.Pointer[knownPipelines[T]]
}

// knownPipelines does not change.
type knownPipelines[T any] struct {
	all   map[string]*T
	first []pipelineOf[T] // the first of them
}

type pipelineOf[T any] struct {
	name string
	of   *T
}

// fewPipelines are looked through one by one. Most services have no more, and looking is then a quarter of the cost of a map:
// the row "native" of BenchmarkBothHistograms in policyprom is what this is for.
const fewPipelines = 8

// NewByPipeline returns a ByPipeline that makes what it keeps with create. The name that create gets is valid and of bounded
// length.
func NewByPipeline[T any](create func(name string) *T) *ByPipeline[T] {
	p := &ByPipeline[T]{create: create}
	p.known.Store(&knownPipelines[T]{})
	return p
}

// Of returns what is kept for a pipeline.
func (p *ByPipeline[T]) Of(name string) *T {
	known := p.known.Load()
	for i := range known.first {
		if known.first[i].name == name {
			return known.first[i].of
		}
	}
	found := known.all[name]
	if found == nil && len(known.all) > MaxPipelines {
		found = known.all[OtherPipelines]
	}
	if found == nil {
		found = p.add(name)
	}
	return found
}

// add adds a pipeline. Beyond the bound it is one with all others.
func (p *ByPipeline[T]) add(name string) *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known.Load()
	if found := known.all[name]; found != nil {
		return found
	}
	if len(known.all) >= MaxPipelines {
		name = OtherPipelines
		if found := known.all[name]; found != nil {
			return found
		}
	}
	found := p.create(Text(name))
	more := knownPipelines[T]{all: maps.Clone(known.all), first: known.first}
	if more.all == nil {
		more.all = make(map[string]*T)
	}
	more.all[name] = found
	if len(more.first) < fewPipelines {
		more.first = append(slices.Clone(more.first), pipelineOf[T]{name, found})
	}
	p.known.Store(&more)
	return found
}
