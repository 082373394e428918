package retry

import (
	"context"
	"math"
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
	if wait > timeLeft(ctx) {
		return 0, ErrDeadline
	}
	return wait, nil
}

// later returns hint and up to a tenth more, but not past the deadline of ctx, so that callers who were asked to wait
// together do not come back together.
func (c *config) later(ctx context.Context, hint time.Duration) time.Duration {
	if hint <= 0 || c.jitter == noJitter {
		return hint
	}
	latest := min(saturate.Add(hint, hint/10), timeLeft(ctx))
	return c.uniform(hint, max(hint, latest))
}

// isPushback reports whether the wait that err asks for replaces the delay, even if it is shorter; see MaxRetryAfter.
func isPushback(err error) bool {
	pushback, ok := match.As[interface {
		error
		Pushback() bool
	}](err)
	return ok && pushback.Pushback()
}

// timeLeft returns the longest wait that leaves time for an attempt before the deadline of ctx; less than 0 if none does. It
// reads the clock, because a context can end a little after its deadline.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(0, time.Until(deadline)) - 1
	}
	return math.MaxInt64
}

// askAgain bounds the wait for a gate that cannot say when it will be ready: it is asked again after half to one and a half of
// askAgain at most.
const askAgain = 10 * time.Second

// awaitRecovery returns how long to wait for the gate that refuses with blocked, or the reason to stop, which is blocked
// itself where it is not to be waited for, or not for so long. The wait ends a little after the gate should be ready, at a
// random moment, so that the callers who wait do not all come at once. At most the time that the gate names is added: so
// callers come back no faster than they came. With AwaitRecovery(16 s), a gate that names 5 s is waited for from 5 s to 7 s,
// one that names 1 s from 1 s to 2 s, and one that names no time is asked again after 1 s to 3 s.
func (c *config) awaitRecovery(ctx context.Context, k *call, blocked error) (wait time.Duration, reason error) {
	if c.patience == 0 {
		return 0, blocked
	}
	limit := min(c.patience-k.awaitedFor(), timeLeft(ctx))
	slack := c.patience / 8
	if wait, _ = policy.RetryAfter(blocked); wait > 0 {
		slack = min(slack, wait)
	} else {
		slack = min(slack, askAgain)
		wait = slack / 2
	}
	wait, slack = max(wait, time.Millisecond), max(slack, time.Millisecond) // never a hot loop, whatever the gate says
	if wait > limit {
		return 0, blocked
	}
	if c.jitter != noJitter {
		wait = c.uniform(wait, wait+min(slack, limit-wait))
	}
	k.await(blocked)
	return wait, nil
}
