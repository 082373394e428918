package retry

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// await returns how long to wait for a gate that refuses, or, as the reason to stop, its rejection. The wait ends a
// little after the gate should be ready, at a random moment, so that those who wait do not all come at once.
func (r *Retrier) await(ctx context.Context, c *call, blocked error) (wait time.Duration, reason error) {
	if r.patience == 0 {
		return 0, blocked
	}
	now := r.clock.Elapsed()
	if !c.awaited {
		c.awaited, c.since = true, now
	}
	limit := r.patience - (now - c.since)
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)-1)
	}
	step := max(r.patience/8, time.Millisecond) // how soon to look again when nobody knows the moment
	if wait, _ = policy.RetryAfter(blocked); wait == 0 {
		wait = step / 2
	}
	wait = max(wait, time.Millisecond) // never a hot loop, whatever the gate says
	if wait > limit {
		return 0, blocked
	}
	if r.jitter != noJitter {
		wait = r.uniform(wait, wait+min(step, limit-wait))
	}
	if !r.pay(c) {
		return 0, ErrBudget
	}
	return wait, nil
}
