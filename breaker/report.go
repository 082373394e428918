package breaker

import (
	"encoding/json"

	"github.com/go-resilience/resilience/policy"
)

// ReportState implements [policy.StateReporter].
func (b *Breaker) ReportState() string { return b.State().String() }

// Report returns what the breaker is and does, in the form that all layers share.
func (b *Breaker) Report() policy.Report {
	b.current()
	b.mu.Lock()
	c, now := b.learnGood(), b.clock.Elapsed()
	s, cause, r, given := b.snapshot(now), c.cause, c.rules, b.config.given
	slots := c.halfOpen.slots(r)
	if s.State != c.state && s.State == HalfOpen {
		cause = policy.Cause{Rule: "OpenFor"}
	}
	b.mu.Unlock()
	return policy.Report{
		Kind:     "breaker",
		Name:     s.Name,
		Stage:    policy.StageBreaker,
		State:    policy.State{Name: s.State.String(), Since: s.Since, Until: s.Until, Cause: cause, All: stateNames},
		Shadow:   s.Shadow,
		Settings: given,
		Values: []policy.Value{
			{
				Name: "failure_rate", Unit: policy.UnitRatio, Kind: policy.Gauge, Number: s.FailureRate,
				Limit: r.failureRate.rate, Unknown: !s.FailureRateKnown,
			},
			{
				Name: "slow_rate", Unit: policy.UnitRatio, Kind: policy.Gauge, Number: s.SlowRate,
				Limit: r.slowRate.rate, Unknown: !s.SlowRateKnown,
			},
			gauge("window_calls", s.Calls, 0),
			gauge("window_failures", s.CallsFailed, r.failureCount),
			gauge("window_slow", s.CallsSlow, 0),
			gauge("consecutive_failures", int64(s.ConsecutiveFailures), r.consecutive),
			gauge("consecutive_successes", int64(s.ConsecutiveSuccesses), 0),
			gauge("in_flight", int64(s.InFlight), slots),
			counter("requests", s.Requests),
			counter("successes", s.Successes),
			counter("failures", s.Failures),
			counter("neutral", s.Neutral),
			counter("stale", s.Stale),
			counter("rejected", s.Rejected),
			counter("shadow_rejected", s.ShadowRejected),
			counter("changes", s.Changes),
			counter("lost_deliveries", s.LostDeliveries),
		},
	}
}

// MarshalJSON writes the report.
func (b *Breaker) MarshalJSON() ([]byte, error) { return json.Marshal(b.Report()) }

func gauge(name string, number int64, limit int) policy.Value {
	return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(number), Limit: float64(limit)}
}

func counter(name string, number uint64) policy.Value {
	return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(number)}
}
