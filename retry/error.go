package retry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// Why there was no further attempt. They are the Reason of an [*Error], which matches them with [errors.Is]. Besides
// these, the Reason can be a [*policy.Rejection], when a policy inside refuses, and [policy.ContextError], when
// the context has ended.
var (
	// ErrExhausted: all attempts were made, or the [BackOff] source said stop.
	ErrExhausted = policy.NewReason("retry.exhausted", "attempts exhausted")
	// ErrFinal: the last error is one that is not retried: [Permanent], of a class that is not, declined by [If], of a
	// [NotIdempotent] operation, or that of a retry inside.
	ErrFinal = policy.NewReason("retry.final", "the error is not to be retried")
	// ErrDeadline: the delay does not fit the time that is left before the deadline of the context. It matches
	// [context.DeadlineExceeded] too.
	ErrDeadline error = deadlineReason{}
	// ErrRetryAfter: the error asks for a longer wait than [MaxRetryAfter]. [policy.RetryAfter] of the [*Error] tells
	// how long.
	ErrRetryAfter = policy.NewReason("retry.after", "asked to wait for too long")
	// ErrBudget: the budget allows no retry now.
	ErrBudget = policy.NewReason("retry.budget", "retry budget spent")
)

type deadlineReason struct{}

func (deadlineReason) Error() string        { return "no time for another attempt before the deadline" }
func (deadlineReason) Code() string         { return "retry.deadline" }
func (deadlineReason) Is(target error) bool { return target == context.DeadlineExceeded }

// Error is the error of a call that made a retry, or would have made one had something not stood against it. It
// unwraps to Reason and to Last, so [errors.Is] and [errors.As] find both. At least one attempt of the call entered
// the operation; a call of which none did ends with the refusal itself.
type Error struct {
	// Name is the name of the Retrier, or "".
	Name string
	// Attempts is how many attempts entered the operation. Refused ones are not counted.
	Attempts int
	// Elapsed is the time from the end of the first attempt that entered the operation to the end of the call: what
	// trying again has cost, waits included. So it is 0 for a call whose only attempt was its last act. That attempt
	// itself is not in it, because that would take a reading of the clock at the start of every call, healthy ones
	// included; nor is what came before, such as a wait of [AwaitRecovery] for a gate that refused at first.
	Elapsed time.Duration
	// Reason is why there was no further attempt: one of the sentinels of this package, the rejection of the policy
	// that refuses, or the error of the context.
	Reason error
	// Last is the last error of the operation, never the refusal of an attempt.
	Last error
	// Errs are the errors of the operation, the oldest first; when there were more than 16, the last 16.
	Errs []error

	class policy.Class // of Last, as the engine found it
}

// Error returns one line of bounded length: attempts, time, reason and the last error.
func (e *Error) Error() string {
	text := "retry"
	if e.Name != "" {
		text += fmt.Sprintf(" %q", e.Name) // quoted: one line too
	}
	text += fmt.Sprintf(": gave up after %d attempts", e.Attempts)
	if e.Attempts == 1 {
		text = strings.TrimSuffix(text, "s")
	}
	if e.Elapsed >= time.Millisecond {
		text += fmt.Sprintf(", %v after the first failed", rounded(e.Elapsed))
	}
	reason, last := oneline.Of(e.Reason), oneline.Of(e.Last)
	if last == reason { // an operation that returns the cause of its context
		return fmt.Sprintf("%s: %s", text, reason)
	}
	return fmt.Sprintf("%s: %s: %s", text, reason, last)
}

// rounded returns d with about three digits.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// Unwrap returns Reason and Last.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Last} }

// Class returns the class of Last.
func (e *Error) Class() policy.Class {
	if e.class != policy.Unclassified {
		return e.class
	}
	return policy.ClassOf(e.Last)
}

// Code returns the code of Reason, see [policy.Code].
func (e *Error) Code() string { return policy.Code(e.Reason) }

// LogValue returns what the error says, as a group.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", e.Name), slog.Int("attempts", e.Attempts), slog.Duration("elapsed", e.Elapsed),
		slog.String("code", e.Code()), slog.String("reason", errorText(e.Reason)), slog.String("last", errorText(e.Last)),
	)
}

// MarshalJSON writes errors as text and Elapsed as a number of seconds.
func (e *Error) MarshalJSON() ([]byte, error) {
	errs := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		errs[i] = errorText(err)
	}
	return json.Marshal(struct {
		Name     string   `json:"name,omitempty"`
		Attempts int      `json:"attempts"`
		Elapsed  float64  `json:"elapsed"`
		Code     string   `json:"code,omitempty"`
		Reason   string   `json:"reason"`
		Last     string   `json:"last"`
		Errs     []string `json:"errs"`
	}{e.Name, e.Attempts, e.Elapsed.Seconds(), e.Code(), errorText(e.Reason), errorText(e.Last), errs})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return oneline.Of(err)
}

// Permanent marks err as one that another attempt cannot mend. The mark is found anywhere in the tree of an error, so
// it may be wrapped and joined; the text of an error does not change by it, and the caller gets the error as the
// operation returned it. backoff.Permanent marks as well. Permanent(nil) is nil.
//
// The mark is for retries only: a breaker counts the failure as it would count err. To say the same to every policy,
// give the error the class [policy.Permanent].
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }

// isFinal reports whether err says that another attempt is useless: it is marked as permanent, or it comes from a retry
// inside the operation, which has done what a retry can do. With nested that does not count.
func isFinal(err error, nested bool) (is bool) {
	defer func() {
		if recover() != nil { // a method of an error in the tree has panicked: what stands before that error still counts
			is = has[*permanent](err) || has[*backoff.PermanentError](err) || !nested && has[*Error](err)
		}
	}()
	if _, ok := errors.AsType[*permanent](err); ok {
		return true
	}
	if _, ok := errors.AsType[*backoff.PermanentError](err); ok {
		return true
	}
	if nested {
		return false
	}
	_, ok := errors.AsType[*Error](err)
	return ok
}

// has reports whether there is an E in err's tree, before the first error whose methods panic. To do nothing but this would
// cost each failure of an operation 180 instructions more.
func has[E error](err error) bool {
	_, ok := match.As[E](err)
	return ok
}
