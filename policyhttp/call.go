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
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// call is one request on its way through the pipeline. This is its life:
//
//	newCall     notes what kind of body the request has, and whether it may be sent twice
//	send        is the operation, once for each attempt:
//	  begin     makes the attempt, with a copy of the request, and discards responses that it supersedes
//	  prepare   gives it the body, the deadline header and the route
//	  classify  says what an error of the base transport means; answered, what a response means
//	  hold      keeps a response until it is superseded or delivered
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
	request    *http.Request // the caller's, which is never changed, and not looked at when the caller has left
	bodies     *bodies       // nil if the request has none
	repetition repetition
	ended      atomic.Bool // the caller has left
	roomTaken  atomic.Bool // openResult was given to the engine

	mu       sync.Mutex
	attempts int32      // that were begun
	skipped  int32      // attempts that never reached the base transport
	running  int32      // attempts under way
	delays   *delays    // nil as long as none has failed
	open     []*attempt // that hold something
	target   *target    // nil as long as nobody has asked for it
	outcome  error      // how the call ended, as the pipeline said

	first      attempt // these save allocations
	openRoom   [1]*attempt
	openResult engine.OpenResult
}

// delays are the times between attempts, once one has failed.
type delays struct {
	failedAt time.Time // when the last of them failed
	waits    []time.Duration
}

// maxWaits bounds what a call remembers.
const maxWaits = 16

// noteFailure notes that an attempt has failed now.
func (c *call) noteFailure() {
	if c.delays == nil {
		c.delays = new(delays)
	}
	c.delays.failedAt = time.Now()
}

// noteWait notes that another attempt begins, after one that has failed if one has.
func (c *call) noteWait() {
	d := c.delays
	if d == nil {
		return
	}
	if len(d.waits) == maxWaits {
		d.waits = slices.Delete(d.waits, 0, 1)
	}
	d.waits = append(d.waits, time.Since(d.failedAt))
}

// OpenResult implements [engine.Roomy].
func (c *call) OpenResult() *engine.OpenResult {
	if c.roomTaken.Swap(true) { // a layer that opens something under the context of the call
		return nil
	}
	return &c.openResult
}

func newCall(t *Transport, request *http.Request) *call {
	var c *call
	if t.careful { // the first attempt will need a URL of its own
		room := new(struct {
			call
			url url.URL
		})
		c, room.first.urlRoom = &room.call, &room.url
	} else {
		c = new(call)
	}
	c.Context, c.transport, c.request = request.Context(), t, request
	c.open = c.openRoom[:0]
	if t.route != nil {
		c.target = &target{request: request.Clone(request.Context())}
	}
	c.bodies = newBodies(c)
	c.repetition = repetitionOf(c)
	return c
}

// repetition says whether a request may be sent twice.
type repetition uint8

const (
	// unmarked is one that retries may try, but for which hedges should not race: its body may turn out too long.
	unmarked repetition = iota
	repeatable
	notRepeatable
)

// repetitionOf says whether the request of c may be sent twice. What the caller said about the context counts more than the
// method; nothing counts more than a body that can be sent only once.
func repetitionOf(c *call) repetition {
	marked, may := idempotence.Of(c.Context)
	if !marked {
		may = isIdempotent(c.request)
	}
	switch {
	case !may || c.bodies.is(bodyOnce):
		return notRepeatable
	case c.bodies.is(bodyRecorded) && c.request.ContentLength <= 0: // not known
		return unmarked
	}
	return repeatable
}

// mayRepeat reports whether the request may be sent again after it has reached the server.
func (c *call) mayRepeat() bool { return c.repetition != notRepeatable }

// repeats reports whether the pipeline may make more than one attempt.
func (c *call) repeats() bool {
	return slices.ContainsFunc(c.openResult.Layers(), func(layer policy.Layer) bool {
		switch layer.(type) {
		case policy.Repeater, policy.Wrapper:
			return true
		}
		return false
	})
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
	if idempotence.Asks(key) && c.repetition != unmarked && !c.ended.Load() {
		return c.repetition == repeatable
	}
	return c.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (c *call) String() string { return fmt.Sprintf("%v.RoundTrip", c.Context) }

// begin begins an attempt. It releases the answers of earlier attempts of the same retry. One that is still under way is left
// to the next begin, or to the end of the call: until then its answer may still be wanted. begin returns nil when the caller
// has left.
func (c *call) begin(ctx context.Context) *attempt {
	number := retry.Attempt(ctx)
	c.mu.Lock()
	if c.ended.Load() {
		c.mu.Unlock()
		return nil
	}
	a := &c.first
	if c.attempts > 0 {
		a = new(attempt)
	}
	a.Context, a.call, a.number = ctx, c, number
	a.copyRequest()
	var superseded []*attempt
	if c.attempts > 0 {
		c.open = slices.DeleteFunc(c.open, func(other *attempt) bool {
			if other.response == nil || other.number >= number || !c.sameRetry(hedge.Attempt(other), hedge.Attempt(ctx)) {
				return false
			}
			superseded = append(superseded, other)
			return true
		})
		if c.running == 0 {
			c.noteWait()
		}
	}
	c.attempts++
	c.running++
	c.open = append(c.open, a)
	c.mu.Unlock()
	for _, other := range superseded {
		other.discard()
	}
	return a
}

// sameRetry reports whether attempts belong to one retry that are a and b as the hedge counts: where that is around the retry,
// each of its attempts has a retry of its own.
func (c *call) sameRetry(a, b int) bool {
	if a == b {
		return true
	}
	for _, layer := range c.openResult.Layers() {
		switch layer.(type) {
		case policy.Repeater:
			return true
		case policy.Wrapper:
			return false
		}
	}
	return true
}

// failed says that an attempt has ended without a response.
func (c *call) failed(a *attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.noteFailure()
	c.open = slices.DeleteFunc(c.open, func(other *attempt) bool { return other == a })
}

// notMade says that an attempt did not come to the base transport.
func (c *call) notMade() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped++
}

// hold says that an attempt has ended with response, which it holds from now on, and which means failed unless that is
// nil. It reports false when the caller has left: then nobody else releases the response.
func (c *call) hold(a *attempt, response *http.Response, failed *Error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if failed != nil {
		c.noteFailure()
	}
	if c.ended.Load() {
		return false
	}
	a.response, a.failed = response, failed
	return true
}

// finish makes what the pipeline returned into the result of the call.
func (c *call) finish(response *http.Response, permit *policy.Permit, err error) (*http.Response, error) {
	c.outcome = err
	if err != nil {
		response = c.responseDespite(err, response, permit)
	}
	if err == nil || response != nil {
		if a := c.end(response); a != nil {
			return a.deliver(permit), nil
		}
		c.outcome = errNoResponse
	}
	c.end(nil)
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
	// Of attempts at the same time, the one that decided need not be the one that ended last, whose result this is.
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.open {
		if a.failed == failed {
			return a.response
		}
	}
	return nil
}

// end says that the caller leaves with response, which may be nil, and releases what other attempts hold. It returns the
// attempt that the response is from.
func (c *call) end(response *http.Response) (delivered *attempt) {
	c.mu.Lock()
	c.ended.Store(true)
	for _, a := range c.open {
		if response != nil && a.response == response {
			delivered = a
		}
	}
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for _, a := range open {
		if a != delivered {
			defer a.discard() // although another one may panic
		}
	}
	c.bodies.end(delivered)
	return delivered
}
