package breaker

import (
	"time"

	"github.com/go-resilience/resilience/internal/decimal"
	"github.com/go-resilience/resilience/policy"
)

// rules is what the core needs to know of the configuration. It is immutable.
type rules struct {
	consecutive           int // 0: no such rule
	failureRate, slowRate rateRule
	failureCount          int // 0: no such rule
	slowAfter             time.Duration
	lastCalls             int           // the count window; 0: none
	bucketWidth           time.Duration // of the time window; 0: none
	buckets               int           // of the time window
	probes, successes     int
	failedProbes          int // how many are tolerated
	openFor, lease, ramp  time.Duration
}

// notMeasured is the start of attempts that began when there was no rule about slow calls.
const notMeasured = -1

// slow reports whether an attempt that took from start to now was slow.
func (r *rules) slow(start, now time.Duration) bool {
	return r.slowAfter > 0 && start != notMeasured && now-start >= r.slowAfter
}

// newWindow returns an empty window, nil if no rule needs one, when good is the number of good outcomes so far.
func (r *rules) newWindow(now time.Duration, good int64) (w window) {
	switch {
	case r.lastCalls > 0:
		w = &countWindow{size: int64(r.lastCalls), badCalls: make([]badCall, r.lastCalls)}
	case r.bucketWidth > 0:
		w = &timeWindow{width: r.bucketWidth, totals: make([]windowCounts, r.buckets)}
	default:
		return nil
	}
	w.begin(now, good)
	return w
}

// converted returns a window for these rules that holds what w holds, as far as it can: calls have no time in a count
// window, and no order in a time window, so one begins empty in place of the other.
func (r *rules) converted(w window, now time.Duration, good int64) window {
	switch w := w.(type) {
	case *countWindow:
		if r.lastCalls > 0 {
			return w.resized(int64(r.lastCalls), good)
		}
	case *timeWindow:
		if r.bucketWidth > 0 {
			return w.reshaped(r.bucketWidth, r.buckets, now, good)
		}
	}
	return r.newWindow(now, good)
}

// trip returns the first rule that says to open after a bad outcome, and what it saw. An outcome that did not fail trips
// no rule about failures, and one that was not slow no rule about slow calls.
func (r *rules) trip(e evidence, failed, slow bool) (Reason, policy.Cause) {
	in := e.window
	switch {
	case failed && r.consecutive > 0 && e.failures >= r.consecutive:
		return ReasonConsecutiveFailures, policy.Cause{
			Rule: "ConsecutiveFailures", What: "failed", Bad: int64(e.failures), Limit: float64(r.consecutive),
		}
	case failed && r.failureRate.trips(in.failures, in.calls):
		return ReasonFailureRate, r.failureRate.cause("FailureRate", "failed", in.failures, in.calls)
	case failed && r.failureCount > 0 && in.failures >= int64(r.failureCount):
		return ReasonFailureCount, policy.Cause{
			Rule: "FailureCount", What: "failed", Bad: in.failures, Calls: in.calls, Limit: float64(r.failureCount),
		}
	case slow && r.slowRate.trips(in.slow, in.calls):
		return ReasonSlowCalls, r.slowRate.cause("SlowCalls", "were slow", in.slow, in.calls)
	}
	return ReasonNone, policy.Cause{}
}

// rateRule trips when a share of the calls in the window is bad.
type rateRule struct {
	rate         float64 // 0: no such rule
	minimumCalls int64
	share        decimal.Fraction // the rate, exactly
}

func (r rateRule) exists() bool { return r.rate > 0 }

func (r rateRule) trips(bad, calls int64) bool {
	return r.exists() && r.known(calls) && r.share.ReachedBy(bad, calls)
}

// known reports whether there are enough calls to speak of a rate.
func (r rateRule) known(calls int64) bool { return calls >= max(1, r.minimumCalls) }

func (r rateRule) cause(rule, what string, bad, calls int64) policy.Cause {
	return policy.Cause{Rule: rule, What: what, Bad: bad, Calls: calls, Limit: r.rate, Minimum: r.minimumCalls}
}
