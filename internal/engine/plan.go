package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Plan is a pipeline made ready to run: a linked list of nodes, outermost first. It is immutable.
type Plan struct {
	Config
	first  *node
	gates  gates
	kinds  kinds   // the kinds of event that the observers need
	wanted []kinds // by each of them
	shared *trace  // of all calls of Do that are not timed; nil if there are no observers
	calls  *Calls  // nil in a pipeline without a name

	watched bool // calls are counted or timed, see runWatched
}

// Config is what a pipeline has besides its layers.
type Config struct {
	Name      string
	Observers []policy.Observer
	Classify  func(error) policy.Class // nil: errors classify themselves
}

// node is one step on the way to the operation: a run of guards, a repeater, a wrapper, or the operation itself.
type node struct {
	plan     *Plan
	guards   [guardsPerNode]policy.Guard // an array, so that a node for a single guard needs no heap
	count    int
	split    bool // its run of guards goes on in next
	repeater policy.Repeater
	retrier  retrier // the repeater, if it is one
	wrapper  policy.Wrapper
	budget   policy.Budget // of the repeater or wrapper, if no layer outside uses it too
	gates    gates         // inside the repeater
	next     *node         // nil in the node of the operation
}

// guardsPerNode bounds the tickets that one node holds on the stack: a longer run of guards is split into several nodes.
const guardsPerNode = 5

// NewPlan builds the plan for layers, which must be in order, outermost first, and each a Guard, a Repeater or a
// Wrapper.
func NewPlan(layers []policy.Layer, config Config) *Plan {
	p := &Plan{Config: config, gates: gatesOf(layers)}
	p.first = p.link(layers, nil)
	p.observe()
	if p.Name != "" {
		p.calls = new(Calls)
	}
	p.watched = p.calls != nil || p.kinds&timedKinds != 0
	return p
}

// link returns the nodes for layers. fed are the budgets that layers outside deposit in.
func (p *Plan) link(layers []policy.Layer, fed []policy.Budget) *node {
	n := &node{plan: p}
	if len(layers) == 0 {
		return n
	}
	inner := layers[1:]
	switch layer := layers[0].(type) {
	case policy.Repeater:
		n.setRepeater(layer)
		n.gates = gatesOf(inner)
		n.setBudget(layer, fed)
	case policy.Wrapper:
		n.wrapper = layer
		n.setBudget(layer, fed)
	default: // at least one guard: Compose has checked the layers
		guards := leadingGuards(layers)
		n.count = copy(n.guards[:], guards)
		n.split = n.count < len(guards)
		inner = layers[n.count:]
	}
	if n.budget != nil {
		fed = append(slices.Clip(fed), n.budget)
	}
	n.next = p.link(inner, fed)
	return n
}

// leadingGuards returns the guards that layers begins with.
func leadingGuards(layers []policy.Layer) (guards []policy.Guard) {
	for _, layer := range layers {
		guard, ok := layer.(policy.Guard)
		if !ok {
			break
		}
		guards = append(guards, guard)
	}
	return guards
}

func (n *node) setRepeater(repeater policy.Repeater) {
	n.repeater = repeater
	n.retrier, _ = repeater.(retrier)
}

// setBudget lets n deposit in the budget of layer, unless a layer outside does: then it is among fed.
func (n *node) setBudget(layer policy.Layer, fed []policy.Budget) {
	user, ok := layer.(policy.BudgetUser)
	if !ok {
		return
	}
	budget := user.Budget()
	if budget == nil || slices.ContainsFunc(fed, func(other policy.Budget) bool { return option.Same(budget, other) }) {
		return
	}
	n.budget = budget
}

// deposit pays a call that has entered the operation into the budget, if n has one to pay into.
func (n *node) deposit() {
	if n.budget != nil {
		n.budget.Deposit()
	}
}

// bare is the plan around a single layer.
var bare = NewPlan(nil, Config{})

// setLayer makes n the node of a single layer, which was not checked by Compose.
func (n *node) setLayer(layer policy.Layer) {
	if placed, ok := layer.(policy.Placed); ok {
		layer = placed.Layer
	}
	if option.IsNil(layer) {
		panic(fmt.Sprintf("resilience: a call through a nil %T", layer))
	}
	switch layer := layer.(type) {
	case policy.Composite:
		panic(fmt.Sprintf("resilience: a %T was moved: move its layers instead", layer))
	case policy.Repeater:
		n.setRepeater(layer)
		n.setBudget(layer, nil)
	case policy.Wrapper:
		n.wrapper = layer
		n.setBudget(layer, nil)
	case policy.Guard:
		n.guards[0], n.count = layer, 1
	default:
		panic(fmt.Sprintf("resilience: %T is no Guard, Repeater or Wrapper", layer))
	}
}

// Ready asks every gate of the plan.
func (p *Plan) Ready(ctx context.Context) error { return p.gates.ready(ctx) }

// Calls returns the counts of calls, nil for a pipeline without a name.
func (p *Plan) Calls() *Calls { return p.calls }
