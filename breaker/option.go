package breaker

import (
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a breaker. Where an option is given twice the last one holds, except for [OnChange].
type Option func(*config)

// Name names the breaker, in errors, events, reports and when it is printed. The default is no name.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}

// ConsecutiveFailures opens the breaker after n failures with no success in between; n must be at least 1. It is the
// default rule, with n = 5, when no other rule is given. Neutral outcomes neither count nor break the row.
//
// A short row cries wolf: at a healthy error rate p, a breaker with this rule opens for nothing once in
// (1-pⁿ)/((1-p)pⁿ) calls, which for n = 3 and p = 5 % is every 8,420 calls.
func ConsecutiveFailures(n int) Option {
	return func(c *config) {
		c.rules.consecutive = n
		c.given.Data("ConsecutiveFailures", setting.Arg("n", n))
	}
}

// FailureRate opens the breaker when at least the share rate of the calls in the window failed, and the window holds
// at least minimumCalls. It is evaluated after each failure, with integers: 0.57 opens at 57 of 100. rate must be
// between 1e-9 and 1, minimumCalls at least 1, and not above the size of a count window.
func FailureRate(rate float64, minimumCalls int) Option {
	return func(c *config) {
		c.rules.failureRate = rateRule{rate: rate, minimumCalls: int64(minimumCalls)}
		c.given.Data("FailureRate", setting.Arg("rate", rate), setting.Arg("minimumCalls", minimumCalls))
	}
}

// FailureCount opens the breaker when n calls in the window failed, however many succeeded. n must be at least 1, and not
// above the size of a count window.
func FailureCount(n int) Option {
	return func(c *config) {
		c.rules.failureCount = n
		c.given.Data("FailureCount", setting.Arg("n", n))
	}
}

// SlowCalls opens the breaker when at least the given share of the calls in the window took threshold or longer, and
// the window holds at least minimumCalls. A slow failure counts as slow and as failed. With this rule a probe that
// succeeds but is slow counts as one that failed. threshold must be at least 1µs, share and minimumCalls as for
// [FailureRate]. The rule costs each attempt two clock readings.
func SlowCalls(threshold time.Duration, share float64, minimumCalls int) Option {
	return func(c *config) {
		c.rules.slowAfter, c.rules.slowRate = threshold, rateRule{rate: share, minimumCalls: int64(minimumCalls)}
		c.given.Data("SlowCalls",
			setting.Arg("threshold", threshold), setting.Arg("share", share), setting.Arg("minimumCalls", minimumCalls))
	}
}

// TripWhen opens the breaker when f says so. f is asked after each failure, and each slow call, that has left the breaker
// closed. It is given what the breaker knew right after that outcome, and its answer counts only if the breaker has not
// changed its state meanwhile. There is no lock: f may take its time, which its caller spends, and use the breaker. It
// must be safe for concurrent use. f sees the window, by default the one of [TimeWindow]. Let it look at Calls and
// CallsFailed, which are those in the window, or at Current, which begins anew with each state; Requests and Failures never
// fall:
//
//	breaker.TripWhen(func(s breaker.Snapshot) bool { // a ratio since the breaker closed, without a window
//		return s.Current.Requests >= 3 && float64(s.Current.Failures) >= 0.6*float64(s.Current.Requests)
//	})
func TripWhen(f func(Snapshot) bool) Option {
	return func(c *config) {
		c.tripWhen = f
		c.given.Code("TripWhen")
	}
}

// CountWindow lets the rules look at the last n calls, however old, between 1 and 100,000. It reads no clock.
func CountWindow(n int) Option {
	return func(c *config) {
		c.rules.lastCalls = n
		c.given.Data("CountWindow", setting.Arg("n", n))
	}
}

// TimeWindow lets the rules look at the calls of the last d, in buckets: the current bucket and those before it, so
// between d less one bucket, and d. It is the default, with 10 s and 10 buckets. There may be 1 to 10,000 buckets, of at
// least 1ms each; d is rounded down to whole nanoseconds per bucket.
func TimeWindow(d time.Duration, buckets int) Option {
	return func(c *config) {
		c.timeWindow, c.rules.buckets = d, buckets
		c.given.Data("TimeWindow", setting.Arg("d", d), setting.Arg("buckets", buckets))
	}
}

// OpenFor sets the open time: for how long attempts are refused before the first probe. It must be at least 1ms. The
// default is 5 s. [Jitter] and [Growth] apply to it.
func OpenFor(d time.Duration) Option {
	return func(c *config) {
		c.openTime.base = d
		c.given.Data("OpenFor", setting.Arg("d", d))
	}
}

// Jitter lengthens every open time by a random part of it, between 0 and share, so that many breakers that opened
// together do not probe together. share must be between 0 (no jitter) and 1. The default is 0.1.
func Jitter(share float64) Option {
	return func(c *config) {
		c.openTime.jitter = share
		c.given.Data("Jitter", setting.Arg("share", share))
	}
}

// Growth multiplies the open time by factor with every opening in a row, up to limit (before jitter). A row ends when
// the breaker closes, with [Ramp] when the ramp is over. factor must be at least 1 and limit at least the open time. The
// default is no growth.
func Growth(factor float64, limit time.Duration) Option {
	return func(c *config) {
		c.openTime.growth, c.openTime.growthLimit = factor, limit
		c.given.Data("Growth", setting.Arg("factor", factor), setting.Arg("limit", limit))
	}
}

// RetryAfter lets the error of the failure that opens the breaker ask for a longer open time, as [policy.RetryAfter]
// finds it, up to limit, which must be at least 1ms. The default is not to ask.
//
// A probe that is throttled keeps its slot for as long as its error asks for, and at least for the open time. For these
// the same limit holds. Its default is a minute.
func RetryAfter(limit time.Duration) Option {
	return func(c *config) {
		c.openTime.retryAfterLimit = limit
		c.given.Data("RetryAfter", setting.Arg("limit", limit))
	}
}

// Probes sets how many attempts may be in flight at once while the breaker is half-open: 1 to 10,000. The default is 1.
// There are never more than successes are still needed.
func Probes(n int) Option {
	return func(c *config) {
		c.rules.probes = n
		c.given.Data("Probes", setting.Arg("n", n))
	}
}

// Successes sets how many probes must succeed to close the breaker: at least 1. The default is 1. It is independent of
// [Probes]: they may run one after the other.
func Successes(n int) Option {
	return func(c *config) {
		c.rules.successes = n
		c.given.Data("Successes", setting.Arg("n", n))
	}
}

// FailedProbes lets n probes fail until the next failure opens the breaker again; n must be at least 0. The default is 0:
// one failed probe is enough. As many probes must succeed as without this option.
//
// At a healthy error rate p a breaker that needs m successes opens again for nothing in 1-(1-p)ᵐ of all recoveries: for
// p = 5 % and m = 4 in 19 %, with FailedProbes(1) in 2.3 %.
func FailedProbes(n int) Option {
	return func(c *config) {
		c.rules.failedProbes = n
		c.given.Data("FailedProbes", setting.Arg("n", n))
	}
}

// ProbeLease sets for how long a probe keeps its slot from others. A probe that takes longer, because it hangs or was
// forgotten, can lose the slot to another attempt; then its outcome is ignored. So the lease should be longer than the
// operation may take; composing checks it against an attempt timeout inside the breaker. It must be at least 1ms. The
// default is the open time, at least 1 s.
func ProbeLease(d time.Duration) Option {
	return func(c *config) {
		c.rules.lease = d
		c.given.Data("ProbeLease", setting.Arg("d", d))
	}
}

// Ramp lets the load back in gradually over d after probes have closed the breaker: a share of the attempts that grows
// evenly from nothing to all is admitted, and apart from that as many at once as there may be probes. The rest is
// refused by chance. The trip rules are in force; a breaker that opens during the ramp counts as never recovered for
// [Growth]. d must be at least 1ms. The default is no ramp.
func Ramp(d time.Duration) Option {
	return func(c *config) {
		c.rules.ramp = d
		c.given.Data("Ramp", setting.Arg("d", d))
	}
}

// Classify says what errors mean to this breaker; its answer goes before the pipeline's, unless it is
// [policy.Unclassified]. f is asked about every error that is not neutral anyway (see [policy.Outcome.Verdict]). It must
// be safe for concurrent use. If it panics, the attempt counts as a failure and the panic goes on to the caller.
func Classify(f func(error) policy.Class) Option {
	return func(c *config) {
		c.classify = f
		c.given.Code("Classify")
	}
}

// Shadow makes a breaker that refuses nothing and counts as if it did, as [Breaker.Shadow] does. The default is to
// enforce.
func Shadow() Option {
	return func(c *config) {
		c.shadow = true
		c.given.Data("Shadow")
	}
}

// OnChange adds a subscriber to the changes of state. Every subscriber is told of every change, in order, one at a time.
// f runs on a goroutine made for it. One of the calls that caused a change waits for it, the others go on. So f should be
// fast: a slow one holds up the call that waits, and what that call holds. f may use the
// breaker, panic, and call [runtime.Goexit]. Of the changes that wait for a subscriber that hangs, the last 10,000 are
// kept (4 MB); a gap in [Change].Number shows the rest, and [Snapshot].LostDeliveries counts them.
func OnChange(f func(Change)) Option {
	return func(c *config) {
		c.subscribers = append(c.subscribers, f)
		c.given = append(c.given, policy.Setting{Name: "OnChange", Code: true}) // one for each subscriber
	}
}

// Rand sets the source of chance for [Jitter] and [Ramp], so that a run can be repeated. The default is the process's
// own. The breaker guards it: it is never used by two goroutines at once, unless it is given to something else too.
func Rand(source rand.Source) Option {
	return func(c *config) {
		c.source = source
		c.given.Code("Rand")
	}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(nil, opts)
	return err
}
