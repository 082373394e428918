package policyhttp

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// setDeadline sets the header field of [DeadlineHeader] in r, which is sent for an attempt made in ctx through layers.
func (t *Transport) setDeadline(ctx context.Context, layers []policy.Layer, r *http.Request) {
	if _, ok := r.Header[t.deadlineHeader]; ok || r.Header == nil {
		return
	}
	left := limitAt(layers, policy.StageAttemptTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	if left < noLimit {
		r.Header[t.deadlineHeader] = []string{field.TimeLeft(left)}
	}
}

const noLimit = time.Duration(math.MaxInt64)

// limitAt returns the shortest time limit of the layers with that stage, noLimit if there is none. layers holds no
// [policy.Placed], so the stage of each is its own, and not where it was moved to.
func limitAt(layers []policy.Layer, stage policy.Stage) time.Duration {
	limit := noLimit
	for _, layer := range layers {
		if limiter, ok := layer.(policy.TimeLimiter); ok && limiter.Stage() == stage {
			limit = min(limit, limiter.TimeLimit())
		}
	}
	return limit
}
