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

// bodies hands the body of a request to its attempts, and closes the caller's body exactly once. It is nil for a request
// without a body.
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
//	  it waits for another attempt,
//	  after an early failure         stays open      is taken back if unread  stays open
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
	call    *call
	kind    bodyKind
	callers io.ReadCloser                 // the caller's body
	getBody func() (io.ReadCloser, error) // the caller's, of bodyAgain
	length  int64                         // that the request says
	closed  atomic.Bool                   // the caller's body

	// holder is the attempt that closes the caller's body when it has sent it; nil as long as there is none: before the end
	// of a call with bodyRecorded, and between the attempts with bodyOnce. It is guarded by the call's mutex.
	holder   *attempt
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
	body, err := b.lend(a)
	if body == nil && err == nil {
		body, err = b.another(a)
	}
	if err != nil {
		return err
	}
	a.sent.Body = body
	if b.kind != bodyOnce {
		a.sent.GetBody = func() (io.ReadCloser, error) {
			again, err := b.another(a)
			switch {
			case err == error(errBodyGone): // the base transport has sent some of it: no refusal
				return nil, ErrBodyNotReplayable
			case err != nil:
				return nil, err
			}
			return again, nil
		}
	}
	return nil
}

// lend gives a the caller's body itself, as its first one. It returns nil if a is to have another one.
func (b *bodies) lend(a *attempt) (*requestBody, error) {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	switch {
	case b.call.ended.Load():
		return nil, errLeft
	case b.kind == bodyRecorded:
		return nil, nil //nolint:nilnil // no error
	case b.holder == nil:
		b.holder = a
		a.requestBody = &requestBody{attempt: a, source: b.callers, isCallers: true, trailer: a.ownTrailer()}
		return a.requestBody, nil
	case b.kind == bodyOnce:
		return nil, errBodyGone
	}
	return nil, nil //nolint:nilnil // no error
}

// another makes a body for a that begins at the beginning.
func (b *bodies) another(a *attempt) (*requestBody, error) {
	body := &requestBody{attempt: a}
	if b.kind == bodyRecorded {
		if b.recorder.overflowed() {
			return nil, errBodyGone
		}
		body.source, body.isCallers = b.recorder.reader(body), true
	} else {
		if b.isOver(a) {
			return nil, errLeft
		}
		source, err := b.getBody()
		switch {
		case err != nil:
			return nil, &baseError{err: err, class: policy.Ignored}
		case source == nil:
			source = http.NoBody
		}
		body.source = source
	}
	if !b.add(a, body) {
		_ = body.source.Close()
		return nil, errLeft
	}
	return body, nil
}

// isOver reports whether the call has ended without a.
func (b *bodies) isOver(a *attempt) bool {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	return b.call.ended.Load() && b.holder != a
}

// add makes body one of a, unless the call has ended without it.
func (b *bodies) add(a *attempt, body *requestBody) bool {
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	if b.call.ended.Load() && b.holder != a {
		return false
	}
	if body.earlier = a.requestBody; body.earlier != nil {
		body.trailer = body.earlier.trailer
	} else {
		body.trailer = a.ownTrailer()
	}
	a.requestBody = body
	return true
}

// takeBack takes a body that can be sent only once away from a, whose base transport may not have closed it yet, if nobody
// has read it.
func (b *bodies) takeBack(a *attempt) {
	if !b.is(bodyOnce) {
		return
	}
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	if b.holder == a && !a.requestBody.begun.Load() {
		a.requestBody.closed.Store(true)
		b.holder = nil
	}
}

// isFree reports whether another attempt can have a body now.
func (b *bodies) isFree() bool {
	if !b.is(bodyOnce) {
		return b.isReplayable()
	}
	b.call.mu.Lock()
	defer b.call.mu.Unlock()
	return b.holder == nil
}

// isReplayable reports whether the body can be sent again although it was read.
func (b *bodies) isReplayable() bool {
	return !b.is(bodyOnce) && (!b.is(bodyRecorded) || !b.recorder.overflowed())
}

// isLast reports whether the caller's body is to be closed now that body is, which reads it. It is called under the
// call's mutex.
func (b *bodies) isLast(body *requestBody) bool {
	switch a := body.attempt; {
	case b.holder != a || a.requestBody.readsCallers():
		return false
	case b.kind == bodyOnce && !body.begun.Load() && !b.call.ended.Load():
		b.holder = nil
		return false
	}
	return true
}

// end says that the call ends with the response of delivered, which may be nil, and reports whether the caller's body is
// to be closed now. It is called under the call's mutex.
func (b *bodies) end(delivered *attempt) bool {
	if b == nil {
		return false
	}
	b.holder = delivered
	return delivered == nil || !delivered.requestBody.readsCallers()
}

// close closes the caller's body, if that has not happened.
func (b *bodies) close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.callers.Close()
}
