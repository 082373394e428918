package breaker

import (
	"errors"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// ErrOpen is matched, with [errors.Is], by every refusal of a breaker: because it is open, because all probes of a
// half-open breaker are taken, or because it lets the load back in only gradually. Its code is "breaker.open".
var ErrOpen = policy.NewReason("breaker.open", "circuit open")

// ErrForced is matched by the refusals of a breaker that was opened by hand, beside [ErrOpen]: nothing will change by
// waiting.
var ErrForced = fmt.Errorf("%w: forced", ErrOpen)

var (
	errProbing = fmt.Errorf("%w: all probes are taken", ErrOpen)
	errRamping = fmt.Errorf("%w: recovering", ErrOpen)
)

// What the failure of an attempt without an error was.
var (
	errPanicked = errors.New("the operation panicked")
	errExited   = errors.New("the operation called runtime.Goexit")
)

// errorOf returns the error of an outcome, or one that says why there is none.
func errorOf(outcome policy.Outcome) error {
	switch outcome.Kind {
	case policy.Panicked:
		return errPanicked
	case policy.Exited:
		return errExited
	}
	return outcome.Err
}
