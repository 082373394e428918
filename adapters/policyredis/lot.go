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
	takenAt time.Duration // the first of it, if it was taken several times
	filling bool          // an attempt is asking for more
	timer   *time.Timer   // that looks after it; nil when there is none
	refusal refusal       // the last one by Redis
}

// refusal is repeated for a while without asking.
type refusal struct {
	amount     int64         // this much is refused, and more; 0: nothing is
	due        time.Duration // when the amount would be there
	until      time.Duration // when Redis is asked again
	generation uint64        // of the configuration that it was for
}

func (l *lot) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.amount == 0 && l.timer == nil && !l.filling
}

// admitByLot admits from the lot. One attempt at a time fills it up again; the others ask for themselves meanwhile, so that
// nobody waits for somebody else's round trip.
func (c *core) admitByLot(ctx context.Context, cfg *config, p purchase) (_ policy.Ticket, paid bool, _ error) {
	b := p.bucket
	d := b.lot.take(p.start, p.rest(), int64(cfg.lotSize)*cfg.unit, cfg.generation)
	switch {
	case d.admitted:
		return c.admitted(cfg, p, max(0, int64(p.start-d.takenAt)))
	case d.refused:
		return c.refuse(cfg, ratelimit.ErrLimited, d.due)
	}
	q := cfg.takeUpToQuestion(p.rest(), p.rest()+d.fill)
	if d.fill > 0 {
		defer b.lot.filled()
	}
	a, err := c.ask(ctx, cfg, request{question: q, keys: p.keys, args: q.arguments(), bucket: b})
	switch {
	case err != nil:
		return c.withoutStore(ctx, cfg, p, err)
	case a.wait > 0:
		now := c.clock.Elapsed()
		due := now + time.Duration(a.wait)
		b.lot.refuse(refusal{amount: p.rest(), due: due, until: min(due, now+cfg.lotKeep), generation: cfg.generation})
		return c.refuse(cfg, ratelimit.ErrLimited, due)
	}
	if more := q.takes(a.debt) - p.rest(); more > 0 {
		c.fill(b, more, p.start, cfg.lotKeep)
	}
	return c.admitted(cfg, p, 0)
}

// decision is what a lot says to an attempt. If it neither admits nor refuses it, the attempt asks Redis.
type decision struct {
	admitted bool
	takenAt  time.Duration // when what it gives was taken from Redis

	refused bool
	due     time.Duration // when that would be there

	fill int64 // the attempt is to ask for so much more, and fill the lot with it
}

// take takes amount from the lot, which holds at most so much: it can be more when the limit was another one before.
func (l *lot) take(now time.Duration, amount, most int64, generation uint64) decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.amount = min(l.amount, most)
	if l.amount >= amount {
		l.amount -= amount
		return decision{admitted: true, takenAt: l.takenAt}
	}
	if r := l.refusal; r.amount > 0 && r.generation == generation && amount >= r.amount && now < r.until {
		return decision{refused: true, due: r.due + time.Duration(amount-r.amount)}
	}
	l.refusal = refusal{}
	fill := most - l.amount
	if l.filling || fill == 0 {
		return decision{}
	}
	l.filling = true
	return decision{fill: fill}
}

func (l *lot) filled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filling = false
}

func (l *lot) refuse(r refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusal = r
}

// fill adds what was taken to the lot, and looks after it in time.
func (c *core) fill(b *bucket, amount int64, takenAt, keep time.Duration) {
	l := &b.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.amount == 0 || takenAt < l.takenAt {
		l.takenAt = takenAt
	}
	l.amount += amount
	l.refusal = refusal{}
	if l.timer == nil {
		l.timer = time.AfterFunc(keep, func() {
			// Drain either finds the lot or waits for this call.
			c.store.places.expect(func() { c.returnLot(context.Background(), b) })
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
	q := cfg.giveBackQuestion(amount)
	b.account.returned(amount) // what the process knows of the debt is no longer true
	_, _ = c.ask(ctx, cfg, request{question: q, keys: []string{b.key, b.key + rand.Text()}, args: q.arguments(), bucket: b})
}
