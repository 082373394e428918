package engine

import (
	"context"

	"github.com/go-resilience/resilience/policy"
)

// This file is what package policyhttp needs of open results: room for one in its own context, and the layers.

// OpenResult is what Open keeps for a result that stays open.
type OpenResult = openResult

// Roomy is a context with room for an OpenResult, which spares an allocation. OpenResult gives that room away once; then it
// returns nil.
type Roomy interface{ OpenResult() *OpenResult }

// newOpenResult returns the room that ctx has for an open result, or a new one.
func newOpenResult(ctx context.Context) *openResult {
	if roomy, ok := ctx.(Roomy); ok {
		if o := roomy.OpenResult(); o != nil {
			return o
		}
	}
	return new(openResult)
}

// Layers returns the layers of the pipeline that the call goes through, outermost first.
func (o *openResult) Layers() (layers []policy.Layer) {
	for n := o.plan.first; n != nil; n = n.next {
		for _, guard := range n.guards[:n.count] {
			layers = append(layers, guard)
		}
		switch {
		case n.repeater != nil:
			layers = append(layers, n.repeater)
		case n.wrapper != nil:
			layers = append(layers, n.wrapper)
		}
	}
	return layers
}
