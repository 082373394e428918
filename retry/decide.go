package retry

import (
	"context"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// decide turns one attempt without success into a wait before the next one, or into the reason why there is none. It asks:
//
//  1. May there be another attempt at all (judge)? Only when it is asked about the attempt for the first time.
//  2. Does a gate refuse now? Then, how long to wait for it (recoveryDelay); without AwaitRecovery this ends the call.
//  3. Will the next attempt go elsewhere? Then no wait is needed.
//  4. Otherwise, how long to back off (backOff)?
//
// Whatever the wait, a retry is paid for (pay) before it is promised. now is a reading of the Retrier's clock.
func (c *config) decide(
	ctx context.Context, k *call, ended *policy.Attempt, now time.Duration,
) (wait time.Duration, reason error) {
	if ctx.Err() != nil {
		return 0, policy.ContextError(ctx)
	}
	if ended.Asked == 0 {
		if reason := c.judge(ctx, k, ended, now); reason != nil {
			return 0, reason
		}
	}
	switch {
	case ended.Blocked != nil:
		return c.recoveryDelay(ctx, k, ended.Blocked, now)
	case ended.Elsewhere && !k.pay(c.budget):
		return 0, ErrBudget
	case ended.Elsewhere:
		return 0, nil
	}
	return c.backOff(ctx, k, ended)
}

// judge returns why the attempt must not be followed by another one, whatever the wait, or nil.
func (c *config) judge(ctx context.Context, k *call, ended *policy.Attempt, now time.Duration) (reason error) {
	err, entered := ended.Outcome.Err, entered(ended)
	refused := !entered || match.Is(err, policy.ErrRejected) // the operation may itself be a call that is refused
	switch {
	case isPermanent(err), entered && !c.nested && fromRetryInside(err):
		return ErrFinal
	case !entered && c.patience > 0 && ended.Blocked != nil && !match.Is(err, ErrBudget):
		return nil // the gate can be waited for, and this attempt has done nothing
	case !entered && k.refusedAfterWait(err) && now-k.awaitedSince < c.patience:
		return nil // the gate was waited for, and is ready again
	case ended.Elsewhere && ended.Number < c.attempts && k.awaited == nil:
		return nil // a gate refused this attempt, and will not refuse the next one
	case refused && !c.retriesRejection(err):
		return refusal(err)
	case entered && !repeatable(ctx, err):
		return ErrFinal
	case !refused && !c.noteRetryable(ended.Outcome): // tells the budget, too: before the cases that end a call all the same
		return ErrFinal
	case c.attempts == 1: // no retry was ever in question: the caller gets the bare error
		return ErrFinal
	case k.awaited != nil && ended.Blocked != nil:
		return ended.Blocked
	case k.awaited != nil, ended.Number >= c.attempts: // the attempt after a wait for a gate is the last
		return ErrExhausted
	}
	return nil
}

// noteRetryable reports whether a failure of the operation may be retried at all, by its class or by If. If so, it tells a
// budget that needs to know of failures.
func (c *config) noteRetryable(outcome policy.Outcome) bool {
	if c.retryable != nil {
		if !c.retryable(outcome.Err) {
			return false
		}
	} else {
		switch classOf(outcome) {
		case policy.Permanent, policy.Expected, policy.Ignored:
			return false
		}
	}
	if c.feedback != nil {
		c.feedback.Failed()
	}
	return true
}

// classOf returns the class that the engine found, or, where no engine did, the one that the error declares.
func classOf(outcome policy.Outcome) policy.Class {
	if outcome.Class != policy.Unclassified {
		return outcome.Class
	}
	return policy.ClassOf(outcome.Err)
}

// fromRetryInside reports whether err comes from a retry inside the operation, which has done what a retry can do.
func fromRetryInside(err error) bool {
	_, ok := match.As[*Error](err)
	return ok
}

// retriesRejection reports whether RetryRejections names err.
func (c *config) retriesRejection(err error) bool {
	for _, reason := range c.rejections {
		if match.Is(err, reason) {
			return true
		}
	}
	return false
}

// refusal returns the rejection in err's tree, or err if it matches ErrRejected without one.
func refusal(err error) error {
	if rejection, ok := match.As[*policy.Rejection](err); ok {
		return rejection
	}
	return err
}

// backOff returns the delay before the next attempt after a failure, or the reason why there is none.
func (c *config) backOff(ctx context.Context, k *call, ended *policy.Attempt) (wait time.Duration, reason error) {
	hint, hinted := policy.RetryAfter(ended.Outcome.Err)
	if hinted && hint <= c.maxRetryAfter && isPushback(ended.Outcome.Err) {
		wait, k.source, k.previous = hint, nil, 0 // delays begin anew
	} else {
		var ok bool
		if wait, ok = c.delay(k, ended); !ok {
			return 0, ErrExhausted
		}
		if hinted && hint > c.maxRetryAfter {
			return 0, ErrRetryAfter
		}
		wait = max(wait, c.later(ctx, hint))
	}
	switch {
	case !fits(ctx, wait):
		return 0, ErrDeadline
	case !k.pay(c.budget):
		return 0, ErrBudget
	}
	return wait, nil
}

// later returns hint and up to a tenth more, but not past the deadline of ctx, so that callers who were asked to wait
// together do not come back together.
func (c *config) later(ctx context.Context, hint time.Duration) time.Duration {
	if hint <= 0 || c.jitter == noJitter {
		return hint
	}
	latest := saturate.Add(hint, hint/10)
	if deadline, ok := ctx.Deadline(); ok {
		latest = max(hint, min(latest, time.Until(deadline)-1))
	}
	return c.uniform(hint, latest)
}

// isPushback reports whether the wait that err asks for replaces the delay, even if it is shorter; see MaxRetryAfter.
func isPushback(err error) bool {
	pushback, ok := match.As[interface {
		error
		Pushback() bool
	}](err)
	return ok && pushback.Pushback()
}

// fits reports whether there will be time left for an attempt after wait. It reads the clock, because a context can end a
// little after its deadline.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || wait < time.Until(deadline)
}

// askAgain bounds the wait for a gate that cannot say when it will be ready: it is asked again after half to one and a half of
// askAgain at most.
const askAgain = 10 * time.Second

// recoveryDelay returns how long to wait for the gate that refuses with blocked, or the reason to stop, which is blocked
// itself where it is not to be waited for, or not for so long. The wait ends a little after the gate should be ready, at a
// random moment, so that the callers who wait do not all come at once. At most the time that the gate names is added: so
// callers come back no faster than they came.
func (c *config) recoveryDelay(
	ctx context.Context, k *call, blocked error, now time.Duration,
) (wait time.Duration, reason error) {
	if match.Is(blocked, ErrBudget) { // this says nothing about the dependency, and is not waited for
		if budget, ok := c.budget.(*ConcurrencyBudget); ok {
			budget.denied.Add(1)
		}
		return 0, blocked
	}
	if c.patience == 0 {
		return 0, blocked
	}
	if k.awaited == nil {
		k.awaitedSince = now
	}
	k.awaited = blocked
	limit := c.patience - (now - k.awaitedSince)
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)-1)
	}
	spread := c.patience / 8
	if wait, _ = policy.RetryAfter(blocked); wait > 0 {
		spread = min(spread, wait)
	} else {
		spread = min(spread, askAgain)
		wait = spread / 2
	}
	wait, spread = max(wait, time.Millisecond), max(spread, time.Millisecond) // never a hot loop, whatever the gate says
	if wait > limit {
		return 0, blocked
	}
	if c.jitter != noJitter {
		wait = c.uniform(wait, wait+min(spread, limit-wait))
	}
	if !k.pay(c.budget) {
		return 0, ErrBudget
	}
	return wait, nil
}

// history bounds the errors that a call remembers, so that endless retries keep memory flat.
const history = 16

// call is what is known about one call. It is made at the first failure and belongs to the goroutine of the call.
// Times are readings of the Retrier's clock.
type call struct {
	firstEnded time.Duration // when the first attempt that entered the operation ended
	attempts   int           // how many entered the operation
	noted      int           // the number of the last of them
	errs       []error       // of the operation: the last ones, oldest first
	class      policy.Class  // of the last error

	source   backoff.BackOff            // nil until the first delay, and for delays that need none
	growth   backoff.ExponentialBackOff // the source of exponential delays
	previous time.Duration              // the last delay, with decorrelated jitter only
	paid     policy.Budget              // the budget that the token for the next attempt is from; nil while none is held

	awaited      error         // the last rejection of a gate that was waited for; nil if none was
	awaitedSince time.Duration // when the first of these waits began
}

// note remembers the error of an attempt that entered the operation. The engine may ask about it again, when a panic ends
// the call before the next attempt.
func (k *call) note(number int, outcome policy.Outcome, now time.Duration) {
	if number == k.noted {
		return
	}
	if k.attempts == 0 {
		k.firstEnded = now
	}
	k.noted = number
	if k.errs == nil {
		k.errs = make([]error, 0, 4) // enough for most calls
	}
	if len(k.errs) == history {
		k.errs = append(k.errs[:0], k.errs[1:]...)
	}
	k.errs = append(k.errs, outcome.Err)
	k.attempts++
	k.class = outcome.Class
	k.paid = nil // spent
}

// refusedAfterWait reports whether err is the refusal of a gate that was waited for: when it became ready, other calls were
// quicker.
func (k *call) refusedAfterWait(err error) bool {
	if k.awaited == nil {
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
	if budget == nil || k.paid != nil || k.attempts == 0 {
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
func (k *call) giveUp(name string, reason error, now time.Duration) *Error {
	return &Error{
		Name: name, Attempts: k.attempts, Elapsed: now - k.firstEnded, Reason: reason,
		Last: k.errs[len(k.errs)-1], Errs: k.errs, class: k.class,
	}
}

// refusesAsGate reports whether reason is what a gate of this module refuses with.
func refusesAsGate(reason error) bool {
	code := policy.Code(reason)
	return strings.HasPrefix(code, "breaker.") || strings.HasPrefix(code, "throttle.")
}
