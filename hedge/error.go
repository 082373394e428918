package hedge

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// ErrLost is the cause of the context of an attempt whose call was decided by another attempt.
var ErrLost = policy.NewReason("hedge.lost", "another attempt decided the call")

// Error is the error of a call several of whose attempts failed. It matches the errors of all of them.
type Error struct {
	Errs  []error // in the order in which the attempts failed; one that says nothing new is left out
	class policy.Class
}

// Error returns one line.
func (e *Error) Error() string {
	texts := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		texts[i] = oneline.Of(err)
	}
	return "hedged attempts failed: " + strings.Join(texts, "; ")
}

// Unwrap returns the errors of the attempts.
func (e *Error) Unwrap() []error { return e.Errs }

// Class returns the gravest class of the errors, see [policy.Class.Graver].
func (e *Error) Class() policy.Class {
	if e.class != policy.Unclassified {
		return e.class
	}
	return gravest(e.Errs)
}

// Code returns the first code among the errors of the gravest class, "" if they have none. See [policy.Code].
func (e *Error) Code() string {
	class := gravest(e.Errs)
	for _, err := range e.Errs {
		if code := policy.Code(err); code != "" && declared(err) == class {
			return code
		}
	}
	return ""
}

// MarshalJSON writes errors as text.
func (e *Error) MarshalJSON() ([]byte, error) {
	errs := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		errs[i] = oneline.Of(err)
	}
	return json.Marshal(struct {
		Code string   `json:"code,omitempty"`
		Errs []string `json:"errs"`
	}{e.Code(), errs})
}

func gravest(errs []error) (class policy.Class) {
	for _, err := range errs {
		class = class.Graver(declared(err))
	}
	return class
}

// declared returns the class that err itself declares, [policy.Transient] if it declares none.
func declared(err error) policy.Class {
	if class := policy.ClassOf(err); class != policy.Unclassified {
		return class
	}
	return policy.Transient
}

// failures is the errors of the attempts of one call.
type failures struct {
	errs      []error
	class     policy.Class
	rejection error // the first one
}

// add notes the failure of an attempt that was made. It says nothing new if all of it was said before.
func (f *failures) add(err error, class policy.Class) {
	f.class = f.class.Graver(class)
	for _, earlier := range f.errs {
		if covers(earlier, err) {
			return
		}
	}
	f.errs = append(f.errs, err)
}

// refuse notes the refusal of an attempt. It does not count beside an error of the operation: a call one of whose
// attempts was made was not refused.
func (f *failures) refuse(err error) {
	if f.rejection == nil {
		f.rejection = err
	}
}

// err returns the error of a call all of whose attempts failed.
func (f *failures) err() error {
	switch len(f.errs) {
	case 0:
		return f.rejection
	case 1:
		return f.errs[0]
	}
	return &Error{Errs: f.errs, class: f.class}
}

// cutShort returns the error of a call that ended with ctx, while attempts were running.
func (f *failures) cutShort(ctx context.Context) error {
	f.add(policy.ContextError(ctx), policy.Transient)
	return f.err()
}

// covers reports whether earlier matches every error in err's tree: err itself may match by a method Is that looks at a
// part only.
func covers(earlier, err error) (covered bool) {
	defer func() {
		if recover() != nil { // in a method of an error
			covered = false
		}
	}()
	if !match.Is(earlier, err) {
		return false
	}
	return allOf(err, func(inner error) bool { return covers(earlier, inner) })
}

// onlyRefused reports whether err says nothing but that some policy refused: the attempt was not made. An error that joins a
// refusal with another error, as that of a retry does which a refusal has stopped after failed attempts, is a failure.
func onlyRefused(err error) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	if _, ok := err.(*policy.Rejection); ok || err == policy.ErrRejected {
		return true
	}
	if !errors.Is(err, policy.ErrRejected) {
		return false
	}
	switch wrapped := err.(type) {
	case interface{ Unwrap() error }:
		if inner := wrapped.Unwrap(); errors.Is(inner, policy.ErrRejected) {
			return onlyRefused(inner)
		}
	case interface{ Unwrap() []error }:
		return allOf(err, onlyRefused)
	}
	return true // no error that it wraps matches ErrRejected: it does by a method Is of its own
}

// allOf reports whether every error that err wraps directly is such.
func allOf(err error, such func(error) bool) bool {
	switch wrapped := err.(type) {
	case interface{ Unwrap() error }:
		inner := wrapped.Unwrap()
		return inner == nil || such(inner)
	case interface{ Unwrap() []error }:
		for _, inner := range wrapped.Unwrap() {
			if inner != nil && !such(inner) {
				return false
			}
		}
	}
	return true
}
