package policyhttp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp/internal/field"
	"github.com/go-resilience/resilience/retry"
)

// Why a failed attempt was not followed by another one, beside the reasons of package retry: see [Call].
var (
	// ErrNotIdempotent: the method does not allow to send the request twice, and nothing else says that it may be:
	// neither an Idempotency-Key nor [Idempotent].
	ErrNotIdempotent = policy.NewReason("http.not_idempotent", "the request is not idempotent")
	// ErrBodyNotReplayable: the request has a body that can be sent only once: it has no GetBody, and is not buffered,
	// or is longer than the limit of [Buffer].
	ErrBodyNotReplayable = policy.NewReason("http.body_not_replayable", "the body of the request cannot be sent again")
	// ErrPaused: the host has asked for a pause, see [PauseHost].
	ErrPaused = policy.NewReason("http.paused", "the host has asked to wait")
)

// errCallOver is the error of an attempt that has ended, or begins, after its call has ended.
var errCallOver = errors.New("policyhttp: the call is over")

// errNoResponse is the error of a base transport that returns neither a response nor an error.
var errNoResponse = errors.New("policyhttp: the base transport returned no response and no error")

// errReadAfterClose is what net/http calls it.
var errReadAfterClose = errors.New("http: read on closed response body")

// errNoRoute is the error of an attempt that has nowhere to go.
var errNoRoute = errors.New("policyhttp: the function given to Route returned nil")

// errBodyGone refuses an attempt at the same time as another one that has the body.
var errBodyGone = &policy.Rejection{Kind: "request body", Reason: ErrBodyNotReplayable}

// Error is a response that means a failure, as an error: the status, what it says about the server, and how long to wait.
// [Check] makes it. Within a [Transport] it is what the pipeline sees; the caller gets the response.
type Error struct {
	// Status is the status code of the response, such as 503.
	Status int

	class  policy.Class
	until  time.Time // when to come back; zero if the server did not say
	live   bool
	gaveUp error // of a Transport inside that has tried again itself
	verdict
}

// Check returns an [*Error] if response means a failure, nil otherwise. It is for round trips of your own, and does not
// read or close the body:
//
//	response, permit, err := resilience.Open(ctx, backend, policy.Check(get, policyhttp.Check))
//	if response != nil {
//		defer response.Body.Close()
//	}
//	defer permit.Done(nil)
//
// These are failures: 408, 500, 502, 503 and 504 are [policy.Transient]; 429, and 413 with a Retry-After, are
// [policy.Throttled]; every other status from 505 up is [policy.Permanent]. All others, 501 and 404 among them, are
// answers. A response that an inner [Transport] has already retried is final: a retry outside does not try it again.
//
// Where the pipeline has a retry, give it retry.OnDiscard([Discard]), since responses that are superseded must be closed.
func Check(response *http.Response) error {
	class := classOfStatus(response.StatusCode, response.Header)
	if !isFailure(class) {
		return nil
	}
	return newError(response, class)
}

// Discard drains a response, within bounds, and closes it, so that its connection can be used again. It does nothing with
// a value that is no response. It is for retry.OnDiscard and hedge.OnDiscard, where the operation is not a [Transport],
// which does so itself.
func Discard(value any) {
	if response, ok := value.(*http.Response); ok && response != nil && response.Body != nil {
		_ = prefetch(response).Body.Close()
	}
}

func newError(response *http.Response, class policy.Class) *Error {
	e := &Error{Status: response.StatusCode, class: class}
	e.live = response.Body != nil
	now := time.Now()
	if wait, ok := hintOf(response, now); ok {
		e.until = now.Add(wait)
	}
	if body := bodyOf(response.Body); body != nil && body.attempt != nil {
		if gaveUp, ok := errors.AsType[*retry.Error](body.attempt.call.outcome); ok {
			e.gaveUp = gaveUp
		}
	}
	return e
}

// hintOf returns how long from now a response asks to wait.
func hintOf(r *http.Response, now time.Time) (time.Duration, bool) {
	if wait, ok := field.RetryAfter(r.Header, now); ok {
		return wait, true
	}
	if r.StatusCode == http.StatusTooManyRequests {
		return field.QuotaReset(r.Header, now)
	}
	return 0, false
}

// Error returns the status with its usual text, and the wait.
func (e *Error) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	if usual := http.StatusText(e.Status); usual != "" {
		text += " " + usual
	}
	if wait, ok := e.RetryAfter(); ok {
		text += fmt.Sprintf(" (retry after %v)", wait.Round(time.Millisecond))
	}
	return text
}

// Class returns what the response says about the server; see [Check].
func (e *Error) Class() policy.Class { return e.class }

// RetryAfter returns how long from now the server asked to wait, never negative, and false if it did not ask. It can be
// very long.
func (e *Error) RetryAfter() (time.Duration, bool) {
	if e.until.IsZero() {
		return 0, false
	}
	return max(0, time.Until(e.until)), true
}

// Live reports whether the response has a body, which is there to be read. Then it keeps the context of the last attempt
// alive; see resilience.Open.
func (e *Error) Live() bool { return e.live }

// NotSent reports whether the status says that the request has had no effect; see [RetryNotIdempotent].
func (e *Error) NotSent() bool { return e.notSent }

// Unwrap returns the [*retry.Error] of a [Transport] that has tried the request several times already, otherwise nil.
func (e *Error) Unwrap() error { return e.gaveUp }

// LogValue returns what the error says, as a group.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("status", e.Status), slog.String("class", e.class.String())}
	if wait, ok := e.RetryAfter(); ok {
		attrs = append(attrs, slog.Duration("retry_after", wait))
	}
	return slog.GroupValue(attrs...)
}

// baseError is an error of the base transport of which there is more to say: any other goes as it is, so that the pipeline, and
// who reads Call.Err, gets what the base transport has returned.
type baseError struct {
	err   error
	class policy.Class // Unclassified: transient
	verdict
}

func (e *baseError) Error() string       { return e.err.Error() }
func (e *baseError) Unwrap() error       { return e.err }
func (e *baseError) Class() policy.Class { return e.class }
func (e *baseError) NotSent() bool       { return e.notSent }

// schemeMismatch is the error of a server that answers HTTP where TLS is spoken. http.Client says so of an error of the very
// type tls.RecordHeaderError, and ours never is one: a [CallError] is around it.
type schemeMismatch struct{ plain tls.RecordHeaderError }

func (m *schemeMismatch) Error() string { return http.ErrSchemeMismatch.Error() }
func (m *schemeMismatch) Unwrap() []error {
	return []error{http.ErrSchemeMismatch, m.plain}
}
