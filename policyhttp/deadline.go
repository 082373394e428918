package policyhttp

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// This file is about the header field that tells a server how many milliseconds its client has left: [DeadlineHeader] writes
// it, [DeadlineFrom] reads it.

// setDeadline sets the header field that says how much time is left for an attempt, made in ctx through layers.
func (t *Transport) setDeadline(ctx context.Context, layers []policy.Layer, r *http.Request) {
	if _, ok := r.Header[t.deadlineHeader]; ok || r.Header == nil {
		return
	}
	left := limitAt(layers, policy.StageAttemptTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	if left < noLimit {
		r.Header[t.deadlineHeader] = []string{strconv.FormatInt(max(1, left.Milliseconds()), 10)}
	}
}

const noLimit = time.Duration(math.MaxInt64)

// limitAt returns the shortest time limit of layers, none of which is a [policy.Placed], whose own stage is stage; noLimit if
// there is none.
func limitAt(layers []policy.Layer, stage policy.Stage) time.Duration {
	limit := noLimit
	for _, layer := range layers {
		if limiter, ok := layer.(policy.TimeLimiter); ok && limiter.Stage() == stage {
			limit = min(limit, limiter.TimeLimit())
		}
	}
	return limit
}

// maxDeadline is the longest deadline that a client can ask for; what is longer is none.
const maxDeadline = 24 * time.Hour

// withDeadline returns the context of a request with the deadline that its client has asked for, if any.
func (h *handler) withDeadline(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	if h.deadlineHeader == "" {
		return ctx, func() {}
	}
	limit, ok := parseMilliseconds(r.Header.Get(h.deadlineHeader))
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// parseMilliseconds parses what a client sends as a deadline.
func parseMilliseconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || n == 0 || n > uint64(maxDeadline/time.Millisecond) {
		return 0, false
	}
	return time.Duration(n) * time.Millisecond, true
}
