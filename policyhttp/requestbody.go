package policyhttp

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync/atomic"
)

// requestBody is a body of one attempt: what the base transport gets.
type requestBody struct {
	attempt   *attempt
	earlier   *requestBody // of the same attempt, whose base transport has made this one with GetBody; nil if there is none
	source    io.ReadCloser
	isCallers bool // source is, or reads, the caller's body

	trailer http.Header // of the request that is sent, nil where that is the caller's

	begun  atomic.Bool // somebody has read; set under the call's mutex
	closed atomic.Bool // set under the call's mutex where isCallers
	broken atomic.Bool // reading has failed, or found another length than the request says
	read   atomic.Int64
}

// begin reports whether b can be read: it is not closed. From then on it counts as read.
func (b *requestBody) begin() bool {
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
	if !b.begin() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.source.Read(p)
	read, ended := b.read.Add(int64(n)), errors.Is(err, io.EOF)
	switch says := b.attempt.call.bodies.length; {
	case b.closed.Load():
	case err != nil && !ended, says > 0 && (read > says || ended && read < says):
		b.broken.Store(true)
	case ended && len(b.trailer) > 0: // now the caller knows the values
		maps.Copy(b.trailer, b.attempt.call.request.Trailer)
	}
	return n, err
}

// Close implements [io.Closer]. What becomes of the caller's body is said at [bodies].
func (b *requestBody) Close() error {
	if !b.isCallers {
		if b.closed.Swap(true) {
			return nil
		}
		return b.source.Close()
	}
	c := b.attempt.call
	c.mu.Lock()
	last := !b.closed.Swap(true) && c.bodies.isLast(b)
	c.mu.Unlock()
	if last {
		return c.bodies.close()
	}
	return nil
}

// all yields b, which may be nil, and the earlier ones of its attempt.
func (b *requestBody) all(yield func(*requestBody) bool) {
	for ; b != nil && yield(b); b = b.earlier {
	}
}

// readsCallers reports whether one of them is open and reads the caller's body.
func (b *requestBody) readsCallers() bool {
	for body := range b.all {
		if body.isCallers && !body.closed.Load() {
			return true
		}
	}
	return false
}
