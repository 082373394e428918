package policyhttp

import (
	"net/http"
	"strconv"

	"github.com/go-resilience/resilience/policy"
)

// answer is the status of a handler as the error that the policies judge.
type answer int

// answerError returns the error that stands for a status, nil if it is below 400. 0 is the status of a connection that
// was hijacked before there was one.
func answerError(status int) error {
	if status < http.StatusBadRequest {
		return nil
	}
	return answer(status)
}

// Error returns the status with its usual text.
func (a answer) Error() string { return "the handler answered " + statusLine(int(a)) }

// StatusCode returns the status.
func (a answer) StatusCode() int { return int(a) }

// Class returns what the status says about the handler.
func (a answer) Class() policy.Class {
	switch {
	case a == http.StatusTooManyRequests:
		return policy.Throttled
	case a < http.StatusInternalServerError, a == http.StatusNotImplemented:
		return policy.Expected
	case a <= http.StatusGatewayTimeout:
		return policy.Transient
	}
	return policy.Permanent
}

// impatience is the error of a request whose client has set a deadline that was too short, which is no failure of the
// handler: otherwise a client could open a breaker with it.
type impatience struct{ err error }

func (i *impatience) Error() string       { return "the client's deadline has passed: " + i.err.Error() }
func (i *impatience) Unwrap() error       { return i.err }
func (i *impatience) Class() policy.Class { return policy.Ignored }

// statusLine returns a status with its usual text, such as "503 Service Unavailable".
func statusLine(status int) string {
	line := strconv.Itoa(status)
	if text := http.StatusText(status); text != "" {
		line += " " + text
	}
	return line
}
