package timeout

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/quantile"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// FromLatency returns a timeout for each attempt that follows the latency of the dependency: it grants factor times
// the quantile q of recent attempts, but never less than floor or more than most. It stands at
// [policy.StageAttemptTimeout].
//
// Until enough attempts were seen (100, and 10 above the quantile: 1000 for 0.99) it grants most. It learns from
// successes, and from its own expiries, which are known to be slow: so a dependency that has become slower for good
// is granted more after a while, up to most. The estimate covers the last 30 to 60 seconds, and its error is at most
// 3 % of its value.
//
// It panics with a [*policy.ConfigError] unless q lies between 0.5 and 0.999, factor between 1 and 100, and floor is
// positive and not above most; see [ValidateFromLatency].
func FromLatency(q, factor float64, floor, most time.Duration) *Timeout {
	if err := ValidateFromLatency(q, factor, floor, most); err != nil {
		panic(err)
	}
	t := newTimeout("timeout.FromLatency", most, policy.StageAttemptTimeout)
	t.latency = &latency{q: q, factor: factor, floor: floor, most: most, clock: stopwatch.Start(), cause: t.cause, estimator: quantile.New(q)}
	return t
}

// ValidateFromLatency returns the [*policy.ConfigError] that [FromLatency] would panic with, or nil.
func ValidateFromLatency(q, factor float64, floor, most time.Duration) error {
	problems := policy.ConfigError{Policy: "timeout.FromLatency"}
	if !(q >= 0.5 && q <= 0.999) {
		problems.Add("quantile %v: must lie between 0.5 and 0.999", q)
	}
	if !(factor >= 1 && factor <= 100) {
		problems.Add("factor %v: must lie between 1 and 100", factor)
	}
	if floor <= 0 {
		problems.Add("floor %v: must be positive", floor)
	}
	if floor > most {
		problems.Add("floor %v: is above the most, %v", floor, most)
	}
	return problems.Err()
}

// latency is a limit that follows the latency.
type latency struct {
	q, factor   float64
	floor, most time.Duration
	clock       stopwatch.Stopwatch

	mu        sync.Mutex
	estimator *quantile.Estimator
	cause     *Error // of the limit as it is now
}

// grant returns the limit as of now, as the error of an attempt that exceeds it.
func (l *latency) grant() *Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// observe learns how long an attempt took. One that expired would have taken longer: it counts as a little more, so
// that a limit below the quantile rises, instead of confirming itself.
func (l *latency) observe(took time.Duration, expired bool) {
	if expired {
		took += min(took/16, math.MaxInt64-took)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.estimator.Observe(took)
	estimate, known := l.estimator.Estimate()
	if !known {
		return
	}
	limit := l.most
	if scaled := l.factor * float64(estimate); scaled < math.MaxInt64 {
		limit = min(l.most, max(l.floor, time.Duration(scaled)))
	}
	if limit != l.cause.Limit {
		l.cause = &Error{Limit: limit, scope: l.cause.scope, by: l.cause.by}
	}
}

// String returns how the limit is made, such as "3×p99 from 10ms to 1s".
func (l *latency) String() string {
	return fmt.Sprintf("%.4g×p%.4g from %v to %v", l.factor, 100*l.q, l.floor, l.most)
}
