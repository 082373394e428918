package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// history bounds the errors that a call remembers, so that endless retries keep memory flat.
const history = 16

// call is what is known about one call. It is made at the first failure and belongs to the goroutine of the call.
type call struct {
	clock       *stopwatch.Stopwatch // of the Retrier; times are its readings
	firstEnded  time.Duration        // when the first attempt that entered the operation ended
	entered     int                  // how many attempts entered the operation
	lastEntered int                  // the number of the last of them
	errs        []error              // of the operation: the last ones, oldest first
	class       policy.Class         // of the last error
	errsRoom    [4]error             // for errs: enough for most calls, which it spares an allocation

	source   backoff.BackOff            // nil until the first delay, and for delays that need none
	growth   backoff.ExponentialBackOff // the source of exponential delays
	previous time.Duration              // the last delay, with decorrelated jitter only
	paid     policy.Budget              // the budget that the token for the next attempt is from; nil while none is held

	awaited      error         // the last rejection of a gate that was waited for; nil if none was
	awaitedSince time.Duration // when the first of these waits began
}

// hasAwaited reports whether the call has waited for a gate. Then there is to be one attempt more:
//
//	that attempt                                                the call
//	entered the operation                                       ends, however few attempts there were
//	was refused, and a gate refuses now                         waits again, as long as its patience lasts
//	was refused by the gate that is ready now: other calls
//	have taken the places of the recovering dependency          tries again, as long as its patience lasts
//	was refused by another guard                                ends, also if a next attempt would go elsewhere
func (k *call) hasAwaited() bool { return k.awaited != nil }

// await notes that the call waits for the gate that refuses with blocked.
func (k *call) await(blocked error) {
	if !k.hasAwaited() {
		k.awaitedSince = k.clock.Elapsed()
	}
	k.awaited = blocked
}

// awaitedFor returns how long ago the call began to wait for a gate, 0 if it has not.
func (k *call) awaitedFor() time.Duration {
	if !k.hasAwaited() {
		return 0
	}
	return k.clock.Elapsed() - k.awaitedSince
}

// note remembers how an attempt has ended that entered the operation, and with that has spent its token. It does so once: Next
// may be asked about the attempt again.
func (k *call) note(number int, outcome policy.Outcome) {
	if number == k.lastEntered {
		return
	}
	if k.entered == 0 {
		k.firstEnded = k.clock.Elapsed()
	}
	k.lastEntered = number
	if k.errs == nil {
		k.errs = k.errsRoom[:0]
	}
	if len(k.errs) == history {
		k.errs = append(k.errs[:0], k.errs[1:]...)
	}
	k.errs = append(k.errs, outcome.Err)
	k.entered++
	k.class = outcome.Class
	k.paid = nil
}

// refusedAfterWait reports whether err is the refusal of the gate that was waited for.
func (k *call) refusedAfterWait(err error) bool {
	if !k.hasAwaited() {
		return false
	}
	reason := k.awaited
	if rejection, ok := match.As[*policy.Rejection](reason); ok && rejection.Reason != nil {
		reason = rejection.Reason
	}
	return match.Is(err, reason)
}

// pay takes a token for the next attempt, unless the call still holds one for an attempt that was not made. It reports false
// if there is none. A call that has not entered the operation yet adds no load, and pays nothing.
func (k *call) pay(budget policy.Budget) bool {
	if budget == nil || k.paid != nil || k.entered == 0 {
		return true
	}
	if !budget.Withdraw() {
		return false
	}
	k.paid = budget
	return true
}

// giveBack returns the token of an attempt that is not made after all.
func (k *call) giveBack() {
	if budget := k.paid; budget != nil {
		k.paid = nil
		budget.Return()
	}
}

// giveUp returns the error of the call. At least one attempt entered the operation.
func (k *call) giveUp(name string, reason error) *Error {
	return &Error{
		Name: name, Attempts: k.entered, Elapsed: k.clock.Elapsed() - k.firstEnded, Reason: reason,
		Last: k.errs[len(k.errs)-1], Errs: k.errs, class: k.class,
	}
}
