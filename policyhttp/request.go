package policyhttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

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

// sending notes how far a request has come.
type sending struct {
	connecting atomic.Bool // the base transport tells of what it does
	wrote      atomic.Bool // something has left
}

// traceSending lets the base transport tell how far r comes, beside what the caller wants to be told.
func traceSending(r *http.Request) *sending {
	s := &sending{}
	*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn:          func(string) { s.connecting.Store(true) },
		WroteHeaderField: func(string, []string) { s.wrote.Store(true) },
		WroteHeaders:     func() { s.wrote.Store(true) },
	}))
	return s
}

// isNotSent reports whether an attempt that failed with err has had no effect for sure. sending is nil if it was not
// traced.
func isNotSent(err error, sending *sending) bool {
	switch {
	case sending == nil:
		return false
	case isRefusedStream(err):
		return true
	case sending.wrote.Load():
		return false
	case sending.connecting.Load():
		return true
	}
	// A base transport that tells nothing.
	operation, ok := errors.AsType[*net.OpError](err)
	return ok && operation.Op == "dial"
}

// streamError has the fields of the error of an HTTP/2 stream in net/http and golang.org/x/net/http2, which let
// errors.As copy it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "" }

// isRefusedStream reports whether the server has refused an HTTP/2 stream before processing it.
func isRefusedStream(err error) bool {
	const refusedStream = 0x7
	var stream streamError
	return errors.As(err, &stream) && stream.Code == refusedStream
}
