package engine

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// decide asks the repeater of n what follows a failed attempt, and waits if it says so. It returns the last decision;
// Again means that the next attempt is due now. refused says that the call ends because a gate refuses.
func (n *node) decide(ctx context.Context, ended *policy.Attempt, t *trace) (decision policy.Decision, refused bool) {
	ended.Blocked = n.gates.ready(ctx)
	kind := policy.EventRetry
	for {
		over := ctx.Err() != nil
		decision = n.repeater.Next(ctx, *ended)
		if over || !decision.Again {
			decision.Again = false
			t.stopped(ctx, n.repeater, ended, decision)
			refused = ended.Blocked != nil && decision.Err != nil && match.Is(decision.Err, policy.ErrRejected)
			return decision, refused
		}
		t.again(ctx, kind, n.repeater, ended, decision)
		// A repeater that waits for a gate to recover knows that it is closed, and need not be told.
		watch := ended.Blocked == nil
		ended.Blocked = nil
		var slept time.Duration
		if decision.Wait > 0 {
			slept, ended.Blocked = n.gates.sleep(ctx, decision.Wait, watch)
		}
		if ctx.Err() == nil && ended.Blocked == nil {
			if decision.Wait > 0 {
				ended.Blocked = n.gates.ready(ctx)
			}
			if ended.Blocked == nil {
				return decision, false
			}
		}
		kind = policy.EventWait
		ended.State = decision.State
		ended.Waited += max(1, slept) // above 0 even if there was no wait: this is how Next knows that it is asked again
	}
}
