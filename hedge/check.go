package hedge

import (
	"errors"
	"fmt"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// Check reports a fixed delay that the timeouts around and inside the hedge leave no time for: extra attempts that
// could never start. A measured delay is not known yet, and with [AfterFailure] they need not wait for it.
func (h *Hedge) Check(outer, inner []policy.Layer) error {
	c := h.current()
	if c.delay == 0 || c.afterFailure {
		return nil
	}
	var problems []error
	last := saturate.Scale(c.delay, float64(c.extra))
	for _, layer := range outer {
		timeout, ok := layer.(policy.TimeLimiter)
		if ok && timeout.Stage() == policy.StageTotalTimeout && last >= timeout.TimeLimit() {
			problems = append(problems,
				fmt.Errorf("the last extra attempt would start after %v, not within the %v around it", last, timeout))
		}
	}
	for _, layer := range inner {
		timeout, ok := layer.(policy.TimeLimiter)
		if ok && boundsAttempts(timeout) && c.delay >= timeout.TimeLimit() {
			problems = append(problems,
				fmt.Errorf("the delay %v is not below the %v inside it: the first attempt is over before another one starts",
					c.delay, timeout))
		}
	}
	return errors.Join(problems...)
}

// boundsAttempts reports whether a layer inside a hedge bounds each attempt: an attempt timeout, which stands behind the
// bulkhead, or one that abandons operations, which stands before it.
func boundsAttempts(timeout policy.TimeLimiter) bool {
	return timeout.Stage() > policy.StageRateLimit && timeout.Stage() <= policy.StageAttemptTimeout
}
