package policyotel

import "github.com/go-resilience/resilience/policy"

// scope is the name of the instrumentation.
const scope = "github.com/go-resilience/resilience/adapters/policyotel"

// Names in this file are experimental until the semantic conventions have some.

// Attributes.
const (
	attrPipeline = "resilience.pipeline.name"
	attrPolicy   = "resilience.policy.name"
	attrType     = "resilience.policy.type"
	attrOutcome  = "resilience.outcome"
	attrState    = "resilience.state"
	attrAttempt  = "resilience.attempt.number" // from 1; in metrics 4 stands for 4 and more
	attrHedge    = "resilience.hedge.number"   // from 2
	attrClass    = "resilience.error.class"
	attrCode     = "resilience.error.code"
	attrReason   = "resilience.reason"
	attrWait     = "resilience.retry.wait" // seconds
	attrFrom     = "resilience.breaker.from"
	attrTo       = "resilience.breaker.to"
	attrCause    = "resilience.breaker.cause"
	attrValue    = "resilience.value.name"
	attrLabel    = "resilience.value.label"

	attrErrorType   = "error.type"                // of the semantic conventions
	attrResendCount = "http.request.resend_count" // of the semantic conventions
)

// Events of spans, and spans.
const (
	eventRetry    = "resilience.retry"
	eventWait     = "resilience.retry.wait"
	eventRejected = "resilience.rejected"
	eventStopped  = "resilience.given_up"
	eventChange   = "resilience.breaker.state_change"

	spanAttempt = "resilience.attempt"
)

// Metrics that do not depend on the kind of policy.
const (
	nameCalls            = "resilience.pipeline.calls"
	nameFailures         = "resilience.pipeline.report_failures"
	namePipelineDuration = "resilience.pipeline.duration"
	nameAttemptDuration  = "resilience.attempt.duration"
	nameRejections       = "resilience.policy.rejections"
	nameShadowRejections = "resilience.policy.shadow_rejections"
	nameShadow           = "resilience.policy.shadow"
	nameOtherState       = "resilience.policy.state"
	nameOtherValue       = "resilience.policy.value"
	nameOtherLimit       = "resilience.policy.value_limit"
	nameOtherEvents      = "resilience.policy.events"
)

// states are the metrics of the states of policies, one series for each state.
var states = map[string]string{
	"breaker":  "resilience.breaker.state",
	"bulkhead": "resilience.bulkhead.state",
}

// key is a value of a kind of policy, as reports name it.
type key struct{ kind, value string }

// metricOf is what a value is called. limit is "" where another metric says the same.
type metricOf struct {
	name, limit string
	kind        policy.ValueKind
	unit, text  string
}

func count(name, unit, text string) metricOf {
	return metricOf{name: name, kind: policy.Counter, unit: unit, text: text}
}

func gauge(name, limit, unit, text string) metricOf {
	return metricOf{name: name, limit: limit, kind: policy.Gauge, unit: unit, text: text}
}

// What several kinds of policies report.
var (
	budgetTokens = gauge("resilience.retry.budget.available", "resilience.retry.budget.limit", "{attempt}", "Retries that the budget allows now.")
	budgetDenied = count("resilience.retry.budget.denials", "{attempt}", "Retries that the budget did not allow.")
	timeLimit    = gauge("resilience.timeout.limit", "resilience.timeout.limit_max", "s", "Time that is granted.")
	timeExpired  = count("resilience.timeout.expirations", "{timeout}", "Calls or attempts that took too long.")
)

// known is what the policies of this module report. What other layers report is in resilience.policy.value and
// resilience.policy.events. "rejected" and "shadow_rejected" mean the same everywhere, and have one name for all.
var known = map[key]metricOf{
	{"breaker", "failure_rate"}:          gauge("resilience.breaker.window.failure_ratio", "resilience.breaker.window.failure_ratio_limit", "1", "Share of the calls in the window that failed."),
	{"breaker", "slow_rate"}:             gauge("resilience.breaker.window.slow_ratio", "resilience.breaker.window.slow_ratio_limit", "1", "Share of the calls in the window that were slow."),
	{"breaker", "window_calls"}:          gauge("resilience.breaker.window.calls", "", "{call}", "Calls in the window."),
	{"breaker", "window_failures"}:       gauge("resilience.breaker.window.failures", "resilience.breaker.window.failures_limit", "{call}", "Calls in the window that failed."),
	{"breaker", "window_slow"}:           gauge("resilience.breaker.window.slow_calls", "", "{call}", "Calls in the window that were slow."),
	{"breaker", "consecutive_failures"}:  gauge("resilience.breaker.consecutive_failures", "resilience.breaker.consecutive_failures_limit", "{call}", "Failures since the last success."),
	{"breaker", "consecutive_successes"}: gauge("resilience.breaker.consecutive_successes", "", "{call}", "Successes since the last failure."),
	{"breaker", "in_flight"}:             gauge("resilience.breaker.in_flight", "resilience.breaker.in_flight_limit", "{attempt}", "Attempts that were admitted and have not ended, as far as they count; the limit is that of probes."),
	{"breaker", "requests"}:              count("resilience.breaker.requests", "{attempt}", "Attempts that were admitted."),
	{"breaker", "successes"}:             count("resilience.breaker.successes", "{attempt}", "Attempts that succeeded."),
	{"breaker", "failures"}:              count("resilience.breaker.failures", "{attempt}", "Attempts that failed."),
	{"breaker", "neutral"}:               count("resilience.breaker.neutral_outcomes", "{attempt}", "Attempts whose outcome says nothing about the dependency."),
	{"breaker", "stale"}:                 count("resilience.breaker.stale_outcomes", "{attempt}", "Attempts that ended after a change of state, and count nowhere."),
	{"breaker", "changes"}:               count("resilience.breaker.transitions", "{transition}", "Changes of state."),
	{"breaker", "lost_deliveries"}:       count("resilience.breaker.lost_deliveries", "{transition}", "Changes that a subscriber did not get, or panicked on."),

	{"bulkhead", "in_flight"}: gauge("resilience.bulkhead.usage", "", "{slot}", "Slots that are taken."),
	{"bulkhead", "limit"}:     gauge("resilience.bulkhead.limit", "resilience.bulkhead.limit_max", "{slot}", "Slots."),
	{"bulkhead", "queued"}:    gauge("resilience.bulkhead.queue.usage", "resilience.bulkhead.queue.limit", "{attempt}", "Attempts that wait for a slot."),
	{"bulkhead", "waited"}:    count("resilience.bulkhead.queue.entries", "{attempt}", "Attempts that came into the queue."),
	{"bulkhead", "timed_out"}: count("resilience.bulkhead.queue.timeouts", "{attempt}", "Attempts whose wait was over before a slot was free."),

	{"rate limiter", "tokens"}:   gauge("resilience.rate_limiter.tokens.available", "resilience.rate_limiter.tokens.limit", "{token}", "Tokens that are there."),
	{"rate limiter", "queued"}:   gauge("resilience.rate_limiter.queue.usage", "resilience.rate_limiter.queue.limit", "{attempt}", "Attempts that wait for a token."),
	{"rate limiter", "admitted"}: count("resilience.rate_limiter.admissions", "{attempt}", "Attempts that got their tokens."),
	{"rate limiter", "returned"}: count("resilience.rate_limiter.returns", "{attempt}", "Attempts whose tokens went back, since they were never made."),

	{"rate limiter per key", "keys"}:           gauge("resilience.rate_limiter.keys.usage", "resilience.rate_limiter.keys.limit", "{key}", "Keys whose buckets are not full, and that have room."),
	{"rate limiter per key", "overflow_share"}: gauge("resilience.rate_limiter.overflow.share", "", "1", "Share of the buckets for keys without room that are not full."),
	{"rate limiter per key", "overflowed"}:     count("resilience.rate_limiter.overflows", "{attempt}", "Attempts that were decided by a bucket for keys without room."),
	{"rate limiter per key", "returned"}:       count("resilience.rate_limiter.returns", "{attempt}", "Attempts whose tokens went back, since they were never made."),

	{"throttle", "probability"}: gauge("resilience.throttle.rejection_probability", "", "1", "Probability that an attempt is rejected now."),
	{"throttle", "requests"}:    gauge("resilience.throttle.window.requests", "", "{attempt}", "Attempts in the window."),
	{"throttle", "accepts"}:     gauge("resilience.throttle.window.accepts", "", "{attempt}", "Attempts in the window that the dependency accepted."),

	{"retry", "retries"}: count("resilience.retry.retries", "{attempt}", "Further attempts that were scheduled."),
	{"retry", "gave_up"}: count("resilience.retry.failures", "{call}", "Calls that ended with the error of a retry."),
	{"retry", "tokens"}:  budgetTokens,
	{"retry", "denied"}:  budgetDenied,

	{"retry budget", "tokens"}:                        budgetTokens,
	{"retry budget", "denied"}:                        budgetDenied,
	{"retry token budget", "tokens"}:                  budgetTokens,
	{"retry token budget", "denied"}:                  budgetDenied,
	{"retry concurrency budget", "in_flight"}:         gauge("resilience.retry.budget.attempts", "", "{attempt}", "Attempts in flight."),
	{"retry concurrency budget", "retries_in_flight"}: gauge("resilience.retry.budget.retries", "resilience.retry.budget.retries_limit", "{attempt}", "Retries in flight."),
	{"retry concurrency budget", "denied"}:            budgetDenied,

	{"hedge", "delay"}:            gauge("resilience.hedge.delay", "", "s", "Delay before another attempt."),
	{"hedge", "calls"}:            count("resilience.hedge.calls", "{call}", "Calls that were allowed to be hedged."),
	{"hedge", "extra"}:            count("resilience.hedge.attempts", "{attempt}", "Extra attempts that were started."),
	{"hedge", "won"}:              count("resilience.hedge.wins", "{call}", "Calls that an extra attempt has won."),
	{"hedge", "over_budget"}:      count("resilience.hedge.budget.denials", "{attempt}", "Extra attempts that the budget did not allow."),
	{"hedge", "over_max_running"}: count("resilience.hedge.running.denials", "{attempt}", "Attempts that found the bound of running attempts reached."),
	{"hedge", "discarded"}:        count("resilience.hedge.discards", "{result}", "Successful results that were not the result of their call."),
	{"hedge", "running"}:          gauge("resilience.hedge.running.usage", "resilience.hedge.running.limit", "{attempt}", "Attempts on goroutines of their own that have not ended."),
	{"hedge", "left"}:             gauge("resilience.hedge.abandoned", "", "{attempt}", "Losers that still run after the end of their call."),
	{"hedge", "panics"}:           count("resilience.hedge.panics", "{panic}", "Panics that came after the end of their call."),

	{"total timeout", "limit"}:          timeLimit,
	{"total timeout", "expired"}:        timeExpired,
	{"attempt timeout", "limit"}:        timeLimit,
	{"attempt timeout", "expired"}:      timeExpired,
	{"abandoning timeout", "limit"}:     timeLimit,
	{"abandoning timeout", "expired"}:   timeExpired,
	{"abandoning timeout", "running"}:   gauge("resilience.timeout.running.usage", "resilience.timeout.running.limit", "{attempt}", "Operations that run now."),
	{"abandoning timeout", "abandoned"}: gauge("resilience.timeout.abandoned", "", "{attempt}", "Operations that run now and whose caller has left."),
	{"abandoning timeout", "discarded"}: count("resilience.timeout.discards", "{result}", "Successful results of abandoned operations."),
	{"abandoning timeout", "panics"}:    count("resilience.timeout.panics", "{panic}", "Panics of abandoned operations."),

	{"keyed", "keys"}:       gauge("resilience.keyed.keys", "resilience.keyed.keys_limit", "{key}", "Keys, by the state of their policy."),
	{"keyed", "made"}:       count("resilience.keyed.creations", "{key}", "Keys whose policy was made."),
	{"keyed", "evicted"}:    count("resilience.keyed.evictions", "{key}", "Keys that lost their place to a new one."),
	{"keyed", "expired"}:    count("resilience.keyed.expirations", "{key}", "Keys that were not used for too long."),
	{"keyed", "deleted"}:    count("resilience.keyed.deletions", "{key}", "Keys that were deleted."),
	{"keyed", "overflowed"}: count("resilience.keyed.overflows", "{use}", "Uses that shared a policy because there was no place."),
	{"keyed", "too_long"}:   count("resilience.keyed.long_keys", "{use}", "Uses that shared a policy because the key was too long."),
}
