package policygrpc

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

// pushbackGuard keeps the extra attempts of a hedged call back as long as the server of another attempt asks for; see
// gRPC proposal A6. It keeps nothing itself: the call knows.
type pushbackGuard struct{ _ byte } // not of size 0: layers are told apart by their address

var _ policy.Guard = (*pushbackGuard)(nil)

// Stage returns a stage just inside the hedge.
func (*pushbackGuard) Stage() policy.Stage { return policy.StageHedge + 1 }

// Admit waits until the moment that the server has asked for, and refuses if it has asked for no further attempt.
func (*pushbackGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	c := callOf(ctx)
	if c == nil || hedge.Attempt(ctx) == 1 {
		return ctx, policy.Ticket{}, nil
	}
	stopped, until := c.pushedBack()
	if stopped {
		return nil, policy.Ticket{}, &policy.Rejection{Kind: "pushback", Reason: ErrPushback}
	}
	if wait := time.Until(until); wait > 0 {
		if wait > defaultMost {
			return nil, policy.Ticket{}, &policy.Rejection{Kind: "pushback", Reason: ErrPushback, Until: until}
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, policy.Ticket{}, policy.ContextError(ctx)
		}
	}
	return ctx, policy.Ticket{}, nil
}

// Settle does nothing.
func (*pushbackGuard) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// Idle returns true: there is nothing to forget.
func (*pushbackGuard) Idle() bool { return true }

// Report says that it is there.
func (*pushbackGuard) Report() policy.Report {
	return policy.Report{Kind: "pushback", Stage: policy.StageHedge + 1}
}

func (*pushbackGuard) String() string { return "pushback" }
