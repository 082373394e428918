package policyredis

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// lot is what was taken from Redis at once, for attempts to come.
type lot struct {
	mu         sync.Mutex
	amount     amount
	takenAt    moment      // the first of it, if it was taken several times
	restocking bool        // an attempt is asking for more
	timer      *time.Timer // that gives back what is left; nil when nothing is to go back
	refusal    refusal     // the last one by Redis
}

// refusal is repeated for a while without asking.
type refusal struct {
	amount     amount // this much is refused, and more; 0: nothing is
	due        moment // when the amount would be there
	until      moment // when Redis is asked again
	generation uint64 // of the configuration that it was for
}

// holds reports whether an amount is still refused.
func (r *refusal) holds(now moment, wanted amount, generation uint64) bool {
	return r.amount > 0 && wanted >= r.amount && now < r.until && generation == r.generation
}

// askLot asks the lot, and then the store. One attempt at a time restocks the lot; the others ask for themselves meanwhile, so
// that nobody waits for somebody else's round trip.
func (c *core) askLot(ctx context.Context, cfg *config, p *purchase) verdict {
	l := &p.bucket.lot
	v, missing := l.take(p.start, p.rest(), cfg.quota.amountOf(cfg.lotSize), cfg.generation)
	if v.kind != undecided {
		return v
	}
	if missing > 0 {
		defer l.restocked()
	}
	v, got := c.askStore(ctx, cfg, p, missing)
	switch {
	case v.kind == refused:
		until := min(v.due, c.now().plus(amount(cfg.lotKeep)))
		l.refuse(refusal{amount: p.rest(), due: v.due, until: until, generation: cfg.generation})
	case got > 0:
		c.stock(p.bucket, got, p.start, cfg.lotKeep)
	}
	return v
}

// take takes an amount from the lot, or repeats the last refusal. If it is undecided, the attempt asks Redis, also for what is
// missing in the lot, unless that is 0, and then calls restocked.
func (l *lot) take(now moment, wanted, size amount, generation uint64) (_ verdict, missing amount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.amount = min(l.amount, size) // which may have been reduced
	if l.amount >= wanted {
		l.amount -= wanted
		return verdict{kind: granted, age: l.takenAt.until(now)}, 0
	}
	if l.refusal.holds(now, wanted, generation) {
		return verdict{kind: refused, due: l.refusal.due.plus(wanted - l.refusal.amount)}, 0
	}
	l.refusal = refusal{}
	if l.restocking {
		return verdict{}, 0
	}
	missing = size - l.amount
	l.restocking = missing > 0
	return verdict{}, missing
}

// restocked lets another attempt restock the lot.
func (l *lot) restocked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restocking = false
}

// refuse notes a refusal by Redis, which take repeats.
func (l *lot) refuse(r refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusal = r
}

// stock adds to the lot what was taken for it. What is left of the lot goes back after a while.
func (c *core) stock(b *bucket, more amount, takenAt moment, keep time.Duration) {
	l := &b.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.amount == 0 || takenAt < l.takenAt {
		l.takenAt = takenAt
	}
	l.amount += more
	l.refusal = refusal{}
	if l.timer == nil {
		l.timer = time.AfterFunc(keep, func() {
			// Drain either finds the lot or waits for this call.
			c.store.places.announce(func() { c.returnLot(context.Background(), b) })
		})
	}
}

// returnLot gives what is left of a lot back to the store, as far as debt is there. If that fails it is lost, which errs on the
// safe side. A client may send the script twice, when it does not hear the answer; so what goes back has a name.
func (c *core) returnLot(ctx context.Context, b *bucket) {
	rest := b.lot.takeAll()
	if rest == 0 {
		return
	}
	b.account.returned(rest) // what the process knows of the debt is no longer true
	key := b.keys[0]
	cfg := c.config.Load()
	_, _ = c.ask(ctx, cfg, target{keys: []string{key, key + rand.Text()}, bucket: b}, cfg.quota.giveBackQuestion(rest))
}

// takeAll takes what is left, and stops the timer.
func (l *lot) takeAll() amount {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	all := l.amount
	l.amount = 0
	return all
}

// idle reports whether there is nothing in the lot, nor soon will be.
func (l *lot) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.amount == 0 && l.timer == nil && !l.restocking
}
