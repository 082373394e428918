package policygrpc

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/internal/refusals"
	"github.com/go-resilience/resilience/policy"
)

// refusalStatus returns the status of a refusal, with a RetryInfo if it is known how long waiting helps.
func refusalStatus(refusal *policy.Rejection) *status.Status {
	s := status.New(codeOfRefusal(refusal), wireText(refusal))
	if wait, ok := refusal.RetryAfter(); ok && !refusals.IsLasting(refusal) {
		s = withRetryInfo(s, min(wait, defaultLongestWait))
	}
	return s
}

// codeOfRefusal returns the code of a refusal.
func codeOfRefusal(err error) codes.Code {
	if refusals.IsQuota(err) {
		return codes.ResourceExhausted
	}
	return codes.Unavailable
}

// wireText returns the text of err for the other side. It leaves out what the policy that refused is called: that may
// be a tenant's name, and is no business of a stranger.
func wireText(err error) string {
	refusal, ok := errors.AsType[*policy.Rejection](err)
	if !ok || refusal.Reason == nil {
		return err.Error()
	}
	return refusal.Kind + ": " + refusal.Reason.Error()
}
