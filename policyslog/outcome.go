package policyslog

import (
	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// outcomeOf returns how an attempt or a call has ended, in one word: those that the calls of a pipeline are counted by.
func outcomeOf(o policy.Outcome) string {
	switch {
	case o.Kind == policy.Panicked || o.Kind == policy.Exited:
		return "panicked"
	case o.Succeeded():
		return "succeeded"
	case o.Canceled:
		return "canceled"
	case o.Kind == policy.NotCalled && match.Is(o.Err, policy.ErrRejected):
		return "rejected"
	case o.Class == policy.Expected:
		return "expected"
	}
	return "failed"
}
