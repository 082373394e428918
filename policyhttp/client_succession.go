package policyhttp

import (
	"context"
	"slices"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// attemptNumbers tell the attempts of a call apart: as the retry counts, and as the hedge does.
type attemptNumbers struct{ retry, hedge int }

func numbersOf(ctx context.Context) attemptNumbers {
	return attemptNumbers{retry.Attempt(ctx), hedge.Attempt(ctx)}
}

// isLater reports whether n is a later attempt of the same retry than the other one. Where the hedge is around the retry, each
// attempt of the hedge has a retry of its own.
func (c *call) isLater(n, than attemptNumbers) bool {
	return n.retry > than.retry && (n.hedge == than.hedge || !c.hedgeIsAroundRetry())
}

// hedgeIsAroundRetry reports whether a wrapper comes first among the repeaters and wrappers.
func (c *call) hedgeIsAroundRetry() bool {
	for _, layer := range c.layers() {
		switch layer.(type) {
		case policy.Repeater:
			return false
		case policy.Wrapper:
			return true
		}
	}
	return false
}

// pipelineRepeats reports whether the pipeline may make more than one attempt.
func (c *call) pipelineRepeats() bool {
	return slices.ContainsFunc(c.layers(), func(layer policy.Layer) bool {
		switch layer.(type) {
		case policy.Repeater, policy.Wrapper:
			return true
		}
		return false
	})
}

// takeSuperseded takes out of c.pending the attempts that are answered and than which n is later. An attempt that is still
// under way is left to the next attempt, or to the end of the call: until then its answer may still be wanted.
func (c *call) takeSuperseded(n attemptNumbers) (superseded []*attempt) {
	c.pending = slices.DeleteFunc(c.pending, func(other *attempt) bool {
		supersedes := other.response != nil && c.isLater(n, numbersOf(other))
		if supersedes {
			superseded = append(superseded, other)
		}
		return supersedes
	})
	return superseded
}
