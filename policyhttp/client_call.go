package policyhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/callinfo"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// call is one request on its way through the pipeline. This is its life:
//
//	newCall     notes what kind of body the request has, and whether it may be sent twice
//	send        is the operation, once for each attempt:
//	  begin     makes the attempt, with a copy of the request, and discards responses that it supersedes
//	  prepare   gives it the body, the deadline header and the route
//	  errorOf   says what an error of the base transport means to the pipeline; resultOf, what a response means
//	  judge     says of both whether the request may be sent again
//	  hold      keeps a response until it is superseded or delivered; fail and skip end an attempt without one
//	finish      has the outcome of the pipeline: a response, in spite of an error too, or a CallError
//	  end       marks the call as ended: what comes late is closed by its attempt; discards what other attempts hold
//	  deliver   hands the response to the caller, with the permit that keeps its slot
//	Close       of the response's body, or its end, settles the permit; attempt and call live until then
//
// It is the context of the request, too, and the operation finds it there: that spares an allocation for each. Every request
// pays for its size, so what only some of them need is elsewhere.
type call struct {
	context.Context
	transport  *Transport
	request    *http.Request // the caller's, which is never changed, and not looked at by attempts that have lost
	bodies     *bodies       // nil if the request has none
	repetition idempotence.Mark
	ended      atomic.Bool // RoundTrip has its result; the caller may still read the body
	roomTaken  atomic.Bool // openResult was given to the engine

	// mu guards what follows, and of the attempts and bodies of the call:
	//
	//	attempt      response, failure; copyRequest reads the caller's request under it
	//	bodies       unclosed, lent, delivered
	//	requestBody  begun and closed, which are set under it, and read without it
	//	target       host, routes
	//
	// ended is set under it, too.
	mu       sync.Mutex
	attempts int32           // that were begun
	skipped  int32           // attempts that never reached the base transport
	running  int32           // attempts under way
	waits    *callinfo.Waits // nil as long as no attempt has failed
	pending  []*attempt      // that are under way, or hold a response or a body
	target   *target         // nil as long as nobody has asked for it
	outcome  error           // that the pipeline ended with; nil before the end, and for success. Final once ended

	first       attempt // these save allocations
	pendingRoom [1]*attempt
	openResult  engine.OpenResult // see layers
}

// OpenResult implements [engine.Roomy].
func (c *call) OpenResult() *engine.OpenResult {
	if c.roomTaken.Swap(true) { // a layer that opens something under the context of the call
		return nil
	}
	return &c.openResult
}

// layers returns the layers of the pipeline that the call goes through. The engine has written the pipeline to openResult
// before the first attempt begins; there are none to ask for earlier.
func (c *call) layers() []policy.Layer { return c.openResult.Layers() }

func newCall(t *Transport, request *http.Request) *call {
	var c *call
	if t.mayMutate { // the first attempt will need another URL than the caller's
		room := new(struct {
			call
			url url.URL
		})
		c, room.first.urlRoom = &room.call, &room.url
	} else {
		c = new(call)
	}
	c.Context, c.transport, c.request = request.Context(), t, request
	c.pending = c.pendingRoom[:0]
	if t.route != nil {
		c.target = &target{request: request.Clone(request.Context())}
	}
	c.bodies = newBodies(c)
	c.repetition = repetitionOf(c)
	return c
}

type callKey struct{}

// callOf returns the call that ctx belongs to, nil if there is none.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// Value returns the call itself to this package, and whether the request may be repeated to package idempotence.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	// The answer is about this call, not about what is done with its result.
	if idempotence.Asks(key) && !c.ended.Load() {
		return c.repetition
	}
	return c.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (c *call) String() string { return fmt.Sprintf("%v.RoundTrip", c.Context) }

// begin begins an attempt, and releases the answers that it supersedes. It returns nil when the call has ended.
func (c *call) begin(ctx context.Context) *attempt {
	c.mu.Lock()
	if c.ended.Load() {
		c.mu.Unlock()
		return nil
	}
	a := &c.first
	var superseded []*attempt
	if c.attempts > 0 {
		a = new(attempt)
		superseded = c.takeSuperseded(numbersOf(ctx))
		if c.running == 0 && c.waits != nil {
			c.waits.End()
		}
	}
	a.Context, a.call = ctx, c
	a.copyRequest()
	c.attempts++
	c.running++
	c.pending = append(c.pending, a)
	c.mu.Unlock()
	discardAll(superseded, nil)
	return a
}

// fail says that an attempt has ended without a response.
func (c *call) fail(a *attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.beginWait()
	c.pending = slices.DeleteFunc(c.pending, func(other *attempt) bool { return other == a })
}

// beginWait notes that an attempt has failed. Another one may follow. It is called under the mutex.
func (c *call) beginWait() {
	if c.waits == nil {
		c.waits = new(callinfo.Waits)
	}
	c.waits.Begin()
}

// skip says that an attempt has ended before the base transport was asked.
func (c *call) skip(a *attempt) {
	c.mu.Lock()
	c.skipped++
	c.mu.Unlock()
	c.fail(a)
}

// hold says that an attempt has ended with response, which it holds from now on, and which means failure unless that is
// nil. It reports false when the call has ended: then nobody else releases the response.
func (c *call) hold(a *attempt, response *http.Response, failure *Error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if failure != nil {
		c.beginWait()
	}
	if c.ended.Load() {
		return false
	}
	a.response, a.failure = response, failure
	return true
}

// finish makes what the pipeline returned into the result of the call.
func (c *call) finish(response *http.Response, permit *policy.Permit, err error) (*http.Response, error) {
	if err != nil {
		response = c.responseDespite(err, response, permit)
	}
	if delivered := c.end(response, err); delivered != nil {
		return delivered.deliver(permit), nil
	}
	permit.Done(nil)
	return nil, c.callError()
}

// responseDespite returns the response of a call that has failed with err, nil if there is none: a 503 is delivered, unless
// the context that its body lives under has ended.
func (c *call) responseDespite(err error, response *http.Response, permit *policy.Permit) *http.Response {
	switch {
	case c.Context.Err() != nil:
		return nil
	case response != nil && permit != nil:
		if permit.Context().Err() != nil {
			return nil
		}
		return response
	case errors.Is(err, timeout.ErrTimeout):
		return nil
	}
	// The result is of the attempt that ended last, the error of the one that decided. If one attempt of a hedge was answered
	// 503, and then the other one found no connection, there is no result, and the error is about the 503: that is delivered.
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.pending {
		if a.failure == failure {
			return a.response
		}
	}
	return nil
}

// end ends the call with response, which may be nil, after the pipeline has ended with outcome. It releases what other attempts
// hold, and returns the attempt that the response is from.
func (c *call) end(response *http.Response, outcome error) (delivered *attempt) {
	c.mu.Lock()
	c.outcome = outcome
	c.ended.Store(true)
	for _, a := range c.pending {
		if response != nil && a.response == response {
			delivered = a
		}
	}
	if delivered == nil && outcome == nil {
		c.outcome = errNoResponse
	}
	pending := c.pending
	c.pending = nil
	closeBody := c.bodies.end(delivered)
	c.mu.Unlock()
	defer discardAll(pending, delivered) // although the Close of the caller's body may panic
	if closeBody {
		_ = c.bodies.closeCallers()
	}
	return delivered
}
