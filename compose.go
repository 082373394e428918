package resilience

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Pipeline is several layers made into one. It is immutable and safe for concurrent use; make one per dependency,
// once, and use it for every call.
//
// A Pipeline is itself a [policy.Layer]: composed with others it is taken apart, so Compose(a, Compose(b, c)) is
// Compose(a, b, c), and composing with it is how a pipeline is extended. It is a [policy.Gate] too.
//
// A Pipeline that Compose did not make protects nothing. Methods that use the layers, or ask how they are (Ready, Idle,
// Report), panic. Those that only say what it was made of (Name, Layers, Stage, String) take it for an empty one.
type Pipeline struct {
	placements []placement // in order, outermost first
	config     engine.Config
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
	p.plan = engine.NewPlan(p.bareLayers(), p.config)
	return p
}

// Validate returns the [*policy.ConfigError] that [Compose] would panic with, or nil. Like any other use of it, a policy that
// was not made with its New panics here too: that is a mistake in a program, not in a configuration.
func Validate(layers ...policy.Layer) error {
	return assemble(layers).validate()
}

// assemble takes nested pipelines and attributes apart and sorts the layers. The pipeline has no plan yet.
func assemble(layers []policy.Layer) *Pipeline {
	p := &Pipeline{}
	for _, layer := range layers {
		switch layer := layer.(type) {
		case *Pipeline:
			if layer == nil || layer.plan == nil { // validateEach reports it
				p.placements = append(p.placements, placement{layer: layer})
				continue
			}
			p.placements = append(p.placements, layer.placements...)
			p.configure(layer.config)
		case attribute:
			p.configure(layer.config)
		case policy.Placed:
			p.placements = append(p.placements, placement{layer.Layer, layer.Stage()})
		default:
			place := placement{layer: layer}
			if !option.IsNil(layer) {
				place.stage = layer.Stage()
			}
			p.placements = append(p.placements, place)
		}
	}
	slices.SortStableFunc(p.placements, func(a, b placement) int { return int(a.stage) - int(b.stage) })
	return p
}

// configure adds to what the pipeline has besides its layers. Of several names and classifiers the last one counts.
func (p *Pipeline) configure(config engine.Config) {
	if config.Name != "" {
		p.config.Name = config.Name
	}
	if config.Classify != nil {
		p.config.Classify = config.Classify
	}
	p.config.Observers = append(p.config.Observers, config.Observers...)
}

// Name returns the name of the pipeline, "" if it has none.
func (p *Pipeline) Name() string { return p.config.Name }

// Current returns the pipeline itself: a pipeline that never changes is a [Source].
func (p *Pipeline) Current() *Pipeline { return p }

// Run runs an operation that has no result but an error through the pipeline. It is [Run].
func (p *Pipeline) Run(ctx context.Context, op func(context.Context) error) error {
	return Run(ctx, p, op)
}

// Ready returns nil when every [policy.Gate] of the pipeline would admit an attempt now, otherwise the first
// rejection. It is a pure question: it reserves nothing and moves no state.
func (p *Pipeline) Ready(ctx context.Context) error { return p.planOrPanic().Ready(ctx) }

// Idle reports whether every layer that is a [policy.Idler] is idle: whether a new pipeline in this one's place would let
// nothing through that this one refuses. A registry of pipelines per key may then forget it.
func (p *Pipeline) Idle() bool {
	p.planOrPanic() // else a pipeline that Compose did not make would be idle
	for _, place := range p.placements {
		if idler, ok := place.layer.(policy.Idler); ok && !idler.Idle() {
			return false
		}
	}
	return true
}

// Layers returns the layers in order, outermost first. A layer that stands at another stage than its own is returned as
// what [policy.At] made of it, so that Compose(p.Layers()...) has the same order. The slice is the caller's.
func (p *Pipeline) Layers() []policy.Layer {
	layers := p.bareLayers()
	for i, place := range p.placements {
		if place.stage != place.layer.Stage() {
			layers[i] = policy.At(place.stage, place.layer)
		}
	}
	return layers
}

// bareLayers returns the layers as they are, also where At has moved them, outermost first.
func (p *Pipeline) bareLayers() []policy.Layer {
	layers := make([]policy.Layer, len(p.placements))
	for i, place := range p.placements {
		layers[i] = place.layer
	}
	return layers
}

// Config is what [retry.Retrier.Tries] asks a pipeline of guards for. It is not for other callers.
func (p *Pipeline) Config(engine.Caller) engine.Config { return p.config }

// Stage returns the stage of the outermost layer, 0 for a pipeline without layers. Composing takes a pipeline apart and
// does not ask.
func (p *Pipeline) Stage() policy.Stage {
	if len(p.placements) == 0 {
		return 0
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

// describe returns what a layer says of itself, or its type.
func describe(layer policy.Layer) string {
	if s, ok := layer.(fmt.Stringer); ok && !option.IsNil(layer) {
		return s.String()
	}
	return fmt.Sprintf("%T", layer)
}
