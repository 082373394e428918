package policygrpc

import (
	"context"
	"sync"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

// followUps says when the next attempt of a hedged call may follow, by what servers have said; see gRPC proposal A6.
// The zero value lets attempts follow at any time. A server can ask for none at all, or name a moment: then one attempt
// follows at that moment, and others follow it after the hedging delay, or at once when one has failed.
type followUps struct {
	mu        sync.Mutex
	none      bool          // a server has asked for no further attempt
	stopping  chan struct{} // closed when none becomes true; nil as long as no attempt waits
	notBefore time.Time     // when the next attempt may follow; zero for at any time
	spacing   bool          // notBefore is the hedging delay after an attempt, and not what a server has named
}

// failed notes what the server has said with a failure.
func (u *followUps) failed(f *failure) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case f.pushback == pushbackStop && !u.none:
		u.none = true
		if u.stopping != nil {
			close(u.stopping)
		}
	case f.pushback == pushbackWait:
		u.notBefore, u.spacing = f.until, false
	case u.spacing: // the next attempt follows a failure at once
		u.notBefore, u.spacing = time.Time{}, false
	}
}

// followUp is the answer to an attempt that wants to follow: now, never, or else not yet.
type followUp struct {
	now, never bool

	// Not yet: it has to ask again at notBefore, or when stopping is closed.
	notBefore time.Time
	stopping  <-chan struct{}
}

// next answers an attempt that wants to follow. If it may, and servers have asked to wait before, the one after it has
// to wait for the hedging delay.
func (u *followUps) next(delay time.Duration) followUp {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	switch {
	case u.none:
		return followUp{never: true}
	case u.notBefore.IsZero():
		return followUp{now: true}
	case !now.Before(u.notBefore):
		u.notBefore, u.spacing = now.Add(delay), true
		return followUp{now: true}
	}
	if u.stopping == nil {
		u.stopping = make(chan struct{})
	}
	return followUp{notBefore: u.notBefore, stopping: u.stopping}
}

// pushbackGuard keeps the further attempts of a hedged call back until they may follow. It has no state: the call has
// it.
type pushbackGuard struct{ delay time.Duration } // between attempts, of the hedging policy

var _ policy.Guard = (*pushbackGuard)(nil)

// maxPushback is the longest wait that is heeded, as for retries; see [retry.MaxRetryAfter].
const maxPushback = 30 * time.Second

// Stage returns a stage just inside the hedge.
func (*pushbackGuard) Stage() policy.Stage { return policy.StageHedge + 1 }

// Admit waits until the attempt may follow, or refuses it.
func (g *pushbackGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	c := callOf(ctx)
	if c == nil || hedge.Attempt(ctx) == 1 {
		return ctx, policy.Ticket{}, nil
	}
	for { // meanwhile other attempts may end, and their servers ask for more
		next := c.followUps.next(g.delay)
		wait := time.Until(next.notBefore)
		switch {
		case next.now:
			return ctx, policy.Ticket{}, nil
		case next.never:
			return nil, policy.Ticket{}, &policy.Rejection{Kind: "pushback", Reason: ErrPushback}
		case wait > maxPushback:
			return nil, policy.Ticket{}, &policy.Rejection{Kind: "pushback", Reason: ErrPushback, Until: next.notBefore}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-next.stopping:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil, policy.Ticket{}, policy.ContextError(ctx)
		}
	}
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
