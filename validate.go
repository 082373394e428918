package resilience

import (
	"reflect"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// validate returns every problem of the layers, taken one by one and together.
func (p *Pipeline) validate() error {
	problems := policy.ConfigError{Policy: "resilience.Compose"}
	sound := p.validateEach(&problems)
	p.validateDuplicates(&problems)
	p.validateRepeaters(&problems)
	if sound {
		p.validateNeighbours(&problems)
	}
	return problems.Err()
}

// validateEach looks at each layer by itself. It reports whether every layer is sound: only then are Checkers asked.
func (p *Pipeline) validateEach(problems *policy.ConfigError) (sound bool) {
	sound = true
	report := func(format string, args ...any) {
		problems.Add(format, args...)
		sound = false
	}
	for _, place := range p.placements {
		layer := place.layer
		if option.IsNil(layer) {
			report("a layer is nil (%T)", layer)
			continue
		}
		// What assemble has not taken apart: a pipeline without a plan, and what policy.At has moved.
		switch layer := layer.(type) {
		case *Pipeline: // a Source too: before that case
			if layer.plan == nil { // a zero Pipeline, or one in a policy.At
				report("a Pipeline must be made with Compose")
			} else { // a sound one, in a policy.At
				report("a pipeline was moved to stage %q: move its layers instead", place.stage)
			}
			continue
		case attribute:
			report("%v was moved to stage %q: it has no place in the order", layer, place.stage)
			continue
		case Source:
			report("%T: a source of pipelines cannot be composed: it may change; use it with Do, Open and Run", layer)
			continue
		}
		if place.stage <= 0 {
			report("%s: stage %d: must be positive", describe(layer), int(place.stage))
		}
		if roles := countRoles(layer); roles != 1 {
			report("%s: must be exactly one of Guard, Repeater and Wrapper, is %d of them", describe(layer), roles)
		}
	}
	return sound
}

// countRoles returns how many of Guard, Repeater and Wrapper the layer is.
func countRoles(layer policy.Layer) (roles int) {
	if _, ok := layer.(policy.Guard); ok {
		roles++
	}
	if _, ok := layer.(policy.Repeater); ok {
		roles++
	}
	if _, ok := layer.(policy.Wrapper); ok {
		roles++
	}
	return roles
}

// validateDuplicates refuses an instance that occurs twice: a bulkhead inside itself can wait for its own slot for
// ever, and a breaker inside itself counts every attempt twice.
func (p *Pipeline) validateDuplicates(problems *policy.ConfigError) {
	seen := make(map[policy.Layer]int)
	for _, place := range p.placements {
		if option.IsNil(place.layer) || !hasIdentity(place.layer) {
			continue
		}
		seen[place.layer]++
		if seen[place.layer] == 2 {
			problems.Add("%s: the same instance occurs twice", describe(place.layer))
		}
	}
}

// hasIdentity reports whether == tells layer from others of its type: some values cannot be compared, and all pointers
// to a type without fields may be equal.
func hasIdentity(layer policy.Layer) bool {
	t := reflect.TypeOf(layer)
	return reflect.ValueOf(layer).Comparable() && (t.Kind() != reflect.Pointer || t.Elem().Size() > 0)
}

// validateRepeaters refuses two repeaters at one stage, which multiply each other's attempts, mostly by accident.
func (p *Pipeline) validateRepeaters(problems *policy.ConfigError) {
	last := make(map[policy.Stage]policy.Layer)
	for _, place := range p.placements {
		if _, ok := place.layer.(policy.Repeater); !ok || option.IsNil(place.layer) {
			continue
		}
		if other, ok := last[place.stage]; ok {
			problems.Add("%s and %s are both at stage %q: they would multiply each other's attempts",
				describe(other), describe(place.layer), place.stage)
		}
		last[place.stage] = place.layer
	}
}

// validateNeighbours asks every Checker whether it fits the layers around it.
func (p *Pipeline) validateNeighbours(problems *policy.ConfigError) {
	layers := p.bareLayers()
	for i, layer := range layers {
		if checker, ok := layer.(policy.Checker); ok {
			if err := checker.Check(layers[:i:i], layers[i+1:]); err != nil {
				problems.Add("%s: %v", describe(layer), err)
			}
		}
	}
}
