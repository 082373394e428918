package policyredis

import (
	"context"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// purchase is what an attempt is to take from the shared bucket.
type purchase struct {
	target
	start    moment // before anything is taken
	amount   amount
	refunded amount // the part of it that refunds pay
}

// rest returns what refunds do not pay.
func (p *purchase) rest() amount { return p.amount - p.refunded }

// verdict says what the shared bucket has decided about a purchase.
type verdict struct {
	kind verdictKind
	age  amount // granted: for how long the tokens were in the lot
	due  moment // refused: when they would be there
	err  error  // undecided: why the store has not decided
}

type verdictKind uint8

const (
	undecided verdictKind = iota
	granted
	refused
)

// admit decides about an attempt.
func (c *core) admit(ctx context.Context, cfg *config, t target, cost int) (policy.Ticket, error) {
	if err := policy.ContextError(ctx); err != nil {
		return policy.Ticket{}, err // a client that does not look would take tokens for it
	}
	switch {
	case cost < 0 || cost > cfg.burst:
		return c.refuse(cfg, ratelimit.ErrCost, 0)
	case cost == 0:
		return c.admitFree()
	}
	p := &purchase{target: t, start: c.now(), amount: cfg.quota.amountOf(cost)}
	p.refunded = t.bucket.account.spend(p.start, p.amount, cfg.generation)
	v := c.decide(ctx, cfg, p)
	if v.kind != granted {
		t.bucket.account.giveBack(c.now(), p.start.plus(p.refunded), cfg.generation) // the refunds are not used either
	}
	switch v.kind {
	case granted:
		// The share is charged, too: no process begins an outage with a full burst.
		fromShare := t.bucket.share.charge(p.start, p.amount, cfg.quota.portion)
		return c.admitWith(cfg, t, receipt{amount: p.amount, takenAt: p.start, age: v.age, fromRedis: true, fromShare: fromShare})
	case refused:
		return c.refuse(cfg, ratelimit.ErrLimited, v.due)
	default:
		return c.withoutStore(ctx, cfg, p, v.err)
	}
}

// decide asks the shared bucket: the refunds of this process, its lot, or the store.
func (c *core) decide(ctx context.Context, cfg *config, p *purchase) verdict {
	switch {
	case p.rest() == 0:
		return verdict{kind: granted}
	case cfg.lotSize > 0 && !p.bucket.overflow:
		return c.askLot(ctx, cfg, p)
	}
	v, _ := c.askStore(ctx, cfg, p, 0)
	return v
}

// askStore asks the store for what refunds do not pay. If that is granted, it takes up to extra as well, as much as there is.
func (c *core) askStore(ctx context.Context, cfg *config, p *purchase, extra amount) (_ verdict, got amount) {
	a, err := c.ask(ctx, cfg, p.target, cfg.quota.takeUpToQuestion(p.rest(), p.rest()+extra))
	switch {
	case err != nil:
		return verdict{err: err}, 0
	case a.wait > 0:
		return verdict{kind: refused, due: c.now().plus(a.wait)}, 0
	}
	return verdict{kind: granted}, a.taken - p.rest()
}

// withoutStore decides about an attempt that the store has not decided about.
func (c *core) withoutStore(ctx context.Context, cfg *config, p *purchase, cause error) (policy.Ticket, error) {
	if err := policy.ContextError(ctx); err != nil {
		return policy.Ticket{}, err
	}
	c.counts.fellBack.Add(1)
	switch cfg.failureMode {
	case Open:
		return c.admitFree()
	case Closed:
		var due moment
		if wait, ok := policy.RetryAfter(cause); ok {
			due = c.now().plus(amount(wait))
		}
		return c.refuse(cfg, ErrStore, due)
	}
	now := c.now()
	if wait := p.bucket.share.take(now, p.amount, cfg.quota.portion); wait > 0 {
		return c.refuse(cfg, ratelimit.ErrLimited, now.plus(wait))
	}
	return c.admitWith(cfg, p.target, receipt{amount: p.amount, takenAt: now, fromShare: true})
}

// admitFree admits an attempt that takes nothing.
func (c *core) admitFree() (policy.Ticket, error) {
	c.counts.admitted.Add(1)
	return policy.Ticket{}, nil
}

// admitWith admits an attempt that has taken what its receipt says.
func (c *core) admitWith(cfg *config, t target, r receipt) (policy.Ticket, error) {
	c.counts.admitted.Add(1)
	r.generation, r.overflow = cfg.generation, t.bucket.overflow
	return r.ticket(), nil
}

// refuse refuses, unless the limiter is in shadow. due is when to come back, or 0 if there is no such time.
func (c *core) refuse(cfg *config, reason error, due moment) (policy.Ticket, error) {
	if c.shadow.Load() {
		c.counts.shadowRejected.Add(1)
		return policy.Ticket{}, nil
	}
	c.counts.rejected.Add(1)
	rejection := &policy.Rejection{Kind: kind, Name: cfg.name, Reason: reason}
	if due > 0 {
		rejection.Until = c.wallTime(due)
	}
	return policy.Ticket{}, rejection
}

// giveBack takes the tokens of an attempt back that was never made.
func (c *core) giveBack(cfg *config, b *bucket, ticket policy.Ticket) {
	r, ok := receiptOf(ticket)
	if !ok {
		return
	}
	c.counts.returned.Add(1)
	if r.overflow != b.overflow {
		return // the key has got a place since, or lost it
	}
	now := c.now()
	if r.fromShare && r.generation == cfg.generation { // else it was a part of another share
		b.share.giveBack(now, r.takenAt, r.amount, cfg.quota.portion)
	}
	if r.fromRedis && !b.overflow {
		b.account.giveBack(now, r.takenAt.plus(r.amount-r.age), r.generation)
	}
}
