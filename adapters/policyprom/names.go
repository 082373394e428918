package policyprom

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-resilience/resilience/policy"
)

// prefix is what all names begin with.
const prefix = "resilience_"

// The names of metrics that do not depend on the kind of policy.
const (
	nameCalls          = prefix + "calls_total"
	nameRejected       = prefix + "rejected_total"
	nameShadowRejected = prefix + "shadow_rejected_total"
	nameShadow         = prefix + "shadow"
	nameSince          = prefix + "state_since_timestamp_seconds"
	nameFailures       = prefix + "report_failures_total"
	nameOtherState     = prefix + "other_state"
	nameOtherValue     = prefix + "other_value"
	nameOtherLimit     = prefix + "other_value_limit"
	nameOtherTotal     = prefix + "other_events_total"

	nameCallDuration    = prefix + "call_duration_seconds"
	nameAttemptDuration = prefix + "attempt_duration_seconds"
)

// value is something that a kind of policy reports, by its name in [policy.Report].
type value struct {
	name string
	kind policy.ValueKind
	unit string
	help string
}

func count(name, help string) value {
	return value{name, policy.Counter, policy.UnitCount, help}
}

func gauge(name, help string) value {
	return value{name, policy.Gauge, policy.UnitCount, help}
}

func ratio(name, help string) value {
	return value{name, policy.Gauge, policy.UnitRatio, help}
}

func seconds(name, help string) value {
	return value{name, policy.Gauge, policy.UnitSeconds, help}
}

// known is what the policies of this module report, by kind. What other layers report, and what is added to a policy before
// it is added here, has the names of "other". "rejected" and "shadow_rejected" mean the same everywhere: they have one name
// for all kinds, and are not listed.
var known = map[string][]value{
	"breaker": {
		ratio("failure_rate", "Share of the calls in the window that failed. NaN while there are too few to tell."),
		ratio("slow_rate", "Share of the calls in the window that were slow. NaN while there are too few to tell."),
		gauge("window_calls", "Calls in the window."),
		gauge("window_failures", "Calls in the window that failed."),
		gauge("window_slow", "Calls in the window that were slow."),
		gauge("consecutive_failures", "Failures since the last success."),
		gauge("consecutive_successes", "Successes since the last failure."),
		gauge("in_flight", "Attempts that were admitted and have not ended, as far as they count; the limit is that of probes."),
		count("requests", "Attempts that were admitted."),
		count("successes", "Attempts that succeeded."),
		count("failures", "Attempts that failed."),
		count("neutral", "Attempts whose outcome says nothing about the dependency."),
		count("stale", "Attempts that ended after a change of state, and count nowhere."),
		count("changes", "Changes of state."),
		count("lost_deliveries", "Changes that a subscriber did not get, or panicked on."),
	},
	"bulkhead": {
		gauge("in_flight", "Slots that are taken."),
		gauge("queued", "Attempts that wait for a slot."),
		gauge("limit", "Slots."),
		count("waited", "Attempts that came into the queue."),
		count("timed_out", "Attempts whose wait was over before a slot was free."),
	},
	"rate limiter": {
		gauge("tokens", "Tokens that are there. NaN without a limit."),
		gauge("queued", "Attempts that wait for a token."),
		count("admitted", "Attempts that got their tokens."),
		count("returned", "Attempts whose tokens went back, since they were never made."),
	},
	"rate limiter per key": {
		gauge("keys", "Keys whose buckets are not full, and that have room."),
		ratio("overflow_share", "Share of the buckets for keys without room that are not full."),
		count("overflowed", "Attempts that were decided by a bucket for keys without room."),
		count("returned", "Attempts that were not made, so that tokens could go back."),
	},
	"throttle": {
		ratio("probability", "Probability that an attempt is rejected now."),
		gauge("requests", "Attempts in the window."),
		gauge("accepts", "Attempts in the window that the dependency accepted."),
	},
	"retry": append([]value{
		count("retries", "Further attempts that were scheduled."),
		count("gave_up", "Calls that ended with the error of a retry."),
	}, budget...),
	"retry budget":       budget,
	"retry token budget": budget,
	"retry concurrency budget": {
		gauge("in_flight", "Attempts in flight."),
		gauge("retries_in_flight", "Retries in flight."),
		count("denied", "Retries that the budget did not allow."),
	},
	"hedge": {
		seconds("delay", "Delay before another attempt. NaN while too few latencies are known."),
		count("calls", "Calls that were allowed to be hedged."),
		count("extra", "Extra attempts that were started."),
		count("won", "Calls that an extra attempt has won."),
		count("over_budget", "Extra attempts that the budget did not allow."),
		count("over_max_running", "Attempts that found the bound of running attempts reached."),
		count("discarded", "Successful results that were not the result of their call."),
		gauge("running", "Attempts on goroutines of their own that have not ended."),
		gauge("left", "Losers that still run after the end of their call."),
		count("panics", "Panics that came after the end of their call."),
	},
	"total timeout":   timeouts,
	"attempt timeout": timeouts,
	"abandoning timeout": append([]value{
		gauge("running", "Operations that run now."),
		gauge("abandoned", "Operations that run now and whose caller has left."),
		count("discarded", "Successful results of abandoned operations."),
		count("panics", "Panics of abandoned operations."),
	}, timeouts...),
	"keyed": {
		gauge("keys", "Keys, by the state of their policy."),
		count("made", "Keys whose policy was made."),
		count("evicted", "Keys that lost their place to a new one."),
		count("expired", "Keys that were not used for too long."),
		count("deleted", "Keys that were deleted."),
		count("overflowed", "Uses that shared a policy because there was no place."),
		count("too_long", "Uses that shared a policy because the key was too long."),
	},
}

var budget = []value{
	gauge("tokens", "Retries that the budget allows now."),
	count("denied", "Retries that the budget did not allow."),
}

var timeouts = []value{
	seconds("limit", "Time that is granted."),
	count("expired", "Calls or attempts that took too long."),
}

// stateful are the kinds of policies that have states, and what those are.
var stateful = map[string]string{
	"breaker":  "Whether the breaker is in the state: 1 or 0.",
	"bulkhead": "Whether the bulkhead is in the state: 1 or 0.",
}

// metricName returns the name of a value of a kind of policy.
func metricName(kind string, v value) string {
	return prefix + snake(kind) + "_" + v.name + suffix(v)
}

// limitName returns the name of the limit of a value.
func limitName(kind string, v value) string {
	limit := "_limit"
	if v.name == "limit" {
		limit = "_max"
	}
	return prefix + snake(kind) + "_" + v.name + limit + suffix(v)
}

func stateName(kind string) string { return prefix + snake(kind) + "_state" }

func snake(kind string) string { return strings.ReplaceAll(kind, " ", "_") }

func suffix(v value) string {
	switch {
	case v.kind == policy.Counter:
		return "_total"
	case v.unit == policy.UnitRatio:
		return "_ratio"
	case v.unit == policy.UnitSeconds:
		return "_seconds"
	}
	return ""
}

// labels that differ from series to series of one collector. The pipeline is constant for each of its targets.
const (
	labelPipeline = "pipeline"
	labelKind     = "kind"
	labelName     = "name"
	labelState    = "state"
	labelOutcome  = "outcome"
	labelValue    = "value"
	labelLabel    = "label"
)

// descs are the descriptions of everything that one target can show.
type descs struct {
	calls, rejected, shadowRejected, shadow, since, failures *prometheus.Desc
	otherState, otherValue, otherLimit, otherTotal           *prometheus.Desc

	states map[string]*prometheus.Desc
	values map[valueKey]valueDescs
}

type valueKey struct{ kind, name string }

type valueDescs struct {
	value
	labelled      bool // the label of the value is the label "state"
	number, limit *prometheus.Desc
}

func newDescs(pipeline string) *descs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, prometheus.Labels{labelPipeline: pipeline})
	}
	d := &descs{
		calls:          desc(nameCalls, "Calls, by how they ended.", labelOutcome),
		rejected:       desc(nameRejected, "Attempts that the policy refused.", labelKind, labelName),
		shadowRejected: desc(nameShadowRejected, "Attempts that the policy would have refused, had it not been in shadow.", labelKind, labelName),
		shadow:         desc(nameShadow, "Whether the policy is in shadow, where it refuses nothing: 1 or 0.", labelKind, labelName),
		since:          desc(nameSince, "When the policy entered its state.", labelKind, labelName),
		failures:       desc(nameFailures, "Readings of the pipeline that failed because a layer panicked."),
		otherState:     desc(nameOtherState, "Whether a layer of another package is in the state: 1 or 0.", labelKind, labelName, labelState),
		otherValue:     desc(nameOtherValue, "What a layer of another package measures.", labelKind, labelName, labelValue, labelLabel),
		otherLimit:     desc(nameOtherLimit, "The most that the value of a layer of another package can be.", labelKind, labelName, labelValue, labelLabel),
		otherTotal:     desc(nameOtherTotal, "What a layer of another package counts.", labelKind, labelName, labelValue, labelLabel),
		states:         make(map[string]*prometheus.Desc),
		values:         make(map[valueKey]valueDescs),
	}
	for kind, help := range stateful {
		d.states[kind] = desc(stateName(kind), help, labelName, labelState)
	}
	for kind, values := range known {
		for _, v := range values {
			found, labels := valueDescs{value: v, labelled: kind == "keyed" && v.name == "keys"}, []string{labelName}
			if found.labelled {
				labels = append(labels, labelState)
			}
			found.number = desc(metricName(kind, v), v.help, labels...)
			if v.kind == policy.Gauge {
				found.limit = desc(limitName(kind, v), "The most that this can be, or that it may be before the policy acts: "+metricName(kind, v)+".", labels...)
			}
			d.values[valueKey{kind, v.name}] = found
		}
	}
	return d
}

// all calls f with each description.
func (d *descs) all(f func(*prometheus.Desc)) {
	for _, desc := range []*prometheus.Desc{
		d.calls, d.rejected, d.shadowRejected, d.shadow, d.since, d.failures, d.otherState, d.otherValue, d.otherLimit, d.otherTotal,
	} {
		f(desc)
	}
	for _, desc := range d.states {
		f(desc)
	}
	for _, found := range d.values {
		f(found.number)
		if found.limit != nil {
			f(found.limit)
		}
	}
}
