package breaker

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Check returns an error when an attempt timeout further in does not fit the breaker: a time window must be at least
// twice as long as the timeout, or timeouts leave it about as fast as they come in, and the lease of a probe must be at
// least as long, or the outcome of a probe that takes its time is ignored.
func (b *Breaker) Check(_, inner []policy.Layer) error {
	var problems []string
	for _, layer := range inner {
		timeout, ok := layer.(interface{ Limit() time.Duration })
		if !ok || layer.Stage() != policy.StageAttemptTimeout {
			continue
		}
		limit := timeout.Limit()
		if window := b.rules.bucket * time.Duration(b.rules.buckets); window > 0 && window/2 < limit {
			problems = append(problems, fmt.Sprintf("the window %v is shorter than twice the attempt timeout %v", window, limit))
		}
		if b.rules.lease < limit {
			problems = append(problems,
				fmt.Sprintf("the probe lease %v is shorter than the attempt timeout %v", b.rules.lease, limit))
		}
	}
	if problems == nil {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}
