package policyhttp

import (
	"io"
	"net/http"
	"slices"
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

// bodies hands the body of a request to its attempts, and closes the caller's body exactly once. It is nil for a request
// without a body: is, give, takeBack, isFree, closeAll and end can be called on nil.
//
// An attempt reads the caller's body itself, or a recording of it, or has a body of its own from GetBody, which is not meant
// here. If its base transport rewinds, it has several bodies, and is sending until all are closed: by the base transport,
// or in its place after an error, when the response is superseded or comes too late, and when the caller closes it.
// This becomes of the caller's body:
//
//	                                 bodyAgain       bodyOnce                 bodyRecorded
//	attempts that read it            the first       one after the other      all, also at the same time
//
//	while the call runs
//	  an attempt closes it unread    is closed       is for the next attempt  stays open
//	  an attempt closes it           is closed       is closed                stays open
//	  its response says that the
//	  request had no effect          stays open      is taken back if unread  stays open
//
//	when the call ends
//	  the response delivered is of
//	  an attempt that is sending it  stays open      stays open               stays open
//	  otherwise                      is closed       is closed                is closed
//
//	later
//	  that attempt has closed it     is closed       is closed                is closed
//	  another one closes it          nothing         nothing                  nothing
type bodies struct {
	call     *call
	kind     bodyKind
	callers  io.ReadCloser                 // the caller's body
	getBody  func() (io.ReadCloser, error) // the caller's, of bodyAgain
	recorder *recorder                     // of bodyRecorded
	length   int64                         // that the request says
	closed   atomic.Bool                   // callers is

	// These are guarded by the mutex of the call; see call.mu.
	unclosed  []*requestBody // that attempts have, and nobody has closed
	lent      *requestBody   // that is the caller's body itself; nil if it is for the next attempt, or recorded
	delivered *attempt       // whose response the caller has got; nil while the call runs, and if there is none

	first        requestBody // of the first attempt: this and unclosedRoom save allocations
	unclosedRoom [1]*requestBody
}

func newBodies(c *call) *bodies {
	r := c.request
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &bodies{call: c, callers: r.Body, length: r.ContentLength}
	b.unclosed = b.unclosedRoom[:0]
	switch limit := c.transport.buffer; {
	case r.GetBody != nil:
		b.kind, b.getBody = bodyAgain, r.GetBody
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
	body := &b.first
	if a != &b.call.first {
		body = new(requestBody)
	}
	if err := b.fill(body, a); err != nil {
		return err
	}
	a.sent.Body = body
	if b.kind != bodyOnce {
		a.sent.GetBody = func() (io.ReadCloser, error) { return b.rewind(a) }
	}
	return nil
}

// rewind returns another body for a, whose base transport may have sent some of the one before.
func (b *bodies) rewind(a *attempt) (io.ReadCloser, error) {
	body := new(requestBody)
	err := b.fill(body, a)
	switch {
	case err == error(errBodyGone): // no refusal, which it is to an attempt that has not begun
		return nil, ErrBodyNotReplayable
	case err != nil:
		return nil, err
	}
	return body, nil
}

// fill makes body one of a, and gives it a source that begins at the beginning.
func (b *bodies) fill(body *requestBody, a *attempt) error {
	body.attempt = a
	lent, err := b.lend(body)
	switch {
	case lent || err != nil:
		return err
	case b.kind == bodyAgain:
		body.source, err = b.another()
	case b.isReplayable():
		body.source, body.isCallers = b.recorder.reader(body), true
	default:
		err = errBodyGone
	}
	if err == nil && !b.add(body) { // the call has ended meanwhile
		_ = body.source.Close()
		err = errCallOver
	}
	return err
}

// lend lets the caller's body itself be the source of body. It reports false where that is recorded, or lent already.
func (b *bodies) lend(body *requestBody) (bool, error) {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	switch {
	case b.hasEndedWithout(body.attempt):
		return false, errCallOver
	case b.kind == bodyRecorded || b.lent != nil:
		return false, nil
	}
	body.source, body.isCallers = b.callers, true
	b.lent = body
	b.unclosed = append(b.unclosed, body)
	return true, nil
}

// another returns a body of the caller's GetBody.
func (b *bodies) another() (io.ReadCloser, error) {
	body, err := b.getBody()
	switch {
	case err != nil:
		return nil, &baseError{err: err, class: policy.Ignored}
	case body == nil:
		return http.NoBody, nil
	}
	return body, nil
}

// add notes that an attempt has body, unless the call has ended without it.
func (b *bodies) add(body *requestBody) bool {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	if b.hasEndedWithout(body.attempt) {
		return false
	}
	b.unclosed = append(b.unclosed, body)
	return true
}

// takeBack takes a body that can be sent only once back from a, which has ended, if nobody has read it: the base transport may
// not have closed it yet.
func (b *bodies) takeBack(a *attempt) {
	if !b.is(bodyOnce) {
		return
	}
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	if b.lent != nil && b.lent.attempt == a && !b.lent.begun.Load() {
		b.noteClose(b.lent)
	}
}

// isFree reports whether another attempt can have a body now.
func (b *bodies) isFree() bool {
	if !b.is(bodyOnce) {
		return b.isReplayable()
	}
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	return b.lent == nil
}

// isReplayable reports whether the body can be sent again although it was read.
func (b *bodies) isReplayable() bool {
	return !b.is(bodyOnce) && (!b.is(bodyRecorded) || !b.recorder.overflowed())
}

// closeAll closes the bodies that a sends, in place of a base transport that has not done so.
func (b *bodies) closeAll(a *attempt) {
	if b == nil {
		return
	}
	b.call.mu.Lock()
	var left []*requestBody
	for _, body := range b.unclosed {
		if body.attempt == a {
			left = append(left, body)
		}
	}
	b.call.mu.Unlock()
	for _, body := range left {
		_ = body.Close()
	}
}

// close closes body, and the caller's body if it was the last one to read it.
func (b *bodies) close(body *requestBody) error {
	b.call.mu.Lock()
	first := b.noteClose(body)
	done := b.isDone()
	b.call.mu.Unlock()
	switch {
	case !first:
		return nil
	case !body.isCallers:
		return body.source.Close()
	case done:
		return b.closeCallers()
	}
	return nil
}

// closeCallers closes the caller's body, if that has not happened.
func (b *bodies) closeCallers() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.callers.Close()
}

// The rest is called under the call's mutex.

// end notes that the call ends with the response of delivered, which may be nil, and reports whether the caller's body is to
// be closed now.
func (b *bodies) end(delivered *attempt) bool {
	if b == nil {
		return false
	}
	b.delivered = delivered
	return b.isDone()
}

// hasEndedWithout reports whether the call has ended, and not with the response of a.
func (b *bodies) hasEndedWithout(a *attempt) bool { return b.call.ended.Load() && b.delivered != a }

// noteClose notes that body is closed, and reports whether that is news. A body that can be sent only once, and that nobody has
// read, is for the next attempt.
func (b *bodies) noteClose(body *requestBody) bool {
	if body.closed.Swap(true) {
		return false
	}
	b.unclosed = slices.DeleteFunc(b.unclosed, func(other *requestBody) bool { return other == body })
	if b.kind == bodyOnce && !body.begun.Load() {
		b.lent = nil
	}
	return true
}

// isDone reports whether nobody is to read the caller's body any more. While the call runs, that is so when an attempt has
// closed it which was lent it: all others have bodies of their own.
func (b *bodies) isDone() bool {
	if !b.call.ended.Load() {
		return b.lent != nil && b.lent.closed.Load()
	}
	for _, body := range b.unclosed {
		if body.isCallers && body.attempt == b.delivered {
			return false
		}
	}
	return true
}
