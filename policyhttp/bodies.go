package policyhttp

import (
	"io"
	"net/http"
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

// bodies hands the body of a request to its attempts. The caller's body is closed exactly once, whatever happens. bodies is
// nil for a request without a body.
type bodies struct {
	call    *call
	kind    bodyKind
	callers io.ReadCloser // the caller's body
	length  int64         // that the request says
	closed  atomic.Bool   // the caller's body

	holder   *requestBody // the last one that had the caller's body; guarded by the call's mutex
	recorder *recorder
}

func newBodies(c *call) *bodies {
	r := c.request
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &bodies{call: c, callers: r.Body, length: r.ContentLength}
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

// give gives a the body to send.
func (b *bodies) give(a *attempt) error {
	if b == nil {
		return nil
	}
	body := &requestBody{bodies: b}
	if a.isDeepCopy() {
		body.trailer = a.sent.Trailer
	}
	isCallers, err := b.assign(a, body)
	if err != nil {
		return err
	}
	if !isCallers {
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
			again := &requestBody{bodies: b, isCallers: true}
			again.source = b.recorder.reader(again)
			return again, nil
		}
	}
	a.sent.Body = body
	return nil
}

// assign makes body that of a, and reports whether it reads the caller's body. Otherwise body has no source yet.
func (b *bodies) assign(a *attempt, body *requestBody) (isCallers bool, err error) {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	a.requestBody = body
	switch previous := b.holder; {
	case b.call.ended.Load():
		return false, errLeft
	case b.kind == bodyRecorded:
		body.source, body.isCallers = b.recorder.reader(body), true
	case previous == nil, b.kind == bodyOnce && previous.reusable():
		body.source, body.isCallers = b.callers, true
		b.holder = body
	case b.kind == bodyOnce:
		return false, errBodyGone
	}
	return body.isCallers, nil
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

// couldRepeat is reclaim once the call has ended.
func (b *bodies) couldRepeat() bool {
	return !b.is(bodyOnce) && (!b.is(bodyRecorded) || !b.recorder.overflowed())
}

// end closes the caller's body, unless the attempt whose response is delivered still has it.
func (b *bodies) end(delivered *attempt) {
	if b == nil {
		return
	}
	if delivered != nil {
		if body := delivered.requestBody; body != nil && body.isCallers && !body.closed.Load() {
			return
		}
	}
	_ = b.close()
}

// close closes the caller's body, if that has not happened.
func (b *bodies) close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.callers.Close()
}
