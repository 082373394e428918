package hedge

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// limited is a layer that grants a time: a timeout.
type limited interface {
	policy.Layer
	Limit() time.Duration
}

// Check reports a fixed delay that the timeouts around and inside the hedge leave no time for: extra attempts that
// could never start. A measured delay is not known yet.
func (h *Hedge) Check(outer, inner []policy.Layer) error {
	if h.delay == 0 {
		return nil
	}
	var problems []error
	last := h.delay
	if last > math.MaxInt64/time.Duration(h.extra) {
		last = math.MaxInt64
	} else {
		last *= time.Duration(h.extra)
	}
	for _, layer := range outer {
		if timeout, ok := layer.(limited); ok && timeout.Stage() == policy.StageTotalTimeout && last >= timeout.Limit() {
			problems = append(problems, fmt.Errorf("the last extra attempt would start after %v, not within the %v around it", last, timeout))
		}
	}
	for _, layer := range inner {
		if timeout, ok := layer.(limited); ok && timeout.Stage() == policy.StageAttemptTimeout && !h.afterFailure && h.delay >= timeout.Limit() {
			problems = append(problems, fmt.Errorf("the delay %v is not below the %v inside it: the first attempt is over before another one starts", h.delay, timeout))
		}
	}
	return errors.Join(problems...)
}
