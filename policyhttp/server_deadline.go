package policyhttp

import (
	"context"
	"net/http"

	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// withDeadline returns the context of a request with the deadline that its client has asked for, if any.
func (h *handler) withDeadline(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	if h.deadlineHeader == "" {
		return ctx, func() {}
	}
	limit, ok := field.ParseTimeLeft(r.Header.Get(h.deadlineHeader))
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}
