package engine

import (
	"context"
	"errors"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// decide asks the repeater of n what follows a failed attempt, and waits if it says so. It returns the last decision;
// Again means that the next attempt is due now. refused says that the call ends because a gate refuses.
func (n *node) decide(ctx context.Context, ended policy.Attempt, t *trace) (decision policy.Decision, refused bool) {
	ended.Blocked = ready(ctx, n.gates)
	kind := policy.EventRetry
	for {
		over := ctx.Err() != nil
		decision = n.repeater.Next(ctx, ended)
		if over || !decision.Again {
			decision.Again = false
			t.stopped(ctx, n.repeater, ended, decision)
			refused = ended.Blocked != nil && decision.Err != nil && errors.Is(decision.Err, ended.Blocked)
			return decision, refused
		}
		t.again(ctx, kind, n.repeater, ended, decision)
		if decision.Wait > 0 {
			sleep(ctx, decision.Wait)
		}
		ended.Blocked = nil
		if ctx.Err() == nil {
			if decision.Wait > 0 {
				ended.Blocked = ready(ctx, n.gates)
			}
			if ended.Blocked == nil {
				return decision, false
			}
		}
		kind = policy.EventWait
		ended.State = decision.State
		ended.Waited += max(0, decision.Wait)
	}
}

// ready returns the first rejection of gates, nil if there is none.
func ready(ctx context.Context, gates []policy.Gate) error {
	for _, gate := range gates {
		if err := gate.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
