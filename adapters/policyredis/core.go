package policyredis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// kind is the kind of policy in rejections and reports: to those who look at it, it is a rate limiter.
const kind = "rate limiter"

// core is what a [Limiter] and a [PerKey] have in common: everything but which key.
type core struct {
	config atomic.Pointer[config] // nil only in the zero value
	shadow atomic.Bool
	moved  atomic.Bool // changed by hand: a new limiter would be another one
	store  *store
	course course
	watch  stopwatch.Stopwatch
	counts counts
	many   bool // keys: what is wrong with one of them says nothing about the store
}

// counts is what has happened so far.
type counts struct {
	admitted, rejected, shadowRejected, returned atomic.Uint64
	fellBack                                     atomic.Uint64 // decisions that the store did not make
	forgotten                                    atomic.Uint64
}

func (c *core) start(cl client, cfg *config) {
	c.store = newStore(cl, cfg.probe)
	c.course.since = time.Now()
	c.watch = stopwatch.Start()
	c.apply(cfg)
}

func (c *core) apply(cfg *config) {
	c.config.Store(cfg)
	c.shadow.Store(cfg.shadow)
	c.course.mu.Lock()
	c.course.listeners = cfg.onChange
	c.course.mu.Unlock()
}

// reconfigure makes a checked configuration the present one.
func (c *core) reconfigure(cfg *config) error {
	if err := c.store.gate.Reconfigure(gate(cfg.probe)...); err != nil {
		return err
	}
	c.moved.Store(true)
	c.apply(cfg)
	c.course.set(cfg.name, cfg.failure)
	return nil
}

// made returns the configuration, and panics for the zero value.
func (c *core) made(constructor string) *config {
	cfg := c.config.Load()
	if cfg == nil {
		panic("policyredis: make it with " + constructor)
	}
	return cfg
}

// A ticket's Number is the amount that an attempt took, in nanoseconds of the shared bucket, and its Start when that is worth
// nothing any more; see worth. Its Period has the same for the local bucket, above the bits that say where the tokens came
// from.
const (
	fromNobody = iota
	fromStore
	fromShare
	fromBits = 2
)

// admit decides about an attempt. keys is what the bucket is called in Redis.
func (c *core) admit(ctx context.Context, cfg *config, b *bucket, keys []string, cost int) (policy.Ticket, error) {
	switch {
	case cost < 0 || cost > cfg.burst:
		return c.refuse(cfg, ratelimit.ErrCost, time.Time{})
	case cost == 0:
		c.counts.admitted.Add(1)
		return policy.Ticket{}, nil
	}
	start := c.watch.Elapsed()
	if cfg.lot > 0 && !b.shared {
		return c.admitByLot(ctx, cfg, b, cost, start)
	}
	amount := int64(cost) * cfg.unit
	q, args := cfg.one, cfg.oneArgs
	if !b.shared {
		if found := b.pocket.spend(start, amount); found > 0 {
			if found == amount {
				return c.admitted(cfg, b, amount, 0, start), nil
			}
			q = cfg.question(amount - found)
			args = nil
		}
	}
	if args == nil || cost != 1 {
		if args != nil {
			q = cfg.question(amount)
		}
		args = q.arguments()
	}
	a, err := c.ask(ctx, cfg, b, keys, q, args)
	switch {
	case err != nil:
		return c.withoutStore(ctx, cfg, b, cost, err)
	case a.wait > 0:
		if !b.shared && amount > q.least { // the store has refused the rest: what was found stays
			found := amount - q.least
			now := c.watch.Elapsed()
			b.pocket.add(now, worth(now, start+time.Duration(found), found))
		}
		return c.refuse(cfg, ratelimit.ErrLimited, time.Now().Add(time.Duration(a.wait)))
	}
	return c.admitted(cfg, b, amount, q.least, start), nil
}

// admitted counts an attempt for which amount was taken, of it fresh from the store, and keeps the local bucket warm. start is
// a moment before that.
func (c *core) admitted(cfg *config, b *bucket, amount, fresh int64, start time.Duration) policy.Ticket {
	c.counts.admitted.Add(1)
	local := b.local.charge(start, amount*int64(cfg.peers), cfg.localCapacity)
	ticket := policy.Ticket{Number: amount, Period: uint64(local)<<fromBits | fromStore}
	if !b.shared {
		ticket.Start = b.own.add(start, fresh)
	}
	return ticket
}

// ask asks the store and notes how that went.
func (c *core) ask(ctx context.Context, cfg *config, b *bucket, keys []string, q question, args []any) (answer, error) {
	known, sent := b.known.Load(), c.watch.Elapsed()
	a, err := c.store.ask(ctx, cfg.deadline, cfg.trusted, keys, q, args)
	switch {
	case err == nil:
		c.course.answered(cfg.name, cfg.probe)
		c.remember(cfg, b, q, a, known, sent)
	case !errors.Is(err, policy.ErrRejected) && ended(ctx) == nil:
		c.tell(cfg, err)
		if !c.many || !isAnswer(err) {
			c.course.failed(cfg.name, cfg.failure, err)
		}
	}
	return a, err
}

// remember compares what the store has answered with what this process knew when it asked. The debt that it knew of falls with
// time; if less of it is there, the store has lost something.
func (c *core) remember(cfg *config, b *bucket, q question, a answer, known int64, sent time.Duration) {
	if b.shared {
		return
	}
	// Clocks of two machines differ a little in their pace, and lots that go back are no loss.
	slack := int64(10*time.Millisecond) + cfg.capacity/1000
	if lots := int64(cfg.lot) * cfg.unit * int64(cfg.peers); lots > 0 {
		slack += lots
	}
	now := int64(c.watch.Elapsed())
	debt := a.debt
	if a.wait == 0 && q.most != 0 {
		debt += q.takes(a.debt)
	}
	paid := int64(sent) + debt // at the earliest
	if a.debt < known-now-slack {
		if b.known.CompareAndSwap(known, paid) {
			c.counts.forgotten.Add(1)
			c.tell(cfg, ErrForgotten)
		}
		return
	}
	for {
		before := b.known.Load()
		if paid <= before || b.known.CompareAndSwap(before, paid) {
			return
		}
	}
}

// tell tells OnError.
func (c *core) tell(cfg *config, err error) {
	if cfg.onError != nil {
		contained(func() { cfg.onError(err) })
	}
}

// withoutStore decides about an attempt that the store has not decided about.
func (c *core) withoutStore(ctx context.Context, cfg *config, b *bucket, cost int, cause error) (policy.Ticket, error) {
	if err := ended(ctx); err != nil {
		return policy.Ticket{}, err
	}
	c.counts.fellBack.Add(1)
	switch cfg.failure {
	case Open:
		c.counts.admitted.Add(1)
		return policy.Ticket{}, nil
	case Closed:
		var until time.Time
		if wait, ok := policy.RetryAfter(cause); ok {
			until = time.Now().Add(wait)
		}
		return c.refuse(cfg, ErrStore, until)
	}
	now := c.watch.Elapsed()
	wait, until := b.local.take(now, int64(cost)*cfg.localUnit, cfg.localCapacity)
	if wait > 0 {
		return c.refuse(cfg, ratelimit.ErrLimited, c.watch.Time(now+time.Duration(wait)))
	}
	c.counts.admitted.Add(1)
	return policy.Ticket{Number: int64(cost) * cfg.unit, Period: uint64(until)<<fromBits | fromShare}, nil
}

// refuse refuses, unless the limiter is in shadow.
func (c *core) refuse(cfg *config, reason error, until time.Time) (policy.Ticket, error) {
	if c.shadow.Load() {
		c.counts.shadowRejected.Add(1)
		return policy.Ticket{}, nil
	}
	c.counts.rejected.Add(1)
	return policy.Ticket{}, &policy.Rejection{Kind: kind, Name: cfg.name, Reason: reason, Until: until}
}

// giveBack takes the tokens of an attempt back that was never made.
func (c *core) giveBack(cfg *config, b *bucket, ticket policy.Ticket) {
	source := ticket.Period & (1<<fromBits - 1)
	if source == fromNobody {
		return
	}
	c.counts.returned.Add(1)
	now, amount := c.watch.Elapsed(), ticket.Number
	b.local.remove(now, time.Duration(ticket.Period>>fromBits), amount*int64(cfg.peers))
	switch {
	case source == fromShare || b.shared:
	case cfg.lot > 0:
		b.lot.put(amount/cfg.unit, int64(cfg.lot))
	default:
		b.pocket.add(now, worth(now, ticket.Start, amount))
	}
}

// peek asks what an attempt of a cost would get now, and writes nothing.
func (c *core) peek(ctx context.Context, cfg *config, b *bucket, keys []string, cost int) (Level, error) {
	if err := ended(ctx); err != nil {
		return Level{}, err
	}
	level := Level{Burst: cfg.burst}
	if cost < 0 || cost > cfg.burst {
		return level, &policy.Rejection{Kind: kind, Name: cfg.name, Reason: ratelimit.ErrCost}
	}
	q := cfg.question(int64(cost) * cfg.unit)
	q.most = 0
	a, err := c.ask(ctx, cfg, b, keys, q, q.arguments())
	if err != nil {
		return level, err
	}
	level.Tokens = max(0, int((cfg.capacity-a.debt)/cfg.unit))
	level.Wait = time.Duration(a.wait)
	level.Full = time.Duration(a.debt)
	return level, nil
}

// Level is what is in a shared bucket at one moment.
type Level struct {
	Tokens int           // that are there
	Burst  int           // that would be there if it were full
	Wait   time.Duration // until an attempt of the cost asked about would be admitted; 0: now
	Full   time.Duration // until the bucket is full, if no more is taken
}

// maxKey is how long a key can be. A longer one is cut, and its hash added.
const maxKey = 128

// redisKey returns what a key is called in Redis. Names of keys come from outside: they are as long as that, and no shorter
// key has the name of a longer one.
func redisKey(prefix, key string) string {
	if len(key) > maxKey {
		sum := sha256.Sum256([]byte(key))
		key = key[:maxKey-2*len(sum)+1] + hex.EncodeToString(sum[:])
	}
	var name strings.Builder
	name.Grow(len(prefix) + len(key) + 3)
	name.WriteString(prefix)
	name.WriteString(":{")
	name.WriteString(key)
	name.WriteString("}")
	return name.String()
}
