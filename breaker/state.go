package breaker

import "fmt"

// State is what a breaker does with attempts.
type State uint8

const (
	// Closed: attempts are admitted and counted.
	Closed State = iota
	// Open: attempts are refused until the open time is over.
	Open
	// HalfOpen: a bounded number of attempts, the probes, is admitted to find out how the dependency is.
	HalfOpen
	// ForcedOpen: attempts are refused until [Breaker.Reset] or another manual change.
	ForcedOpen
	// ForcedClosed: attempts are admitted, and no rule trips, until [Breaker.Reset] or another manual change.
	ForcedClosed
)

// stateNames are the names of all states. Reports share them.
var stateNames = []string{"closed", "open", "half-open", "forced open", "forced closed"}

// String returns the name of the state in lower case, such as "half-open".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText returns what String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reason says why a breaker changed its state.
type Reason uint8

const (
	// ReasonNone: the breaker is new and has never changed its state.
	ReasonNone Reason = iota
	// ReasonConsecutiveFailures: the rule of [ConsecutiveFailures] tripped.
	ReasonConsecutiveFailures
	// ReasonFailureRate: the rule of [FailureRate] tripped.
	ReasonFailureRate
	// ReasonFailureCount: the rule of [FailureCount] tripped.
	ReasonFailureCount
	// ReasonSlowCalls: the rule of [SlowCalls] tripped.
	ReasonSlowCalls
	// ReasonTripWhen: the function given to [TripWhen] said true.
	ReasonTripWhen
	// ReasonOpenTimeOver: the open time was over when an attempt came, which became a probe.
	ReasonOpenTimeOver
	// ReasonProbeFailed: more probes failed than [FailedProbes] tolerates.
	ReasonProbeFailed
	// ReasonProbeSlow: a probe succeeded, but slower than [SlowCalls] allows, and no more bad probes are tolerated.
	ReasonProbeSlow
	// ReasonProbesSucceeded: as many probes succeeded as were needed.
	ReasonProbesSucceeded
	// ReasonTripped: [Breaker.Trip] was called.
	ReasonTripped
	// ReasonForced: [Breaker.ForceOpen] or [Breaker.ForceClosed] was called.
	ReasonForced
	// ReasonReset: [Breaker.Reset] was called.
	ReasonReset
)

var reasonNames = [...]string{"none", "consecutive failures", "failure rate", "failure count", "slow calls", "trip when",
	"open time over", "probe failed", "probe slow", "probes succeeded", "tripped", "forced", "reset"}

// String returns the reason in lower case, such as "failure rate".
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// byProbes reports whether probes brought the change about.
func (r Reason) byProbes() bool {
	return r == ReasonProbesSucceeded || r == ReasonProbeFailed || r == ReasonProbeSlow
}

// MarshalText returns what String does.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
