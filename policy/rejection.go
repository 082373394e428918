package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ErrRejected is matched, with [errors.Is], by every refusal of every policy: the operation was not entered by the
// attempt that was refused. An error of a retry that gave up because of a refusal matches it too, beside the last
// error of the operation.
var ErrRejected = errors.New("rejected")

// Rejection is the error of every refusal. It matches [ErrRejected] and its Reason. It never unwraps to the failure
// that made the policy refuse: a refused call did not fail that way.
//
// A Rejection must not be changed once it was returned: one value may be returned to many callers.
type Rejection struct {
	Kind   string    // the kind of policy: "breaker", "rate limiter", "bulkhead"
	Name   string    // the name that the policy was given, or ""
	Reason error     // the sentinel of the policy's package, such as breaker.ErrOpen
	Until  time.Time // when to try again; zero when that is not known
}

// Error returns one line: kind, name, reason, and the wait that is left.
func (r *Rejection) Error() string {
	text := r.Kind
	if r.Name != "" {
		text += fmt.Sprintf(" %q", r.Name)
	}
	if r.Reason != nil {
		text += ": " + oneLine(r.Reason.Error())
	}
	if wait, ok := r.RetryAfter(); ok {
		text += fmt.Sprintf(" (retry after %v)", rounded(wait))
	}
	return text
}

// rounded returns d with about four digits, which is what a reader can use.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(time.Microsecond)
	}
	return d
}

// Code returns the code of the Reason, or "rejected" if that has none. See the function [Code].
func (r *Rejection) Code() string {
	if code := codeOf(r.Reason); code != "" {
		return code
	}
	return "rejected"
}

// Class returns [Ignored]: a refusal says nothing about the dependency.
func (r *Rejection) Class() Class { return Ignored }

// LogValue returns kind, name, reason, code, and the wait that is left, as a group.
func (r *Rejection) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", r.Kind)}
	if r.Name != "" {
		attrs = append(attrs, slog.String("name", r.Name))
	}
	attrs = append(attrs, slog.String("reason", errorText(r.Reason)), slog.String("code", r.Code()))
	if wait, ok := r.RetryAfter(); ok {
		attrs = append(attrs, slog.Duration("retry_after", wait))
	}
	return slog.GroupValue(attrs...)
}

// MarshalJSON writes the reason as text and the moment of Until.
func (r *Rejection) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind   string    `json:"kind"`
		Name   string    `json:"name,omitempty"`
		Reason string    `json:"reason"`
		Code   string    `json:"code"`
		Until  time.Time `json:"until,omitzero"`
	}{r.Kind, r.Name, errorText(r.Reason), r.Code(), r.Until})
}

// Is reports whether target is [ErrRejected].
func (r *Rejection) Is(target error) bool { return target == ErrRejected }

// Unwrap returns the Reason.
func (r *Rejection) Unwrap() error { return r.Reason }

// RetryAfter returns how long from now a caller should wait before the next try, never negative, and false when the
// policy cannot know. The wait is counted from the moment of asking: the same rejection answers less later on.
func (r *Rejection) RetryAfter() (time.Duration, bool) {
	if r.Until.IsZero() {
		return 0, false
	}
	return max(0, time.Until(r.Until)), true
}

// RetryAfter returns how long the caller should wait before the next try, according to the first error in err's
// tree that knows: one with a method RetryAfter() (time.Duration, bool) that answers true. A [*Rejection] is one;
// errors made from a server's answer can be another. The answer is never negative. It can be very long: it comes
// from outside and is not bounded here.
func RetryAfter(err error) (wait time.Duration, ok bool) {
	defer func() {
		if recover() != nil { // a method of the error has panicked, such as that of a nil pointer
			wait, ok = 0, false
		}
	}()
	return firstAnswer(err, func(err error) (time.Duration, bool) {
		hint, ok := err.(interface{ RetryAfter() (time.Duration, bool) })
		if !ok {
			return 0, false
		}
		wait, ok := hint.RetryAfter()
		return max(0, wait), ok
	})
}
