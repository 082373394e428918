package policyhttp

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/idempotence"
)

// sendTrace notes how far a request has come.
type sendTrace struct {
	connecting atomic.Bool // the base transport tells of what it does
	wrote      atomic.Bool // something has left
}

// traceSend lets the base transport tell how far r comes, beside what the caller wants to be told.
func traceSend(r *http.Request) *sendTrace {
	s := &sendTrace{}
	*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn:          func(string) { s.connecting.Store(true) },
		WroteHeaderField: func(string, []string) { s.wrote.Store(true) },
		WroteHeaders:     func() { s.wrote.Store(true) },
	}))
	return s
}

// isNotSent reports whether an attempt that failed with err has had no effect for sure. trace is nil if there is
// none.
func isNotSent(err error, trace *sendTrace) bool {
	switch {
	case trace == nil:
		return false
	case isRefusedStream(err), idempotence.NotSent(err):
		return true
	case trace.wrote.Load():
		return false
	case trace.connecting.Load():
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
