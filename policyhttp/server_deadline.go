package policyhttp

import (
	"context"
	"net/http"

	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// withDeadline returns the context of a request with the deadline that its client has asked for, and whether it has.
func (h *handler) withDeadline(
	ctx context.Context, r *http.Request,
) (within context.Context, limited bool, end context.CancelFunc) {
	if h.deadlineHeader == "" {
		return ctx, false, func() {}
	}
	limit, ok := field.ParseTimeLeft(r.Header.Get(h.deadlineHeader))
	if !ok {
		return ctx, false, func() {}
	}
	within, end = context.WithTimeout(ctx, limit)
	return within, true, end
}
