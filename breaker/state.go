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
	// ForcedOpen: attempts are refused until somebody says otherwise.
	ForcedOpen
	// ForcedClosed: attempts are admitted, and no rule trips, until somebody says otherwise.
	ForcedClosed
	// Disabled: attempts are admitted, and the breaker only reports what it would have done.
	Disabled
)

// String returns the name of the state in lower case, such as "half-open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	case ForcedOpen:
		return "forced open"
	case ForcedClosed:
		return "forced closed"
	case Disabled:
		return "disabled"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Reason says why a breaker changed its state.
type Reason uint8

const (
	// ReasonNone: the breaker is new and has never changed its state.
	ReasonNone Reason = iota
	// ReasonConsecutiveFailures: the rule of [ConsecutiveFailures] tripped.
	ReasonConsecutiveFailures
	// ReasonFailureRate: the rule of [FailureRate] tripped.
	ReasonFailureRate
	// ReasonSlowCalls: the rule of [SlowCalls] tripped.
	ReasonSlowCalls
	// ReasonOpenTimeOver: the open time was over when an attempt came, which became a probe.
	ReasonOpenTimeOver
	// ReasonProbeFailed: a probe failed.
	ReasonProbeFailed
	// ReasonProbeSlow: a probe succeeded, but slower than [SlowCalls] allows.
	ReasonProbeSlow
	// ReasonProbesSucceeded: as many probes succeeded as were needed.
	ReasonProbesSucceeded
	// ReasonTripped: [Breaker.Trip] was called.
	ReasonTripped
	// ReasonForced: [Breaker.ForceOpen] or [Breaker.ForceClosed] was called.
	ReasonForced
	// ReasonDisabled: [Breaker.Disable] was called.
	ReasonDisabled
	// ReasonReset: [Breaker.Reset] was called.
	ReasonReset
)

// String returns the reason in lower case, such as "failure rate".
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonConsecutiveFailures:
		return "consecutive failures"
	case ReasonFailureRate:
		return "failure rate"
	case ReasonSlowCalls:
		return "slow calls"
	case ReasonOpenTimeOver:
		return "open time over"
	case ReasonProbeFailed:
		return "probe failed"
	case ReasonProbeSlow:
		return "probe slow"
	case ReasonProbesSucceeded:
		return "probes succeeded"
	case ReasonTripped:
		return "tripped"
	case ReasonForced:
		return "forced"
	case ReasonDisabled:
		return "disabled"
	case ReasonReset:
		return "reset"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
