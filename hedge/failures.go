package hedge

import (
	"context"
	"errors"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// failures is the errors of the attempts of one call.
type failures struct {
	errs      []error
	classes   []policy.Class // of errs
	rejection error          // the first one
}

// add notes the failure of an attempt that was made. It says nothing new if all of it was said before; its class may be graver.
func (f *failures) add(err error, class policy.Class) {
	for i, earlier := range f.errs {
		if covers(earlier, err) {
			f.classes[i] = f.classes[i].Graver(class)
			return
		}
	}
	f.errs, f.classes = append(f.errs, err), append(f.classes, class)
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
	return &Error{Errs: f.errs, classes: f.classes}
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
	return eachWrapped(err, func(inner error) bool { return covers(earlier, inner) })
}

// isRefusal reports whether err says nothing but that some policy refused: the attempt was not made.
//
//	a refusal, or an error that adds a text or a class to one       yes
//	an error that matches ErrRejected by a method Is of its own     yes, whatever it wraps as the reason
//	several refusals, joined                                        yes
//	a refusal joined with another error, such as that of a retry
//	which was refused after failed attempts                         no
//
// refused of package policy says yes to less: not to the second and third of these.
func isRefusal(err error) (yes bool) {
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
		inner := wrapped.Unwrap()
		isOwn := !errors.Is(inner, policy.ErrRejected)
		return isOwn || isRefusal(inner)
	case interface{ Unwrap() []error }:
		return eachWrapped(err, isRefusal)
	default:
		return true // by a method Is of its own
	}
}

// eachWrapped reports whether each error that err wraps directly is such; so it is if err wraps none.
func eachWrapped(err error, such func(error) bool) bool {
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
