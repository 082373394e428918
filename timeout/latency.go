package timeout

import (
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/quantile"
	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/internal/stopwatch"
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
	t := &Timeout{scope: scopeAttempt, latency: &latency{clock: stopwatch.Start(), estimator: quantile.New(q)}}
	t.setFromLatency(config{q: q, factor: factor, floor: floor, longest: most})
	return t
}

// ReconfigureFromLatency changes how a timeout made by [FromLatency] makes its limit, for attempts that begin from now
// on. What it has learned stays; where that is too little for a higher quantile, it grants most for a while. It returns
// a [*policy.ConfigError], and changes nothing, when FromLatency would panic with the same arguments, or when the limit
// is fixed. It is safe while the timeout is in use.
func (t *Timeout) ReconfigureFromLatency(q, factor float64, floor, most time.Duration) error {
	t.current()
	problems := problemsFromLatency("timeout.ReconfigureFromLatency", q, factor, floor, most)
	if !t.followsLatency() {
		problems.Add("the limit is fixed: use Reconfigure")
	}
	if err := problems.Err(); err != nil {
		return err
	}
	t.changed.Store(true)
	t.setFromLatency(config{q: q, factor: factor, floor: floor, longest: most})
	return nil
}

// followsLatency reports whether t was made by FromLatency. Otherwise its limit is fixed.
func (t *Timeout) followsLatency() bool { return t.latency != nil }

// setFromLatency gives t the configuration c, and the limit that follows from it.
func (t *Timeout) setFromLatency(c config) {
	c.given = c.settingFromLatency()
	t.latency.mu.Lock()
	defer t.latency.mu.Unlock()
	t.latency.estimator.SetQuantile(c.q)
	t.use(c, t.latency.limit(&c))
}

// learn takes in how long an attempt took. One that expired would have taken longer: it counts as a little more, so
// that a limit below the quantile rises, instead of confirming itself.
func (t *Timeout) learn(took time.Duration, expired bool) {
	if expired {
		took = saturate.Add(took, took/16)
	}
	t.latency.mu.Lock()
	defer t.latency.mu.Unlock()
	t.latency.estimator.Observe(took)
	c := t.config.Load()
	if limit := t.latency.limit(c); limit != c.limit {
		t.use(*c, limit)
	}
}

// latency is what a timeout knows of its dependency.
type latency struct {
	clock stopwatch.Stopwatch

	mu        sync.Mutex // also held to change the config of the timeout
	estimator *quantile.Estimator
}

// limit returns the limit that c makes of the estimate. It is called with l.mu held.
func (l *latency) limit(c *config) time.Duration {
	estimate, known := l.estimator.Estimate()
	if !known {
		return c.longest
	}
	return min(c.longest, max(c.floor, saturate.Scale(estimate, c.factor)))
}
