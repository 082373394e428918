package policyconfig

import (
	"context"
	"slices"
	"sync"
	"weak"

	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// room makes and changes the layers of a kind. The options that a layer was given must have been resolved.
type room interface {
	validate(l *layer) error
	build(l *layer) policy.Layer
	// reconfigure changes a layer that is in use from one description to another. shadow is the mode that it shall have.
	reconfigure(built policy.Layer, before, l *layer, shadow bool) error
	// buildKeyed returns a guard with a layer per key, and what changes them; nil where the guard is a single policy.
	buildKeyed(l *layer) (policy.Layer, fleet)
}

// roomOf is the room of policies of type T with options of type O.
type roomOf[T any, P interface {
	*T
	policy.Layer
}, O any] struct {
	name      func(string) O
	shadow    func() O
	validator func(*layer, []O) error
	construct func(*layer, []O) P
	change    func(P, *layer, []O) error
	by        func(key func(context.Context) string, make func(string) P, options []keyed.Option) (policy.Layer, registry) // nil for what is no guard
}

// registry is a registry of policies per key, whatever their type.
type registry interface{ Reconfigure(...keyed.Option) error }

// by makes a guard of many.
func by[V policy.Guard](key func(context.Context) string, make func(string) V, options []keyed.Option) (policy.Layer, registry) {
	r := keyed.New(make, options...)
	return keyed.By(key, r), r
}

// options returns the options of a layer, in the order in which they were given. Those that are code and have not changed
// since before are left out: they stay. A source of chance would begin anew.
func (r *roomOf[T, P, O]) options(l *layer, shadow bool, before *layer) []O {
	var options []O
	for _, g := range l.given {
		if before != nil && g.option.code == "Rand" && before.gave(g) {
			continue
		}
		switch {
		case g.option == nameOption:
			options = append(options, r.name(g.args[0].(string)))
		case g.option == modeOption: // at its place in the order, see below
			if shadow {
				options = append(options, r.shadow())
				shadow = false
			}
		case g.option.list && g.option.key == "onChange": // an option for each
			for _, code := range g.resolved {
				options = append(options, g.option.apply(actual{code: []any{code}}).(O))
			}
		default:
			options = append(options, g.option.apply(actual{args: g.args, code: g.resolved}).(O))
		}
	}
	if shadow { // set by hand
		options = append(options, r.shadow())
	}
	return options
}

func (r *roomOf[T, P, O]) validate(l *layer) error {
	return r.validator(l, r.options(l, l.shadow(), nil))
}

func (r *roomOf[T, P, O]) make(l *layer, shadow bool) P {
	return r.construct(l, r.options(l, shadow, nil))
}

func (r *roomOf[T, P, O]) build(l *layer) policy.Layer { return r.make(l, l.shadow()) }

func (r *roomOf[T, P, O]) reconfigure(built policy.Layer, before, l *layer, shadow bool) error {
	return r.change(built.(P), l, r.options(l, shadow, before))
}

func (r *roomOf[T, P, O]) buildKeyed(l *layer) (policy.Layer, fleet) {
	f := &fleetOf[T, P, O]{room: r, spec: l}
	guard, keys := r.by(l.perKey.key, f.make, l.perKey.options())
	f.keys = keys
	return guard, f
}

// fleet is the policies of one layer per key.
type fleet interface {
	// reconfigure changes all of them, and those that will be made. A mode that was set by hand stays.
	reconfigure(old, l *layer) error
	// each calls f for all that may be in use.
	each(f func(policy.Layer))
	registry() registry
}

// fleetOf makes the policies, and remembers all that it has made: those in the registry, one that is still on its way
// there, and one that was evicted and is still in use.
type fleetOf[T any, P interface {
	*T
	policy.Layer
}, O any] struct {
	room *roomOf[T, P, O]
	keys registry

	mu   sync.Mutex
	spec *layer
	made []weak.Pointer[T]
	next int // length of made at which it is looked through
}

func (f *fleetOf[T, P, O]) make(string) P {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.made) >= f.next {
		f.made = slices.DeleteFunc(f.made, func(w weak.Pointer[T]) bool { return w.Value() == nil })
		f.next = 2*len(f.made) + 64
	}
	p := f.room.make(f.spec, f.spec.shadow())
	f.made = append(f.made, weak.Make((*T)(p)))
	return p
}

func (f *fleetOf[T, P, O]) registry() registry { return f.keys }

func (f *fleetOf[T, P, O]) reconfigure(old, l *layer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spec = l
	for _, w := range f.made {
		if p := P(w.Value()); p != nil {
			if err := f.room.reconfigure(p, old, l, keptMode(p, old, l)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fleetOf[T, P, O]) each(visit func(policy.Layer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.made {
		if p := P(w.Value()); p != nil {
			visit(p)
		}
	}
}

// keptMode returns the mode that a layer shall have: that of the file, unless another one was set by hand since.
func keptMode(built policy.Layer, old, l *layer) (shadow bool) {
	if reporter, ok := built.(policy.Reporter); ok && l.kind.shadowing {
		if now := reporter.Report().Shadow; now != old.shadow() {
			return now
		}
	}
	return l.shadow()
}

// noOption is the option of policies that have none.
type noOption struct{}

// timeoutRoom chooses between the two types of timeouts.
type timeoutRoom struct {
	plain   *roomOf[timeout.Timeout, *timeout.Timeout, noOption]
	abandon room
}

func (r timeoutRoom) of(l *layer) room {
	if l.constructor.key == "abandon" {
		return r.abandon
	}
	return r.plain
}

func (r timeoutRoom) validate(l *layer) error     { return r.of(l).validate(l) }
func (r timeoutRoom) build(l *layer) policy.Layer { return r.of(l).build(l) }

func (r timeoutRoom) reconfigure(built policy.Layer, before, l *layer, shadow bool) error {
	return r.of(l).reconfigure(built, before, l, shadow)
}

func (r timeoutRoom) buildKeyed(l *layer) (policy.Layer, fleet) { return r.of(l).buildKeyed(l) }

// limiterRoom chooses between limiters and a limiter that has a bucket for each key.
type limiterRoom struct{ limiters, buckets room }

func (r limiterRoom) of(l *layer) room {
	if l.perKey.room() != nil {
		return r.buckets
	}
	return r.limiters
}

func (r limiterRoom) validate(l *layer) error     { return r.of(l).validate(l) }
func (r limiterRoom) build(l *layer) policy.Layer { return r.of(l).build(l) }

func (r limiterRoom) reconfigure(built policy.Layer, before, l *layer, shadow bool) error {
	return r.of(l).reconfigure(built, before, l, shadow)
}

func (r limiterRoom) buildKeyed(l *layer) (policy.Layer, fleet) {
	if l.perKey.room() != nil {
		return r.buckets.build(l), nil // it is one policy
	}
	return r.limiters.buildKeyed(l)
}
