package policyhttp

import (
	"net/http"
	"strings"
	"time"
)

// isInvalid reports whether r, which has failed with err, is a request that no server could be sent.
func isInvalid(r *http.Request, err error) bool {
	switch {
	case r.URL == nil, r.Header == nil, r.Method != "" && !isToken(r.Method), r.Body == nil && r.ContentLength > 0:
		return true
	case r.URL.Scheme == "http", r.URL.Scheme == "https":
		return r.URL.Host == "" || areInvalid(r.Header) || areInvalid(r.Trailer)
	}
	// Base transports may know other schemes. This error has no type.
	return strings.HasPrefix(err.Error(), "unsupported protocol scheme")
}

// areInvalid reports whether there is a field that cannot be sent.
func areInvalid(fields http.Header) bool {
	for name, values := range fields {
		if !isToken(name) {
			return true
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return true
			}
		}
	}
	return false
}

// isToken reports whether s is a token of RFC 9110: the name of a field, a method.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s can be the value of a field.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
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
