package policygrpc

import (
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// refusalStatus returns the status of a refusal, with a RetryInfo if it is known how long waiting helps.
func refusalStatus(refusal *policy.Rejection) *status.Status {
	s := status.New(codeOfRefusal(refusal), wireText(refusal))
	if wait, ok := refusal.RetryAfter(); ok && !errors.Is(refusal, breaker.ErrForced) {
		s = withRetryInfo(s, min(wait, defaultLongestWait))
	}
	return s
}

// codeOfRefusal returns the code of a refusal.
func codeOfRefusal(err error) codes.Code {
	if strings.HasPrefix(policy.Code(err), "ratelimit.") {
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

// waitingIsOfNoUse reports whether a refusal does not go away by itself.
func waitingIsOfNoUse(refusal error) bool {
	switch policy.Code(refusal) {
	case "ratelimit.cost", "ratelimit.exhausted":
		return true
	}
	return errors.Is(refusal, breaker.ErrForced)
}
