package policyhttp

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync/atomic"
)

// requestBody is the body of one attempt.
type requestBody struct {
	bodies    *bodies
	source    io.ReadCloser // guarded by the call's mutex until the request is sent
	isCallers bool          // source is, or reads, the caller's body

	trailer http.Header // of the request that is sent, nil where that is the caller's

	state  atomic.Int32 // unread, begun or returned
	closed atomic.Bool
	broken atomic.Bool // reading has failed, or found another length than the request says
	read   atomic.Int64
}

// What has become of a requestBody whose source can be sent only once. The first change is the last one:
//
//	unread ── Read ─────────────▶ begun       the base transport has it for good
//	   │
//	   └───── Close, reclaim ───▶ returned    the base transport can read no more
//
// After returned, the caller's body stays open for the attempt that takes it next (reusable). After begun, the Close of the
// base transport closes it. What is open when the call ends is closed then (bodies.end), unless the attempt that is delivered
// is still sending it.
const (
	unread   = iota
	begun    // the base transport has begun to read
	returned // nobody has read it, and nobody can any more
)

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	b.state.CompareAndSwap(unread, begun)
	if b.state.Load() == returned || b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.source.Read(p)
	read, ended := b.read.Add(int64(n)), errors.Is(err, io.EOF)
	switch says := b.bodies.length; {
	case b.closed.Load():
	case err != nil && !ended, says > 0 && (read > says || ended && read < says):
		b.broken.Store(true)
	case ended && len(b.trailer) > 0: // now the caller knows the values
		maps.Copy(b.trailer, b.bodies.call.request.Trailer)
	}
	return n, err
}

// Close implements [io.Closer]. The caller's body stays open while another attempt might still send it.
func (b *requestBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if !b.isCallers {
		return b.source.Close()
	}
	mayBeSent := b.bodies.kind == bodyRecorded || b.bodies.kind == bodyOnce && b.giveBack()
	if mayBeSent && !b.bodies.call.ended.Load() { // looked at after closed: see bodies.end
		return nil
	}
	return b.bodies.close()
}

// reusable reports whether b was given back unread, and the caller's body is open.
func (b *requestBody) reusable() bool { return b.state.Load() == returned && !b.bodies.closed.Load() }

// giveBack reports whether nobody has read b, and sees to it that nobody does.
func (b *requestBody) giveBack() bool {
	return b.state.CompareAndSwap(unread, returned) || b.state.Load() == returned
}

// reclaim gives b back in place of a base transport that may not have closed it yet, and reports whether it is reusable.
func (b *requestBody) reclaim() bool {
	if b.giveBack() {
		b.closed.Store(true)
	}
	return b.reusable()
}

// set makes source the body, unless the caller has left.
func (b *requestBody) set(source io.ReadCloser) bool {
	c := b.bodies.call
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.Load() {
		return false
	}
	b.source = source
	return true
}
