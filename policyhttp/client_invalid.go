package policyhttp

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// isInvalid reports whether r, which has failed with err, is a request that no server could be sent.
func isInvalid(r *http.Request, err error) bool {
	switch {
	case r.URL == nil, r.Header == nil, r.Method != "" && !field.IsToken(r.Method), r.Body == nil && r.ContentLength > 0:
		return true
	case r.URL.Scheme == "http", r.URL.Scheme == "https":
		return r.URL.Host == "" || !field.AreValid(r.Header) || !field.AreValid(r.Trailer)
	}
	// Base transports may know other schemes. This error has no type.
	return strings.HasPrefix(err.Error(), "unsupported protocol scheme")
}

// isCanceled reports whether the caller of r has closed its channel Cancel, and not because a deadline is over, which
// http.Client tells in both ways.
func isCanceled(r *http.Request) bool {
	//lint:ignore SA1019 that callers may still use
	left := r.Cancel
	select {
	case <-left:
	default:
		return false
	}
	deadline, ok := r.Context().Deadline()
	return !ok || time.Now().Before(deadline)
}
