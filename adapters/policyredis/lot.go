package policyredis

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// admitByLot admits from the lot. One attempt at a time fills it up again; the others ask for themselves meanwhile, so that
// nobody waits for somebody else's round trip.
func (c *core) admitByLot(ctx context.Context, cfg *config, b *bucket, cost int, now time.Duration) (policy.Ticket, error) {
	fill, wait, ok := b.lot.take(now, int64(cost))
	switch {
	case ok:
		return c.admitted(cfg, b, int64(cost)*cfg.unit, 0, now), nil
	case wait > 0:
		return c.refuse(cfg, ratelimit.ErrLimited, c.watch.Time(now+wait))
	}
	q := cfg.question(int64(cost) * cfg.unit)
	if fill {
		q.most += int64(cfg.lot) * cfg.unit
		defer b.lot.filled()
	}
	a, err := c.ask(ctx, cfg, b, b.keys, q, q.arguments())
	switch {
	case err != nil:
		return c.withoutStore(ctx, cfg, b, cost, err)
	case a.wait > 0:
		heard := c.watch.Elapsed()
		b.lot.refuse(int64(cost), heard+min(time.Duration(a.wait), cfg.keep))
		return c.refuse(cfg, ratelimit.ErrLimited, c.watch.Time(heard+time.Duration(a.wait)))
	}
	if more := q.takes(a.debt)/cfg.unit - int64(cost); more > 0 {
		c.fill(b, more, cfg.keep)
	}
	return c.admitted(cfg, b, int64(cost)*cfg.unit, 0, now), nil
}

// take takes tokens from the lot. If they are not there it says whether to fill the lot, or how long an attempt of this cost
// is refused without asking.
func (l *lot) take(now time.Duration, cost int64) (fill bool, wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.tokens >= cost:
		l.tokens -= cost
		return false, 0, true
	case l.refused > 0 && cost >= l.refused && now < l.refusedTill:
		return false, l.refusedTill - now, false
	}
	l.refused = 0
	fill = !l.filling
	l.filling = true
	return fill, 0, false
}

func (l *lot) filled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filling = false
}

func (l *lot) refuse(cost int64, till time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused, l.refusedTill = cost, till
}

// put gives tokens back that an attempt did not use. What is more than a lot is lost.
func (l *lot) put(tokens, most int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = max(l.tokens, min(l.tokens+tokens, most))
	l.refused = 0
}

// fill adds tokens to the lot, and looks after it in time.
func (c *core) fill(b *bucket, tokens int64, keep time.Duration) {
	l := &b.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens += tokens
	l.refused = 0
	if l.timer == nil {
		l.timer = time.AfterFunc(keep, func() { c.returnLot(context.Background(), b) })
	}
}

// returnLot gives what is left of a lot back to the store, as far as debt is there. If that fails it is lost, which errs on the
// safe side.
func (c *core) returnLot(ctx context.Context, b *bucket) {
	l := &b.lot
	l.mu.Lock()
	tokens := l.tokens
	l.tokens = 0
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.mu.Unlock()
	if tokens == 0 {
		return
	}
	cfg := c.config.Load()
	q := cfg.question(-tokens * cfg.unit)
	// What the process knows of the debt is no longer true.
	b.known.Add(-tokens * cfg.unit)
	_, _ = c.store.ask(ctx, cfg.deadline, cfg.trusted, b.keys, q, q.arguments())
}
