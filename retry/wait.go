package retry

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

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
// callers come back no faster than they came. With AwaitRecovery(16 s), a gate that names 5 s is waited for from 5 s to 7 s,
// one that names 1 s from 1 s to 2 s, and one that names no time is asked again after 1 s to 3 s.
func (c *config) recoveryDelay(
	ctx context.Context, k *call, blocked error, now time.Duration,
) (wait time.Duration, reason error) {
	if match.Is(blocked, ErrBudget) { // this says nothing about the dependency, and is not waited for
		if budget, ok := c.budget.(*ConcurrencyBudget); ok {
			budget.deny() // its Ready is a question, and counts nothing
		}
		return 0, blocked
	}
	if c.patience == 0 {
		return 0, blocked
	}
	if !k.hasAwaited() {
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
