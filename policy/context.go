package policy

import (
	"context"
	"errors"
	"fmt"
)

// ContextError returns the error of a call whose context has ended: it matches, with [errors.Is], both ctx.Err() and
// [context.Cause] of ctx. It returns nil while ctx has not ended.
func ContextError(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !matches(err, cause) {
		if matches(cause, err) {
			return cause
		}
		return &contextError{err: err, cause: cause}
	}
	return err
}

// contextError is a context's error together with its cause.
type contextError struct{ err, cause error }

// Error returns one line, whatever the cause says.
func (e *contextError) Error() string { return oneLine(fmt.Sprintf("%v: %v", e.err, e.cause)) }

func (e *contextError) Unwrap() []error { return []error{e.cause, e.err} }

// Canceled reports whether ctx was cancelled by the caller: not by its deadline, and not by a timeout that cancels with a
// cause, which matches [context.DeadlineExceeded].
func Canceled(ctx context.Context) bool {
	switch ctx.Err() { //nolint:errorlint // Err returns the very value
	case nil, context.DeadlineExceeded:
		return false
	}
	// Normally Err is context.Canceled; a context of a foreign type may end with an error of its own.
	return !matches(context.Cause(ctx), context.DeadlineExceeded)
}

// matches is errors.Is for causes, which users give: one whose methods panic, or that cannot be compared, does not match.
func matches(err, target error) (is bool) {
	defer func() {
		if recover() != nil {
			is = false
		}
	}()
	return errors.Is(err, target)
}

type noWaitKey struct{}

// NoWait returns a context under which no attempt queues: a guard that would wait for a slot or a token refuses instead. It
// is for one call, such as a probe of health, beside others that may wait.
func NoWait(ctx context.Context) context.Context { return context.WithValue(ctx, noWaitKey{}, true) }

// MayWait reports whether a guard may let an attempt with this context queue: true unless [NoWait] was called.
func MayWait(ctx context.Context) bool { return ctx.Value(noWaitKey{}) == nil }
