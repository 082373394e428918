package policyhttp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-resilience/resilience/internal/callinfo"
	"github.com/go-resilience/resilience/policy"
)

// Call is how a call of a [Transport] went.
type Call struct {
	// Attempts is how often the request was handed to the base transport: 0 if a policy refused at once.
	Attempts int
	// Waits are the times between an attempt that failed and the next one, queueing included; the last 16 if there were
	// more. There are none between attempts at the same time, as of a hedge.
	Waits []time.Duration
	// Reason is why a failure was not followed by another attempt: a reason of package retry, [ErrNotIdempotent],
	// [ErrBodyNotReplayable], the rejection of the policy that refused, or the error of the context. It is nil when the
	// call succeeded, and when another attempt was never in question, as after a status that is not retried.
	Reason error
	// Err is the error that the pipeline ended with, nil for success. Where the last response was a failure, it is an
	// [*Error], or a retry.Error around it.
	Err error
}

// Code returns the [policy.Code] of Reason, such as "retry.exhausted" or "breaker.open", or that of Err if there is no
// Reason. It is "" for success.
func (c Call) Code() string { return callinfo.Call(c).Code() }

// LogValue returns the fields as a group.
func (c Call) LogValue() slog.Value { return callinfo.Call(c).LogValue() }

// Info returns how the call went that ended with response and err, as a [Transport] or an [http.Client] with one returned
// them; either may be nil. It reports false when they are not from a Transport. After redirects it is about the last
// request.
//
//	response, err := client.Do(request)
//	call, _ := policyhttp.Info(response, err)
//	log.Info("answered", "call", call)
func Info(response *http.Response, err error) (Call, bool) {
	if failed, ok := errors.AsType[*CallError](err); ok {
		return failed.Call, true
	}
	if response == nil {
		return Call{}, false
	}
	if body := bodyOf(response.Body); body != nil && body.attempt != nil {
		return body.attempt.call.info(), true
	}
	if response.Request != nil {
		if c := callOf(response.Request.Context()); c != nil && c.ended.Load() {
			return c.info(), true
		}
	}
	return Call{}, false
}

// info returns how the call went, once it has ended.
func (c *call) info() Call {
	c.mu.Lock()
	call := Call{Attempts: int(c.attempts - c.skipped), Err: c.outcome}
	if c.waits != nil {
		call.Waits = c.waits.Last()
	}
	c.mu.Unlock()
	call.Reason = c.reason(call.Err) // not under the mutex: it asks methods of the error
	return call
}

// CallError is the error of a [Transport]. It says what the base transport or the pipeline said, and matches that, and
// carries what [Info] returns.
type CallError struct{ Call Call }

// callError returns the error of the call, which has ended without a response.
func (c *call) callError() error {
	call := c.info()
	if call.Reason == nil && c.Context.Err() != nil {
		call.Reason = policy.ContextError(c.Context)
	}
	return &CallError{call}
}

// Error returns the text of the error that the call ended with.
func (e *CallError) Error() string { return e.Call.Err.Error() }

// Unwrap returns the error that the call ended with.
func (e *CallError) Unwrap() error { return e.Call.Err }

// Timeout reports whether the call ended with a timeout: of the base transport, of the pipeline, or of the caller.
func (e *CallError) Timeout() bool {
	if timeout, ok := errors.AsType[net.Error](e.Call.Err); ok && timeout.Timeout() {
		return true
	}
	return errors.Is(e.Call.Err, os.ErrDeadlineExceeded) || errors.Is(e.Call.Err, context.DeadlineExceeded)
}

// Temporary is Timeout. It makes the error a [net.Error], as those of [http.Transport] are.
func (e *CallError) Temporary() bool { return e.Timeout() }

// LogValue returns what [Call.LogValue] does.
func (e *CallError) LogValue() slog.Value { return e.Call.LogValue() }
