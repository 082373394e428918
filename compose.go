package resilience

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Pipeline is several layers made into one. It is immutable and safe for concurrent use; make one per dependency,
// once, and use it for every call.
//
// A Pipeline is itself a [policy.Layer]: composed with others it is taken apart, so Compose(a, Compose(b, c)) is
// Compose(a, b, c), and composing with it is how a pipeline is extended. It is a [policy.Gate] too.
type Pipeline struct {
	placements []placement // in order, outermost first
	observers  []policy.Observer
	plan       *engine.Plan
}

// placement is a layer and the stage it stands at, which [policy.At] may have changed.
type placement struct {
	layer policy.Layer
	stage policy.Stage
}

// Compose returns a pipeline of layers in their canonical order: each stands at its stage, whatever the order of the
// arguments; layers of one stage keep the order in which they are given, the first outermost. [policy.At] moves a
// layer to another stage.
//
// Compose panics with a [*policy.ConfigError] that lists every problem: a nil layer, a layer that is not exactly one
// of Guard, Repeater and Wrapper, the same instance twice, two repeaters at one stage, and whatever the layers have
// to say about each other ([policy.Checker]), such as an attempt timeout that is not below the total timeout. Use
// [Validate] for layers that come from configuration. Compose() without layers just calls the operation.
func Compose(layers ...policy.Layer) *Pipeline {
	p := assemble(layers)
	if err := p.validate(); err != nil {
		panic(err)
	}
	p.plan = engine.NewPlan(p.Layers(), p.observers)
	return p
}

// Validate returns the [*policy.ConfigError] that [Compose] would panic with, or nil.
func Validate(layers ...policy.Layer) error {
	return assemble(layers).validate()
}

// assemble takes nested pipelines apart and sorts, and makes no plan yet.
func assemble(layers []policy.Layer) *Pipeline {
	p := &Pipeline{}
	for _, layer := range layers {
		switch layer := layer.(type) {
		case *Pipeline:
			if layer == nil {
				p.placements = append(p.placements, placement{layer: layer})
				continue
			}
			p.placements = append(p.placements, layer.placements...)
			p.observers = append(p.observers, layer.observers...)
		case observation:
			p.observers = append(p.observers, layer...)
		case policy.Placed:
			p.placements = append(p.placements, placement{layer.Layer, layer.Stage()})
		default:
			place := placement{layer: layer}
			if !isNil(layer) {
				place.stage = layer.Stage()
			}
			p.placements = append(p.placements, place)
		}
	}
	slices.SortStableFunc(p.placements, func(a, b placement) int { return int(a.stage) - int(b.stage) })
	return p
}

// Run runs an operation that has no result but an error. It is [Do] otherwise.
func (p *Pipeline) Run(ctx context.Context, op func(context.Context) error) error {
	if op == nil {
		panic("resilience: Run with a nil operation")
	}
	_, err := Do(ctx, p, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}

// Ready returns nil when every [policy.Gate] of the pipeline would admit an attempt now, otherwise the first
// rejection. It is a pure question: it reserves nothing and moves no state.
func (p *Pipeline) Ready(ctx context.Context) error { return p.plan.Ready(ctx) }

// Gates returns the gates of the pipeline, outermost first. The slice is the caller's.
func (p *Pipeline) Gates() []policy.Gate {
	var gates []policy.Gate
	for _, place := range p.placements {
		if gate, ok := place.layer.(policy.Gate); ok {
			gates = append(gates, gate)
		}
	}
	return gates
}

// Idle reports whether every layer that knows, by a method Idle() bool, is idle: whether a new pipeline in this one's
// place would let nothing through that this one refuses. A registry of pipelines per key may then forget it.
func (p *Pipeline) Idle() bool {
	for _, place := range p.placements {
		if idler, ok := place.layer.(interface{ Idle() bool }); ok && !idler.Idle() {
			return false
		}
	}
	return true
}

// Layers returns the layers in order, outermost first. The slice is the caller's. It does not show which layers were
// moved: to extend a pipeline, compose with the pipeline itself.
func (p *Pipeline) Layers() []policy.Layer {
	layers := make([]policy.Layer, len(p.placements))
	for i, place := range p.placements {
		layers[i] = place.layer
	}
	return layers
}

// Stage returns the stage of the outermost layer. Composing takes a pipeline apart and does not ask.
func (p *Pipeline) Stage() policy.Stage {
	if len(p.placements) == 0 {
		return policy.StageChaos
	}
	return p.placements[0].stage
}

// String returns the layers on one line, outermost first, such as
//
//	total timeout 2s > retry 4 > breaker "users-db" > attempt timeout 300ms
func (p *Pipeline) String() string {
	if len(p.placements) == 0 {
		return "empty pipeline"
	}
	names := make([]string, len(p.placements))
	for i, place := range p.placements {
		names[i] = describe(place.layer)
	}
	return strings.Join(names, " > ")
}

func describe(layer policy.Layer) string {
	if s, ok := layer.(fmt.Stringer); ok && !isNil(layer) {
		return s.String()
	}
	return fmt.Sprintf("%T", layer)
}

// Observe returns a layer that lets observers hear what happens in the pipeline it is composed into. It has no place
// in the order and costs a call nothing when absent. Nil observers are refused with a panic.
func Observe(observers ...policy.Observer) policy.Layer {
	for i, observer := range observers {
		if v := reflect.ValueOf(observer); observer == nil || v.Kind() == reflect.Func && v.IsNil() {
			panic(&policy.ConfigError{Policy: "resilience.Observe", Problems: []string{fmt.Sprintf("observer %d is nil", i+1)}})
		}
	}
	return observation(slices.Clone(observers))
}

// observation is observers on their way into a pipeline.
type observation []policy.Observer

func (observation) Stage() policy.Stage { return policy.StageFallback }
