package policyhttp

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync/atomic"
)

// requestBody is a body of one attempt: what the base transport gets. What becomes of the caller's body is said at [bodies].
type requestBody struct {
	attempt   *attempt
	source    io.ReadCloser
	isCallers bool // source is, or reads, the caller's body

	begun  atomic.Bool // somebody has read; set under the call's mutex
	closed atomic.Bool // set under the call's mutex
	read   atomic.Int64
}

// startReading reports whether b can be read: it is not closed. From then on it counts as read.
func (b *requestBody) startReading() bool {
	if !b.begun.Load() {
		mu := &b.attempt.call.mu
		mu.Lock()
		defer mu.Unlock()
		b.begun.Store(!b.closed.Load())
	}
	return !b.closed.Load()
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	if !b.startReading() {
		return 0, http.ErrBodyReadAfterClose
	}
	a := b.attempt
	n, err := b.source.Read(p)
	read, ended := b.read.Add(int64(n)), errors.Is(err, io.EOF)
	switch says := a.call.bodies.length; {
	case b.closed.Load():
	case err != nil && !ended, says > 0 && (read > says || ended && read < says):
		a.bodyBroken.Store(true)
	case ended && len(a.trailer) > 0: // now the caller knows the values
		maps.Copy(a.trailer, a.call.request.Trailer)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *requestBody) Close() error { return b.attempt.call.bodies.close(b) }
