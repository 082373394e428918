package retry

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// decide turns one attempt without success into a wait before the next one, or into the reason why there is none. It asks:
//
//  1. May there be another attempt at all? Only when it is asked about this one for the first time (afterAttempt).
//  2. Does a gate refuse now? Then, how long to wait for it (awaitRecovery)? Where it is the budget that refuses, this ends the
//     call.
//  3. Otherwise, will the next attempt go to the same place? Then, how long to back off (backOff)?
//  4. Is there a token for it? A retry is paid for (pay) before it is promised.
//
// It is asked again about the same attempt (Asked > 0) when a gate refuses after the wait, or ctx has ended meanwhile.
func (c *config) decide(ctx context.Context, k *call, ended *policy.Attempt) (wait time.Duration, reason error) {
	if ctx.Err() != nil {
		return 0, policy.ContextError(ctx)
	}
	if ended.Asked == 0 {
		if reason := c.afterAttempt(ctx, k, ended); reason != nil {
			return 0, reason
		}
	}
	switch {
	case ended.Blocked == nil && ended.Elsewhere: // at once
	case ended.Blocked == nil:
		wait, reason = c.backOff(ctx, k, ended)
	case isOverBudget(ended.Blocked):
		if c.denier != nil {
			c.denier.deny()
		}
		return 0, ended.Blocked
	default:
		wait, reason = c.awaitRecovery(ctx, k, ended.Blocked)
	}
	if reason == nil && !k.pay(c.budget) {
		reason = ErrBudget
	}
	return wait, reason
}

// isOverBudget reports whether err is the refusal of a [ConcurrencyBudget], which is a gate too. It says nothing about the
// dependency, and is never waited for.
func isOverBudget(err error) bool { return match.Is(err, ErrBudget) }

// endsAtOnce reports whether the call ends with a first attempt that was refused. The caller would get the same from decide and
// stop. It is asked before anything is allocated, so that an open breaker costs nothing.
func (c *config) endsAtOnce(ended *policy.Attempt) bool {
	refused := ended.Number == 1 && ended.Asked == 0 && !entered(ended)
	return refused && !ended.Elsewhere && c.patience == 0 && len(c.rejections) == 0
}

// afterAttempt returns why an attempt must not be followed by another one, or nil.
func (c *config) afterAttempt(ctx context.Context, k *call, ended *policy.Attempt) error {
	if !entered(ended) {
		const nested = true // the guard may have retried something before it refused: that is not the operation
		if isFinal(ended.Outcome.Err, nested) {
			return ErrFinal
		}
		return c.afterRefusal(k, ended)
	}
	if isFinal(ended.Outcome.Err, c.nested) {
		return ErrFinal
	}
	return c.afterFailure(ctx, k, ended)
}

// afterRefusal returns why an attempt that was refused must not be followed by another one, or nil. It has done nothing, so
// a gate that refused it can be waited for, however many attempts there were:
//
//	refused by                                               another attempt
//	a gate that still refuses, with AwaitRecovery            yes, after a wait for the gate
//	a gate that was waited for, and is ready again           yes, as long as the patience of AwaitRecovery lasts
//	a gate that the next attempt does not meet (Elsewhere)   yes, if there is one left, and no gate was waited for
//	a guard whose refusal RetryRejections names              yes, if there is one left
//	any other guard                                          no
func (c *config) afterRefusal(k *call, ended *policy.Attempt) error {
	err := ended.Outcome.Err
	switch {
	case c.patience > 0 && ended.Blocked != nil && !isOverBudget(err):
		return nil // awaitRecovery says how long to wait for the gate
	case k.refusedAfterWait(err) && k.awaitedFor() < c.patience:
		return nil
	case ended.Elsewhere && ended.Number < c.attempts && !k.hasAwaited():
		return nil
	case !c.retriesRejection(err):
		return rejectionIn(err)
	}
	return c.exhausted(k, ended)
}

// afterFailure returns why an attempt that entered the operation must not be followed by another one, or nil. It tells the budget
// of a failure that may be retried, also when the call has no attempt left.
func (c *config) afterFailure(ctx context.Context, k *call, ended *policy.Attempt) error {
	err := ended.Outcome.Err
	rejection := match.Is(err, policy.ErrRejected) // the operation made a call of its own, which was refused
	switch {
	case rejection && !c.retriesRejection(err):
		return rejectionIn(err)
	case !repeatable(ctx, err):
		return ErrFinal
	case !rejection && !c.isRetryable(ended.Outcome):
		return ErrFinal
	}
	if c.feedback != nil && !rejection {
		c.feedback.Failed()
	}
	return c.exhausted(k, ended)
}

// exhausted returns why the call has no attempt left, or nil. Where a gate that was waited for refuses again, that is the
// reason, since it says more than ErrExhausted.
func (c *config) exhausted(k *call, ended *policy.Attempt) error {
	switch {
	case c.attempts == 1 && ended.Number == 1: // no retry was ever in question: the caller gets the bare error, see stop
		return ErrFinal
	case k.hasAwaited() && ended.Blocked != nil:
		return ended.Blocked
	case k.hasAwaited(), ended.Number >= c.attempts:
		return ErrExhausted
	}
	return nil
}

// isRetryable reports whether a failure of the operation is one to be retried, by If or by its class.
func (c *config) isRetryable(outcome policy.Outcome) bool {
	if c.retryIf != nil {
		return c.retryIf(outcome.Err)
	}
	switch classOf(outcome) {
	case policy.Permanent, policy.Expected, policy.Ignored:
		return false
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

// retriesRejection reports whether RetryRejections names err.
func (c *config) retriesRejection(err error) bool {
	for _, reason := range c.rejections {
		if match.Is(err, reason) {
			return true
		}
	}
	return false
}

// rejectionIn returns the rejection in err's tree, or err if it matches ErrRejected without one.
func rejectionIn(err error) error {
	if rejection, ok := match.As[*policy.Rejection](err); ok {
		return rejection
	}
	return err
}
