package policyhttp

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// mostDrained is how much of the body of a failed attempt is read, so that its connection can be used again.
	mostDrained = 4 << 10
	// drainTime is how long that may take before nobody waits for it any more.
	drainTime = 50 * time.Millisecond
)

// prefetch returns r, which another attempt may supersede, with a body of which it has read the beginning. If that is all of
// it, the connection is free for the next attempt, and the response can still be read. It must be now: when another attempt
// begins, the contexts of this one end.
//
// What it returns is a copy if the body is read: at the end of the body, which may come while its caller looks at the copy,
// the base transport writes the trailer into r.
func prefetch(r *http.Response) *http.Response {
	inner := r.Body
	if _, writable := inner.(io.Writer); writable || hasNoBody(r, inner) || r.ContentLength > mostDrained {
		return r
	}
	f := &fetched{inner: inner, base: r, response: *r, done: make(chan struct{})}
	f.response.Body, f.response.Trailer = f, r.Trailer.Clone()
	go f.fetch() // which ends when the body is closed, at the latest
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
		f.enough.Store(true)
	}
	return &f.response
}

// fetched is a body whose beginning was read, as far as it came in time. The piece that was on its way when the time was over
// is still fetch's; the reader gets what came before, waits for that piece, and goes on by itself.
type fetched struct {
	inner    io.ReadCloser
	base     *http.Response // of which inner is the body
	response http.Response  // of which this is the body

	done   chan struct{} // closed when fetch has ended
	enough atomic.Bool   // fetch is to read no further piece
	closed atomic.Bool

	room [mostDrained]byte

	mu       sync.Mutex
	from, to int // of room: what has come, and was not handed out

	err      error // these belong to fetch until done is closed, then to the reader
	panicked any
}

func (f *fetched) fetch() {
	defer close(f.done)
	defer func() { f.panicked = recover() }() // it is the reader's, on whose goroutine it can be recovered
	for n := 0; n < len(f.room) && f.err == nil && !f.enough.Load(); {
		var read int
		read, f.err = f.inner.Read(f.room[n:])
		n += read
		f.mu.Lock()
		f.to = n
		f.mu.Unlock()
	}
}

// take copies what has come.
func (f *fetched) take(p []byte) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = copy(p, f.room[f.from:f.to])
	f.from += n
	return n
}

// Read implements [io.Reader].
func (f *fetched) Read(p []byte) (int, error) {
	if f.closed.Load() {
		return 0, errReadAfterClose
	}
	if n := f.take(p); n > 0 || len(p) == 0 {
		return n, nil
	}
	<-f.done
	n := f.take(p)
	switch {
	case f.closed.Load():
		return 0, errReadAfterClose
	case n > 0:
		return n, nil
	case f.err != nil:
		return 0, f.afterRead(f.err)
	case f.panicked != nil:
		panic(f.panicked)
	}
	n, err := f.inner.Read(p)
	return n, f.afterRead(err)
}

// afterRead returns the error of a Read. With io.EOF, the reader may look at the trailer.
func (f *fetched) afterRead(err error) error {
	switch {
	case err != io.EOF: //nolint:errorlint // a Reader returns the very value
	case f.response.Trailer == nil:
		f.response.Trailer = f.base.Trailer
	default:
		maps.Copy(f.response.Trailer, f.base.Trailer)
	}
	return err
}

// Close implements [io.Closer].
func (f *fetched) Close() error {
	f.closed.Store(true)
	f.enough.Store(true)
	return f.inner.Close()
}

// hasNoBody reports whether there is nothing to be read.
func hasNoBody(r *http.Response, body any) bool {
	switch {
	case body == http.NoBody, r.StatusCode == http.StatusNoContent, r.StatusCode == http.StatusNotModified:
		return true
	}
	return r.Request != nil && r.Request.Method == http.MethodHead
}
