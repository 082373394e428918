package policyhttp

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// Idempotent returns a context that says that its requests may be sent more than once, whatever their method, because
// the server recognises a repetition, or does not mind it. It is retry.Idempotent; retry.NotIdempotent says the opposite,
// of a GET that has an effect.
func Idempotent(ctx context.Context) context.Context { return retry.Idempotent(ctx) }

// isIdempotent reports whether method and header allow to send r twice.
func isIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete,
		"QUERY":
		return true
	}
	if _, ok := r.Header["Idempotency-Key"]; ok {
		return true
	}
	_, ok := r.Header["X-Idempotency-Key"]
	return ok
}

// repetitionOf says whether the request of c may be sent twice. What the caller said about the context counts more than the
// method; nothing counts more than a body that can be sent only once.
func repetitionOf(c *call) idempotence.Mark {
	mark, marked := idempotence.Of(c.Context)
	may := mark != idempotence.No
	if !marked {
		may = isIdempotent(c.request)
	}
	switch {
	case !may || c.bodies.is(bodyOnce):
		return idempotence.No
	case c.bodies.is(bodyRecorded) && c.request.ContentLength <= 0:
		// It is not known how long the body is: of two attempts, one could not go on where it turns out too long.
		return idempotence.InTurn
	}
	return idempotence.AtOnce
}

// mayRepeat reports whether the request may be sent again after it has reached the server.
func (c *call) mayRepeat() bool { return c.repetition != idempotence.No }

// pipelineRepeats reports whether the pipeline may make more than one attempt.
func (c *call) pipelineRepeats() bool {
	return slices.ContainsFunc(c.openResult.Layers(), func(layer policy.Layer) bool {
		switch layer.(type) {
		case policy.Repeater, policy.Wrapper:
			return true
		}
		return false
	})
}

// attemptNumbers tell the attempts of a call apart: as the retry counts, and as the hedge does.
type attemptNumbers struct{ retry, hedge int }

func numbersOf(ctx context.Context) attemptNumbers {
	return attemptNumbers{retry.Attempt(ctx), hedge.Attempt(ctx)}
}

// follows reports whether n is a later attempt than other of the same retry. Where the hedge is around the retry, each of its
// attempts has a retry of its own.
func (c *call) follows(n, other attemptNumbers) bool {
	return n.retry > other.retry && (n.hedge == other.hedge || !c.hedgeIsAroundRetry())
}

func (c *call) hedgeIsAroundRetry() bool {
	for _, layer := range c.openResult.Layers() {
		switch layer.(type) {
		case policy.Repeater:
			return false
		case policy.Wrapper:
			return true
		}
	}
	return false
}
