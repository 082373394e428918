package policyhttp

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// answer is what a handler answered, as the error that the policies judge.
type answer struct {
	status int
	until  time.Time // when to come back, from Retry-After; zero if the handler did not say
}

// answerError returns the error that stands for an answer, nil if its status is below 400. 0 is the status of a
// connection that was hijacked before there was one.
func answerError(status int, header http.Header) error {
	if status < http.StatusBadRequest {
		return nil
	}
	a := &answer{status: status}
	now := time.Now()
	if wait, ok := field.RetryAfter(header, now); ok {
		a.until = now.Add(wait)
	}
	return a
}

// Error returns the status with its usual text.
func (a *answer) Error() string { return "the handler answered " + statusLine(a.status) }

// StatusCode returns the status.
func (a *answer) StatusCode() int { return a.status }

// RetryAfter returns how long from now the handler, or the server behind it, asked to wait. It is what breaker.RetryAfter
// looks at.
func (a *answer) RetryAfter() (time.Duration, bool) {
	if a.until.IsZero() {
		return 0, false
	}
	return max(0, time.Until(a.until)), true
}

// Class returns what the status says about the handler. Unlike that of a response, 408 is Expected: here it is the client
// that was slow, and it must not be able to open a breaker.
func (a *answer) Class() policy.Class {
	switch status := a.status; {
	case status == http.StatusTooManyRequests:
		return policy.Throttled
	case status < http.StatusInternalServerError, status == http.StatusNotImplemented:
		return policy.Expected
	case status <= http.StatusGatewayTimeout:
		return policy.Transient
	}
	return policy.Permanent
}

// clientDeadlineError is the error of a request whose client has set a deadline that was too short, which is no failure of
// the handler: otherwise a client could open a breaker with it.
type clientDeadlineError struct{ err error }

func (e *clientDeadlineError) Error() string {
	return "the client's deadline has passed: " + e.err.Error()
}
func (e *clientDeadlineError) Unwrap() error       { return e.err }
func (e *clientDeadlineError) Class() policy.Class { return policy.Ignored }

// statusLine returns a status with its usual text, such as "503 Service Unavailable".
func statusLine(status int) string {
	line := strconv.Itoa(status)
	if text := http.StatusText(status); text != "" {
		line += " " + text
	}
	return line
}
