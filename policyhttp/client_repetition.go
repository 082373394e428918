package policyhttp

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// Will the request be sent again? The policies decide it, within two limits that are set here:
//
//	before the first attempt     repetitionOf   how often the request may be sent at all: the mark that retries and hedges
//	                                            find in the context of the call
//	when an attempt has failed   judge          what stands in the way after it: the verdict, kept in the error of the attempt
//
// When the call has ended, reason reads what they have said.

// Idempotent returns a context that says that its requests may be sent more than once, whatever their method, because
// the server recognises a repetition, or does not mind it. It is retry.Idempotent; retry.NotIdempotent says the opposite,
// of a GET that has an effect.
func Idempotent(ctx context.Context) context.Context { return retry.Idempotent(ctx) }

// isIdempotent reports whether method and header allow to send r twice.
func isIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete,
		"QUERY":
		return true
	}
	if _, ok := r.Header["Idempotency-Key"]; ok {
		return true
	}
	_, ok := r.Header["X-Idempotency-Key"]
	return ok
}

// repetitionOf says whether the request of c may be sent twice. What the caller said about the context counts more than the
// method; nothing counts more than a body that can be sent only once.
func repetitionOf(c *call) idempotence.Mark {
	mark, marked := idempotence.Of(c.Context)
	may := mark != idempotence.No
	if !marked {
		may = isIdempotent(c.request)
	}
	switch {
	case !may || c.bodies.is(bodyOnce):
		return idempotence.No
	case c.bodies.is(bodyRecorded) && c.request.ContentLength <= 0:
		// It is not known how long the body is: of two attempts, one could not go on where it turns out too long.
		return idempotence.InTurn
	}
	return idempotence.AtOnce
}

// whyOnce returns why the request must not be sent again after it has reached the server, nil if it may be.
func (c *call) whyOnce() error {
	switch {
	case c.repetition != idempotence.No:
		return nil
	case c.bodies.is(bodyOnce):
		return ErrBodyNotReplayable
	}
	return ErrNotIdempotent
}

// verdict is whether the request may be sent again after an attempt that has failed. The zero value says nothing: the request
// may be, or its caller has left.
type verdict struct {
	notSent  bool  // the attempt has had no effect for sure
	final    bool  // nothing is to follow, although the class is one that is retried; see RetryStatuses
	obstacle error // what about the request keeps it from being sent again: ErrNotIdempotent, ErrBodyNotReplayable
}

// mark returns err as the retry of the pipeline gets it: with [retry.Permanent] where it cannot know that nothing may follow.
func (v *verdict) mark(err error) error {
	if v.final {
		return retry.Permanent(err)
	}
	return err
}

// judged returns the verdict of an error that it is part of.
func (v *verdict) judged() *verdict { return v }

// attemptError is the error of an attempt, with its verdict: an [*Error], which is a response, or a [*baseError].
type attemptError interface {
	error
	judged() *verdict
}

// judge takes the body back from a, which has failed, for the attempt that may follow. It completes the verdict v on a, and
// reports whether one may follow, as far as the request and its caller go. The first line that is true counts:
//
//	what stands in the way                     obstacle                the retry gets, by mark
//	the status is final                        none                    a permanent error: it does not know RetryStatuses
//	the call's context has ended               none                    the plain error: it has the context, too
//	it may be sent only once, and an effect    whyOnce                 the plain error: it knows the mark of the call,
//	of the attempt cannot be excluded                                  and asks NotSent
//	its body is gone                           ErrBodyNotReplayable    a permanent error: it does not know the body
//	nothing                                    none                    the plain error
//
// To take the body back matters only for a response which says that the request had no effect, where the body can be sent only
// once: after an error of the base transport, send has closed the bodies of the attempt already.
func (a *attempt) judge(v *verdict) (mayFollow bool) {
	c := a.call
	switch once := c.whyOnce(); {
	case v.final || c.Context.Err() != nil:
		return false
	case once != nil && !v.notSent:
		v.obstacle = once
		return false
	}
	c.bodies.takeBack(a)
	if !c.bodies.isFree() {
		v.final, v.obstacle = true, ErrBodyNotReplayable
		return false
	}
	return true
}

// reason returns why err, which the pipeline ended with, was not followed by another attempt; nil if one was never in
// question. retry.ErrFinal says only that the retry was told so, perhaps by judge: an obstacle says more.
func (c *call) reason(err error) error {
	said := reasonOfPolicy(err)
	failure, isOfAttempt := errors.AsType[attemptError](err)
	switch {
	case said != nil && !errors.Is(said, retry.ErrFinal): // a policy has ended the call
		return said
	case err == nil, !isRetried(policy.ClassOf(err)): // another attempt was never in question
		return said
	case isOfAttempt:
		return cmp.Or(failure.judged().obstacle, said)
	case c.Context.Err() != nil: // the caller has left
		return said
	}
	// The attempt was free to be followed by another one, or a layer, such as a timeout, did not wait for its verdict.
	once := c.whyOnce()
	if once == nil && !c.bodies.isReplayable() {
		return ErrBodyNotReplayable
	}
	return cmp.Or(once, said)
}

// reasonOfPolicy returns the reason that a policy has given in err, nil if none has.
func reasonOfPolicy(err error) error {
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		return gaveUp.Reason
	}
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return rejection
	}
	return nil
}
