package retry

import (
	"strings"

	"github.com/go-resilience/resilience/policy"
)

// Check reports what cannot work: a budget that is a guard and is not composed inside the Retrier, and
// [RetryRejections] of what a gate inside refuses with.
func (r *Retrier) Check(_, inner []policy.Layer) error {
	c := r.current()
	problems := policy.ConfigError{Policy: "retry"}
	budget, isGuard := c.budget.(policy.Guard)
	composed, gates := false, false
	for _, layer := range inner {
		if isGuard && layer == policy.Layer(budget) {
			composed = true // it is a gate too, and not meant below
		} else if _, ok := layer.(policy.Gate); ok {
			gates = true
		}
	}
	if isGuard && !composed {
		problems.Add("WithBudget(%v): the budget must be composed too, inside the retry: "+
			"Compose(retry.New(retry.WithBudget(budget)), budget, …)", c.budget)
	}
	for _, reason := range c.rejections {
		if gates && refusesAsGate(reason) {
			problems.Add("RetryRejections(%v): a gate that refuses ends the call at once: use AwaitRecovery", reason)
		}
	}
	return problems.Err()
}

// refusesAsGate reports whether reason is what a gate of this module refuses with.
func refusesAsGate(reason error) bool {
	code := policy.Code(reason)
	return strings.HasPrefix(code, "breaker.") || strings.HasPrefix(code, "throttle.")
}
