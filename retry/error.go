package retry

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why there was no further attempt. They are the Reason of an [*Error], which matches them with [errors.Is]. Besides
// these, the Reason can be a [*policy.Rejection], when a policy further in refuses, and [policy.ContextError], when
// the context has ended.
var (
	// ErrExhausted: all attempts were made, or the [BackOff] source said stop.
	ErrExhausted = errors.New("attempts exhausted")
	// ErrDeadline: the delay does not fit the time that is left before the deadline of the context.
	ErrDeadline = errors.New("no time for another attempt before the deadline")
	// ErrRetryAfter: the error asks for a longer wait than [MaxRetryAfter]. [policy.RetryAfter] of the [*Error] tells
	// how long.
	ErrRetryAfter = errors.New("asked to wait for too long")
	// ErrBudget: the [Budget] allows no retry now.
	ErrBudget = errors.New("retry budget spent")
)

// Error is the error of a call that made a retry, or would have made one had something not stood against it. It
// unwraps to Reason and to Last, so [errors.Is] and [errors.As] find both. At least one attempt of the call entered
// the operation; a call of which none did ends with the refusal itself.
type Error struct {
	// Name is the name of the Retrier, or "".
	Name string
	// Attempts is how many attempts entered the operation. Refused ones are not counted.
	Attempts int
	// Elapsed is the time from the end of the first attempt to the end of the call: what trying again has cost,
	// waits included. The first attempt itself is not in it, because that would take a reading of the clock at the
	// start of every call, healthy ones included.
	Elapsed time.Duration
	// Reason is why there was no further attempt: one of the sentinels of this package, the rejection of the policy
	// that refuses, or the error of the context.
	Reason error
	// Last is the last error of the operation, never the refusal of an attempt.
	Last error
	// Errs are the errors of the operation, the oldest first; when there were more than 16, the last 16.
	Errs []error
}

// Error returns one line: attempts, time, reason and the last error.
func (e *Error) Error() string {
	text := "retry"
	if e.Name != "" {
		text += fmt.Sprintf(" %q", e.Name)
	}
	attempts := "attempts"
	if e.Attempts == 1 {
		attempts = "attempt"
	}
	text += fmt.Sprintf(": gave up after %d %s and %v: %v: %v", e.Attempts, attempts, e.Elapsed, e.Reason, e.Last)
	return strings.ReplaceAll(text, "\n", "; ") // joined errors print a line each
}

// Unwrap returns Reason and Last.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Last} }

// Permanent marks err as one that another attempt cannot mend. The mark is found anywhere in the tree of an error, so
// it may be wrapped and joined; the text of an error does not change by it, and the caller gets the error as the
// operation returned it. backoff.Permanent marks as well. Permanent(nil) is nil.
//
// The mark is for retries only: a breaker counts the failure unless its breaker.Classify says otherwise.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }
