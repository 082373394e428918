package engine

import (
	"context"

	"github.com/go-resilience/resilience/policy"
)

// guardsPerNode bounds the tickets that one run of guards holds on the stack; a longer run is split.
const guardsPerNode = 5

// Plan is a pipeline made ready to run: a linked list of nodes, outermost first. It is immutable.
type Plan struct {
	first    *node
	gates    gates
	observer policy.Observer // nil when nobody listens
}

// node is a run of guards and what stands inside them: a repeater, a wrapper, or just the next node.
type node struct {
	guards   [guardsPerNode]policy.Guard // an array, not a slice, so that a node for a single guard needs no heap
	count    int
	repeater policy.Repeater
	counter  successCounter
	gates    gates // for the repeater: every gate further in
	wrapper  policy.Wrapper
	next     *node // nil: the operation

	innermost bool // inside the guards there is nothing but the operation
}

// NewPlan builds the plan for layers, which must be in order, outermost first, and each a Guard, a Repeater or a
// Wrapper. observers hear what happens.
func NewPlan(layers []policy.Layer, observers []policy.Observer) *Plan {
	return &Plan{first: link(layers), gates: gatesOf(layers), observer: combine(observers)}
}

func link(layers []policy.Layer) *node {
	if len(layers) == 0 {
		return nil
	}
	n := &node{}
	for i, layer := range layers {
		switch layer := layer.(type) {
		case policy.Repeater:
			n.setRepeater(layer)
			n.gates = gatesOf(layers[i+1:])
			n.next = link(layers[i+1:])
			return n
		case policy.Wrapper:
			n.wrapper = layer
			n.next = link(layers[i+1:])
			return n
		case policy.Guard:
			if n.count == guardsPerNode {
				n.next = link(layers[i:])
				return n
			}
			n.guards[n.count] = layer
			n.count++
		}
	}
	n.innermost = true
	return n
}

func (n *node) setRepeater(repeater policy.Repeater) {
	n.repeater = repeater
	n.counter, _ = repeater.(successCounter)
}

// successCounter is what the Retrier of this module is in addition: it needs to know of a first attempt that succeeded
// only that it did. The row "retry, first attempt" of docs/performance.md is what this is for.
type successCounter interface {
	policy.Repeater
	Succeeded()
}

// Ready asks every gate of the plan.
func (p *Plan) Ready(ctx context.Context) error { return p.gates.ready(ctx) }
