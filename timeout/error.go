package timeout

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// ErrTimeout is matched by the error of a call or an attempt that a timeout of this package ended. Such an error
// also matches [context.DeadlineExceeded]. The end of the caller's own context does not match ErrTimeout.
var ErrTimeout = policy.NewReason("timeout", "timeout")

// ErrMaxRunning is the reason of the rejection of an attempt that finds the bound of [MaxRunning] reached.
var ErrMaxRunning = policy.NewReason("timeout.max_running", "too many operations are running, abandoned ones included")

// Error is the error of a timeout that expired, and the cause of the context that it ended.
type Error struct {
	Limit time.Duration // the time that was granted
	scope scope
	by    policy.Layer
}

// expiryOf returns the expiry of layer that has ended ctx, nil if something else has ended it or nothing.
func expiryOf(ctx context.Context, layer policy.Layer) *Error {
	if expiry, ok := context.Cause(ctx).(*Error); ok && expiry.by == layer {
		return expiry
	}
	return nil
}

// Error returns one line, such as "attempt timeout 300ms expired".
func (e *Error) Error() string { return fmt.Sprintf("%s %v expired", e.scope.kind, e.Limit) }

// Is reports whether target is [ErrTimeout] or [context.DeadlineExceeded].
func (e *Error) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// Timeout returns true: the error is a net.Error, as [context.DeadlineExceeded] is.
func (e *Error) Timeout() bool { return true }

// Temporary returns true, as [context.DeadlineExceeded] does.
func (e *Error) Temporary() bool { return true }

// Class returns [policy.Transient], whatever the operation makes of the end of its context.
func (e *Error) Class() policy.Class { return policy.Transient }

// Code returns "timeout.total", "timeout.attempt" or "timeout.abandoned". See [policy.Code].
func (e *Error) Code() string { return e.scope.code }

// MarshalJSON writes the limit as a number of seconds.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code  string  `json:"code,omitempty"`
		Kind  string  `json:"kind,omitempty"`
		Limit float64 `json:"limit"`
	}{e.scope.code, e.scope.kind, e.Limit.Seconds()})
}
