package timeout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// ErrTimeout is matched by the error of a call or an attempt that a timeout of this package ended. Such an error
// also matches [context.DeadlineExceeded]. The end of the caller's own context does not match ErrTimeout.
var ErrTimeout = errors.New("timeout")

// Error is the error of a timeout that expired, and the cause of the context that it ended.
type Error struct {
	Limit time.Duration // the time that was granted
	scope string
	by    policy.Layer
}

// causedBy reports whether ctx was ended by the expiry of layer.
func causedBy(ctx context.Context, layer policy.Layer) bool {
	cause, ok := context.Cause(ctx).(*Error)
	return ok && cause.by == layer
}

// Error returns one line, such as "attempt timeout 300ms expired".
func (e *Error) Error() string { return fmt.Sprintf("%s %v expired", e.scope, e.Limit) }

// Is reports whether target is [ErrTimeout] or [context.DeadlineExceeded].
func (e *Error) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// Timeout returns true: the error is a net.Error, as [context.DeadlineExceeded] is.
func (e *Error) Timeout() bool { return true }

// Temporary returns true, as that of [context.DeadlineExceeded].
func (e *Error) Temporary() bool { return true }
