package hedge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// Error is the error of a call several of whose attempts failed. It matches the errors of all of them.
type Error struct {
	Errs []error // in the order in which the attempts failed; one that says nothing new is left out
}

// Error returns one line.
func (e *Error) Error() string {
	texts := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		texts[i] = err.Error()
	}
	text := fmt.Sprintf("hedged attempts failed: %s", strings.Join(texts, "; "))
	return strings.ReplaceAll(text, "\n", "; ") // joined errors print a line each
}

// Unwrap returns the errors of the attempts.
func (e *Error) Unwrap() []error { return e.Errs }

// failures is the errors of the attempts of one call.
type failures struct {
	errs      []error
	rejection error // the first one
}

// add notes a failed attempt. A rejection does not count beside an error of the operation: a call one of whose
// attempts was made was not refused.
func (f *failures) add(err error) {
	if errors.Is(err, policy.ErrRejected) {
		if f.rejection == nil {
			f.rejection = err
		}
		return
	}
	for _, earlier := range f.errs {
		if match.Is(earlier, err) {
			return
		}
	}
	f.errs = append(f.errs, err)
}

// err returns the error of a call all of whose attempts failed.
func (f *failures) err() error {
	switch len(f.errs) {
	case 0:
		return f.rejection
	case 1:
		return f.errs[0]
	}
	return &Error{Errs: f.errs}
}

// left returns the error of a call that ended with ctx, while attempts were running.
func (f *failures) left(ctx context.Context) error {
	f.add(policy.ContextError(ctx))
	return f.err()
}
