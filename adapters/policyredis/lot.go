package policyredis

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// lot is what was taken from Redis at once, for attempts to come, in nanoseconds.
type lot struct {
	mu      sync.Mutex
	amount  int64
	sent    time.Duration // when it was asked for; the first of it, if that was several times
	filling bool          // somebody asks for more
	timer   *time.Timer   // that looks after it; nil when there is none

	refused int64         // an amount that was refused, 0 for none
	due     time.Duration // when it would be there
	asked   time.Duration // until when it is refused again without asking
}

func (l *lot) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.amount == 0 && l.timer == nil && !l.filling
}

// admitByLot admits from the lot. One attempt at a time fills it up again; the others ask for themselves meanwhile, so that
// nobody waits for somebody else's round trip.
func (c *core) admitByLot(ctx context.Context, cfg *config, b *bucket, p purchase) (policy.Ticket, error) {
	rest := p.amount - p.found
	t := b.lot.take(p.start, rest, int64(cfg.lot)*cfg.unit)
	switch {
	case t.ok:
		return c.admitted(cfg, b, p, max(0, int64(p.start-t.sent))), nil
	case t.due > 0:
		return c.refuse(cfg, ratelimit.ErrLimited, c.watch.Time(t.due))
	}
	q := cfg.question(rest)
	if t.fills {
		q.most += t.fill
		defer b.lot.filled()
	}
	a, err := c.ask(ctx, cfg, request{question: q, keys: b.keys, args: q.arguments(), bucket: b})
	heard := c.watch.Elapsed()
	switch {
	case err != nil:
		return c.withoutStore(ctx, cfg, b, p, err)
	case a.wait > 0:
		due := heard + time.Duration(a.wait)
		b.lot.refuse(rest, due, min(due, heard+cfg.keep))
		return c.refuse(cfg, ratelimit.ErrLimited, c.watch.Time(due))
	}
	if more := q.takes(a.debt) - rest; more > 0 {
		c.fill(b, more, p.start, cfg.keep)
	}
	return c.admitted(cfg, b, p, 0), nil
}

// taken is what a lot gives.
type taken struct {
	ok    bool // all that was asked for
	sent  time.Duration
	due   time.Duration // or: it is refused without asking, and would be there then
	fills bool          // or: whoever asked is to fill the lot
	fill  int64         // with so much
}

// take takes amount from the lot, which holds at most so much: it can be more when the limit was another one before.
func (l *lot) take(now time.Duration, amount, most int64) taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.amount = min(l.amount, most)
	switch {
	case l.amount >= amount:
		l.amount -= amount
		return taken{ok: true, sent: l.sent}
	case l.refused > 0 && amount >= l.refused && now < l.asked:
		return taken{due: l.due + time.Duration(amount-l.refused)}
	}
	l.refused = 0
	if l.filling {
		return taken{}
	}
	l.filling = true
	return taken{fills: true, fill: most - l.amount}
}

func (l *lot) filled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filling = false
}

func (l *lot) refuse(amount int64, due, asked time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused, l.due, l.asked = amount, due, asked
}

// fill adds what was taken to the lot, and looks after it in time.
func (c *core) fill(b *bucket, amount int64, sent, keep time.Duration) {
	l := &b.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.amount == 0 || sent < l.sent {
		l.sent = sent
	}
	l.amount += amount
	l.refused = 0
	if l.timer == nil {
		l.timer = time.AfterFunc(keep, func() {
			c.store.places.expect(func() { c.returnLot(context.Background(), b) }) // who drains finds the lot, or waits for this
		})
	}
}

// returnLot gives what is left of a lot back to the store, as far as debt is there. If that fails it is lost, which errs on the
// safe side. A client may send the script twice, when it does not hear the answer; so what goes back has a name.
func (c *core) returnLot(ctx context.Context, b *bucket) {
	l := &b.lot
	l.mu.Lock()
	amount := l.amount
	l.amount = 0
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.mu.Unlock()
	if amount == 0 {
		return
	}
	cfg := c.config.Load()
	q := cfg.question(-amount)
	b.account.returned(amount) // what the process knows of the debt is no longer true
	_, _ = c.ask(ctx, cfg, request{question: q, keys: []string{b.key, b.key + rand.Text()}, args: q.arguments(), bucket: b})
}
