package policyhttp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/policy"
)

// attempt is one attempt to get a response. It is the context of the request that is sent, too.
type attempt struct {
	context.Context // that the pipeline gave the operation

	call *call

	sent         http.Request // what the base transport gets
	urlRoom      *url.URL     // for the URL of sent, which saves an allocation; may be nil
	trailer      http.Header  // of sent, nil where that is the caller's
	bodyBroken   atomic.Bool  // reading a body has failed, or found another length than the request says
	responseBody responseBody

	// These are guarded by the call's mutex.
	response *http.Response // nil until hold
	failure  *Error         // what the response means, nil for a success
}

// Value returns what the caller has said about repetition, and not what the call says of its own request to the pipeline:
// a request that the base transport makes under this context, such as for a token, is another one.
func (a *attempt) Value(key any) any {
	if idempotence.Asks(key) {
		return a.call.Context.Value(key)
	}
	return a.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (a *attempt) String() string { return fmt.Sprint(a.Context) }

// copyRequest makes the request that is sent a copy of the caller's. It is called under the mutex of the call, since
// the request is the caller's again when the call has ended.
func (a *attempt) copyRequest() {
	c := a.call
	a.sent = *c.request.WithContext(a) // which is inlined, so that its result is not on the heap
	if a.isDeepCopy() {
		a.setURL(c.request.URL)
		a.sent.Header = c.request.Header.Clone()
		a.trailer = c.request.Trailer.Clone()
		a.sent.Trailer = a.trailer
	}
}

// isDeepCopy reports whether the request that is sent shares nothing with the caller's. It may share where a plain
// http.Transport, which only reads URL and fields, gets it while the caller waits.
func (a *attempt) isDeepCopy() bool {
	c := a.call
	return c.transport.mayMutate || a != &c.first || c.transport.deadlineHeader != "" || engine.Wrapped(a.Context)
}

// setURL makes the URL of the request that is sent a copy of u.
func (a *attempt) setURL(u *url.URL) {
	if u == nil {
		return
	}
	if a.urlRoom == nil {
		a.urlRoom = new(url.URL)
	}
	*a.urlRoom = *u
	a.sent.URL = a.urlRoom
}

// send is the operation: it makes one attempt of the call that ctx belongs to.
func send(ctx context.Context) (*http.Response, error) {
	c := callOf(ctx)
	a := c.begin(ctx)
	if a == nil {
		return nil, errCallOver
	}
	if err := a.prepare(); err != nil {
		a.closeRequestBodies()
		c.skip(a)
		return nil, err
	}
	var trace *sendTrace // nil where the request may be sent again anyway
	if c.whyOnce() != nil {
		trace = traceSend(&a.sent)
	}
	response, err := c.transport.base.RoundTrip(&a.sent)
	if err == nil && response == nil {
		err = errNoResponse
	}
	if err != nil {
		if response != nil && response.Body != nil { // against the contract of a RoundTripper
			_ = response.Body.Close()
		}
		a.closeRequestBodies()
		err = a.errorOf(err, trace)
		c.fail(a)
		return nil, err
	}
	return a.resultOf(response)
}

// prepare makes the request ready to be sent.
func (a *attempt) prepare() error {
	c := a.call
	t := c.transport
	if err := c.bodies.give(a); err != nil {
		return err
	}
	if t.deadlineHeader != "" {
		t.setDeadline(a.Context, c.layers(), &a.sent)
	}
	if t.route != nil {
		to := c.sendTo(a.Context)
		if to == nil {
			return &baseError{err: errNoRoute, class: policy.Ignored}
		}
		if a.sent.URL == nil || a.sent.Host == a.sent.URL.Host { // no host of its own
			a.sent.Host = ""
		}
		a.setURL(to)
	}
	return nil
}

// errorOf returns an error of the base transport as what it means to the pipeline.
func (a *attempt) errorOf(err error, trace *sendTrace) error {
	plain, ok := err.(tls.RecordHeaderError) //nolint:errorlint // as http.Client
	if ok && string(plain.RecordHeader[:]) == "HTTP/" {
		err = &schemeMismatch{plain}
	}
	class := Classify(err)
	if a.bodyBroken.Load() || isInvalid(&a.sent, err) || isCanceled(&a.sent) {
		class = policy.Ignored // the caller's own mistake, or wish
	}
	v := verdict{notSent: isNotSent(err, trace)}
	a.judge(&v)
	// Also around the error of another Transport inside the base, such as one for a token: its verdict is on another request.
	if class != policy.Unclassified || v != (verdict{}) || is[attemptError](err) {
		err = &baseError{err, class, v}
	}
	return v.mark(err)
}

// resultOf says what a response of the base transport means to the pipeline. The response is the result of the attempt in
// any case, also where it comes with an error.
func (a *attempt) resultOf(response *http.Response) (_ *http.Response, err error) {
	c := a.call
	if response.Body == nil {
		response.Body = http.NoBody
	}
	failure := c.transport.failureOf(response)
	if failure != nil {
		if mayFollow := a.judge(&failure.verdict); mayFollow && isRetried(failure.class) && c.pipelineRepeats() {
			response = prefetch(response)
		}
		err = failure.mark(failure)
	}
	a.responseBody.inner = response.Body
	if !c.hold(a, response, failure) {
		return nil, a.late()
	}
	return response, err
}

// deliver makes the response of a that of the call. permit is settled when its body is done with.
func (a *attempt) deliver(permit *policy.Permit) *http.Response {
	r := a.response
	a.responseBody.attempt, a.responseBody.permit = a, permit
	r.Request = a.call.request
	//lint:ignore SA1019 that is how http.Client tells a transport which is not its own about its Timeout
	if a.call.request.Cancel != nil {
		// Then http.Client hides the body behind a type of its own: let Info find the call by the context. The request is a copy
		// of the caller's there anyway.
		r.Request = a.call.request.WithContext(a.call)
	}
	r.Body = a.responseBody.face()
	if hasNoBody(r, a.responseBody.inner) {
		a.responseBody.settle(nil) // there is nothing to wait for
	}
	return r
}

// late releases the response of an attempt whose call has ended.
func (a *attempt) late() error {
	defer a.closeRequestBodies()
	_ = a.responseBody.inner.Close()
	return errCallOver
}

// discard releases what an attempt holds whose response nobody gets.
func (a *attempt) discard() {
	defer a.closeRequestBodies()
	a.call.mu.Lock()
	response := a.response
	a.call.mu.Unlock()
	if response != nil {
		_ = a.responseBody.inner.Close()
	}
}

// discardAll discards attempts, except for one, although a discard may panic.
func discardAll(attempts []*attempt, except *attempt) {
	if len(attempts) == 0 {
		return
	}
	defer discardAll(attempts[1:], except)
	if a := attempts[0]; a != except {
		a.discard()
	}
}

// closeRequestBodies closes the bodies that a sends, in place of a base transport that has not done so.
func (a *attempt) closeRequestBodies() { a.call.bodies.closeAll(a) }
