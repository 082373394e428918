package fallback

import (
	"encoding/json"
	"fmt"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// ErrNoLastGood is matched by the error of a call that failed when [LastGood] had no result, or only one that was too
// old. The error matches the policy's too.
var ErrNoLastGood = policy.NewReason("fallback.no_last_good", "no good result that is young enough")

// errNotOpen is the reason of what Open returns around a policy whose results cannot stay open.
var errNotOpen = policy.NewReason("fallback.not_open", "its results cannot stay open")

// Error is the error of a call that failed, and whose fallback failed too. It matches both errors.
type Error struct {
	Err      error // why the call failed
	Fallback error // why the fallback failed
}

// Error returns one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s; fallback: %s", oneline.Of(e.Err), oneline.Of(e.Fallback))
}

// Unwrap returns both errors, the call's first.
func (e *Error) Unwrap() []error { return []error{e.Err, e.Fallback} }

// Class returns the class of the call's error: that the fallback failed too says nothing about the dependency.
func (e *Error) Class() policy.Class { return policy.ClassOf(e.Err) }

// Code returns "fallback.no_last_good" when [LastGood] had no result, otherwise "fallback.failed". See [policy.Code].
func (e *Error) Code() string {
	if match.Is(e.Fallback, ErrNoLastGood) {
		return policy.Code(ErrNoLastGood)
	}
	return "fallback.failed"
}

// MarshalJSON writes errors as text.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code     string `json:"code"`
		Err      string `json:"err"`
		Fallback string `json:"fallback"`
	}{e.Code(), errorText(e.Err), errorText(e.Fallback)})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return oneline.Of(err)
}
