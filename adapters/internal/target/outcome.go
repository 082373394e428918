package target

import (
	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// Outcome is how a call or an attempt has ended.
type Outcome int

// The outcomes that a pipeline counts its calls by. Those before Rejected have durations.
const (
	Succeeded Outcome = iota
	Expected
	Failed
	Canceled
	Panicked
	Rejected
)

// Outcomes are the names of the outcomes.
var Outcomes = [...]string{"succeeded", "expected", "failed", "canceled", "panicked", "rejected"}

// Timed is the number of the outcomes that have durations. A refusal has none: its end after 0 ms would pass for an answer
// of the dependency.
const Timed = int(Rejected)

// OutcomeOf returns how something has ended.
func OutcomeOf(o policy.Outcome) Outcome {
	switch {
	case o.Kind == policy.Panicked || o.Kind == policy.Exited:
		return Panicked
	case o.Succeeded():
		return Succeeded
	case o.Canceled:
		return Canceled
	case o.Kind == policy.NotCalled && match.Is(o.Err, policy.ErrRejected):
		return Rejected
	case o.Class == policy.Expected:
		return Expected
	}
	return Failed
}
