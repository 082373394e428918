package policyslog

// The names of attributes, in the order in which they come. They are stable: a name may be added, none is changed.
const (
	attrEvent      = "event"      // the kind of event as policy.EventKind prints it, or "change"
	attrPipeline   = "pipeline"   // the name of the pipeline
	attrKind       = "kind"       // the kind of policy: "breaker", "bulkhead"
	attrName       = "name"       // the name of the policy
	attrCall       = "call"       // the number of the call
	attrAttempt    = "attempt"    // the number of the attempt, from 1
	attrHedge      = "hedge"      // which of the attempts of a hedge, from 2
	attrOutcome    = "outcome"    // see outcomeOf
	attrClass      = "class"      // what the error means
	attrCode       = "code"       // where in the pipeline it ended
	attrError      = "error"      // the text of the error, on one line, at most 500 bytes
	attrReason     = "reason"     // why there was no further attempt, or why a breaker changed
	attrElapsed    = "elapsed"    // a duration
	attrQueued     = "queued"     // a duration
	attrWait       = "wait"       // a duration: until the next attempt, or all waits of a call
	attrCount      = "count"      // the refusals that a line stands for
	attrSuppressed = "suppressed" // those of them that have no line of their own: count - 1
	attrRetryAfter = "retry_after"
	attrState      = "state"
	attrSince      = "since"
	attrUntil      = "until"
	attrShadow     = "shadow"
	attrCause      = "cause" // a group: text, rule, what, bad, calls, limit, minimum

	attrNumber              = "number" // of a change
	attrFrom                = "from"
	attrTo                  = "to"
	attrFor                 = "for" // a duration: until - the moment of the change
	attrCalls               = "calls"
	attrCallsFailed         = "calls_failed"
	attrCallsSlow           = "calls_slow"
	attrFailureRate         = "failure_rate"
	attrSlowRate            = "slow_rate"
	attrConsecutiveFailures = "consecutive_failures"
	attrRejected            = "rejected"
)
