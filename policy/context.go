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
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		if errors.Is(cause, err) {
			return cause
		}
		return &contextError{err: err, cause: cause}
	}
	return err
}

// contextError is a context's error together with its cause.
type contextError struct{ err, cause error }

func (e *contextError) Error() string   { return fmt.Sprintf("%v: %v", e.err, e.cause) }
func (e *contextError) Unwrap() []error { return []error{e.cause, e.err} }
