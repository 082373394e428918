package policyhttp

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// bodyKind says how the body of a request can be sent again.
type bodyKind uint8

const (
	bodyAgain    bodyKind = iota // GetBody makes another one
	bodyRecorded                 // it is recorded as it is read
	bodyOnce                     // it cannot
)

// bodies hands the body of a request to its attempts. The caller's own body is closed exactly once, whatever happens. It is
// nil for a request without a body.
type bodies struct {
	call   *call
	kind   bodyKind
	own    io.ReadCloser // the caller's
	length int64         // that the request says
	closed atomic.Bool   // the caller's own body

	holder   *requestBody // the last one that had the caller's own body; guarded by the call's mutex
	recorder *recorder
}

func newBodies(c *call) *bodies {
	r := c.request
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &bodies{call: c, own: r.Body, length: r.ContentLength}
	switch limit := c.transport.buffer; {
	case r.GetBody != nil:
		b.kind = bodyAgain
	case limit > 0 && r.ContentLength <= limit:
		b.kind = bodyRecorded
		b.recorder = newRecorder(r.Body, limit)
	default:
		b.kind = bodyOnce
	}
	return b
}

// is reports whether there is a body of that kind.
func (b *bodies) is(kind bodyKind) bool { return b != nil && b.kind == kind }

// next gives a the body to send.
func (b *bodies) next(a *attempt) error {
	if b == nil {
		return nil
	}
	body := &requestBody{bodies: b}
	if a.owns() {
		body.trailer = a.sent.Trailer
	}
	own, err := b.take(a, body)
	if err != nil {
		return err
	}
	if !own {
		source, err := a.sent.GetBody()
		switch {
		case err != nil:
			return &baseError{err: err, class: policy.Ignored}
		case source == nil:
			source = http.NoBody
		}
		if !body.set(source) {
			_ = source.Close()
			return errLeft
		}
	}
	if b.kind == bodyRecorded {
		a.sent.GetBody = func() (io.ReadCloser, error) {
			again := &requestBody{bodies: b, own: true}
			again.source = b.recorder.reader(again)
			return again, nil
		}
	}
	a.sent.Body = body
	return nil
}

// take gives a body, and body the caller's own one if that can be done: then it reports true.
func (b *bodies) take(a *attempt, body *requestBody) (own bool, err error) {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	a.body = body
	switch previous := b.holder; {
	case b.call.ended.Load():
		return false, errLeft
	case b.kind == bodyRecorded:
		body.source, body.own = b.recorder.reader(body), true
	case previous == nil, b.kind == bodyOnce && previous.reusable():
		body.source, body.own = b.own, true
		b.holder = body
	case b.kind == bodyOnce:
		return false, errBodyGone
	}
	return body.own, nil
}

// reclaim reports whether another attempt can have the body, after one that has failed. A body that can be sent only once is
// taken away from a base transport that has not begun to read it.
func (b *bodies) reclaim() bool {
	switch {
	case b.is(bodyOnce):
		b.call.mu.Lock()
		defer b.call.mu.Unlock()
		return b.holder == nil || b.holder.reclaim()
	case b.is(bodyRecorded):
		return !b.recorder.overflowed()
	}
	return true
}

// end closes the caller's own body, unless the attempt whose response is delivered still has it.
func (b *bodies) end(delivered *attempt) {
	if b == nil {
		return
	}
	if delivered != nil && delivered.body != nil && delivered.body.own && !delivered.body.closed.Load() {
		return
	}
	_ = b.close()
}

// close closes the caller's own body, if that has not happened.
func (b *bodies) close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.own.Close()
}

// requestBody is the body of one attempt.
type requestBody struct {
	bodies *bodies
	source io.ReadCloser // guarded by the call's mutex until the request is sent
	own    bool          // source is, or reads, the caller's own body

	trailer http.Header // of the request that is sent, nil where it is the caller's own

	state  atomic.Int32 // unread, begun or returned
	closed atomic.Bool
	broken atomic.Bool // reading has failed, or found another length than the request says
	read   atomic.Int64
}

// What has become of a requestBody. The first change is the last one:
//
//	unread ── Read ─────────────▶ begun       the base transport has it for good
//	   │
//	   └───── Close, reclaim ───▶ returned    the base transport can read no more
//
// If it is the caller's own body that can be sent only once: after returned it stays open, for the attempt that takes it
// next (reusable). After begun, the Close of the base transport closes it. What is open when the call ends is closed then
// (bodies.end), unless the attempt that is delivered is still sending it.
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

// Close implements [io.Closer]. The caller's own body stays open while another attempt might still send it.
func (b *requestBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if !b.own {
		return b.source.Close()
	}
	mayBeSent := b.bodies.kind == bodyRecorded || b.bodies.kind == bodyOnce && b.giveBack()
	if mayBeSent && !b.bodies.call.ended.Load() { // looked at after closed: see bodies.end
		return nil
	}
	return b.bodies.close()
}

// reusable reports whether b was given back unread, and the caller's own body is open.
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

// closeBody closes the body of an attempt in place of a base transport that has not done so.
func (a *attempt) closeBody() {
	a.call.mu.Lock()
	given := a.body != nil && a.body.source != nil
	a.call.mu.Unlock()
	if given {
		_ = a.body.Close()
	}
}

// recorder lets several readers read one source, each from its beginning, as long as that is not longer than limit.
type recorder struct {
	source io.Reader
	limit  int64
	turn   chan struct{} // holds one element, taken by whoever reads the source

	mu       sync.Mutex
	recorded []byte
	read     int64 // from the source
	err      error // of the source
	over     bool  // the source is longer than limit: what was recorded is gone
}

func newRecorder(source io.Reader, limit int64) *recorder {
	r := &recorder{source: source, limit: limit, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

func (r *recorder) overflowed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func (r *recorder) reader(body *requestBody) io.ReadCloser {
	return &recordReader{recorder: r, body: body}
}

// recordReader is one reader. Its Read is not safe for concurrent use, as that of any body.
type recordReader struct {
	recorder *recorder
	body     *requestBody
	at       int64
}

// Read implements [io.Reader].
func (r *recordReader) Read(p []byte) (int, error) {
	if n, ok, err := r.replay(p); ok {
		return n, err
	}
	rec := r.recorder
	<-rec.turn // a reader that is ahead reads what this one will need
	defer func() { rec.turn <- struct{}{} }()
	if r.body.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if n, ok, err := r.replay(p); ok {
		return n, err
	}
	n, err := rec.source.Read(p)
	r.at += int64(n)
	rec.record(p[:n], err)
	return n, err
}

// replay copies what was recorded. It reports false when the source has to be read.
func (r *recordReader) replay(p []byte) (n int, ok bool, err error) {
	rec := r.recorder
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.over && r.at != rec.read:
		return 0, true, ErrBodyNotReplayable
	case rec.over:
		return 0, false, nil
	case r.at < int64(len(rec.recorded)):
		n = copy(p, rec.recorded[r.at:])
		r.at += int64(n)
		return n, true, nil
	case rec.err != nil:
		return 0, true, rec.err
	}
	return 0, false, nil
}

func (r *recorder) record(p []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read += int64(len(p))
	switch {
	case r.over:
	case int64(len(r.recorded)+len(p)) > r.limit:
		r.recorded, r.over = nil, true
	default:
		r.recorded = append(r.recorded, p...)
		r.err = err
	}
}

// Close implements [io.Closer]. The source is closed by [bodies].
func (r *recordReader) Close() error { return nil }
