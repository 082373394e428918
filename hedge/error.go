package hedge

import (
	"encoding/json"
	"strings"

	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// ErrLost is the cause of the context of an attempt whose call was decided by another attempt.
var ErrLost = policy.NewReason("hedge.lost", "another attempt decided the call")

// Error is the error of a call several of whose attempts failed. It matches the errors of all of them.
type Error struct {
	Errs    []error        // in the order in which the attempts failed; one that says nothing new is left out
	classes []policy.Class // of Errs, as the engine has found them; empty for an Error that was made elsewhere
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
func (e *Error) Class() (class policy.Class) {
	for i := range e.Errs {
		class = class.Graver(e.classOf(i))
	}
	return class
}

// Code returns the first code among the errors of the gravest class, "" if they have none. See [policy.Code].
func (e *Error) Code() string {
	class := e.Class()
	for i, err := range e.Errs {
		if code := policy.Code(err); code != "" && e.classOf(i) == class {
			return code
		}
	}
	return ""
}

// classOf returns the class of Errs[i]: what the engine has found or the error declares, otherwise [policy.Transient].
func (e *Error) classOf(i int) policy.Class {
	if i < len(e.classes) {
		return e.classes[i]
	}
	if class := policy.ClassOf(e.Errs[i]); class != policy.Unclassified {
		return class
	}
	return policy.Transient
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
