package policyredis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/breaker"
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

	changing sync.Mutex // held while the configuration changes

	many bool // keys: what is wrong with one of them says nothing about the store
}

// counts is what has happened so far.
type counts struct {
	admitted, rejected, shadowRejected, returned atomic.Uint64
	fellBack                                     atomic.Uint64 // decisions that the store did not make
	forgotten                                    atomic.Uint64
}

func (c *core) start(cl client, cfg *config) {
	c.store = newStore(cl, cfg.probe, c.record)
	c.course.name, c.course.since = cfg.name, time.Now()
	c.watch = stopwatch.Start()
	c.apply(cfg)
}

func (c *core) apply(cfg *config) {
	c.config.Store(cfg)
	c.shadow.Store(cfg.shadow)
	c.course.set(cfg.failure, cfg.onChange)
}

// reconfigure makes a configuration the present one, as [configure] does of it.
func (c *core) reconfigure(perSecond float64, burst int, options []Option, check func(*config, *policy.ConfigError)) error {
	if err := c.change(perSecond, burst, options, check); err != nil {
		return err
	}
	c.course.deliver() // listeners may change the configuration, too
	return nil
}

func (c *core) change(perSecond float64, burst int, options []Option, check func(*config, *policy.ConfigError)) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	old := c.config.Load()
	cfg, err := configure(old, perSecond, burst, options, check)
	if err == nil {
		err = c.store.gate.Reconfigure(gate(cfg.probe)...)
	}
	if err != nil {
		return err
	}
	if cfg.probe < old.probe && c.store.gate.State() == breaker.Open {
		c.store.gate.Trip() // or it would stay open until its old end
	}
	c.moved.Store(true)
	c.apply(cfg)
	return nil
}

// current returns the configuration in force. It panics for the zero value.
func (c *core) current(constructor string) *config {
	cfg := c.config.Load()
	if cfg == nil {
		panic("policyredis: make it with " + constructor)
	}
	return cfg
}

// What an attempt took is in its ticket. Number is the amount, in nanoseconds of the shared bucket, or less when a part of it
// is worth nothing any more, and Start is when. Period has the generation of the configuration above these bits.
const (
	charged    = 1 << iota // the local bucket
	fromStore              // from Redis, or from what was taken there before
	inOverflow             // in the bucket of keys for which there was no place then
	ticketBits = iota
)

// admit decides about an attempt. keys is what the bucket is called in Redis.
func (c *core) admit(ctx context.Context, cfg *config, b *bucket, keys []string, cost int) (policy.Ticket, error) {
	if err := ended(ctx); err != nil {
		return policy.Ticket{}, err // a client that does not look would take tokens for it
	}
	switch {
	case cost < 0 || cost > cfg.burst:
		return c.refuse(cfg, ratelimit.ErrCost, 0)
	case cost == 0:
		c.counts.admitted.Add(1)
		return policy.Ticket{}, nil
	}
	start := c.watch.Elapsed()
	amount := int64(cost) * cfg.unit
	if b.shared {
		return c.admitByStore(ctx, cfg, b, keys, purchase{start: start, amount: amount})
	}
	p := purchase{start: start, amount: amount}
	if p.found = b.account.spend(start, amount, cfg.generation); p.found == amount {
		return c.admitted(cfg, b, p, 0), nil
	}
	ticket, err := c.admitBeyondRefunds(ctx, cfg, b, keys, p)
	if err != nil || ticket.Period&fromStore == 0 {
		b.account.giveBack(c.watch.Elapsed(), start+time.Duration(p.found), cfg.generation)
	}
	return ticket, err
}

// purchase is what an attempt takes.
type purchase struct {
	start  time.Duration // a moment before it does
	amount int64
	found  int64 // of that, in what others did not use
}

func (c *core) admitBeyondRefunds(ctx context.Context, cfg *config, b *bucket, keys []string, p purchase) (policy.Ticket, error) {
	if cfg.lot > 0 {
		return c.admitByLot(ctx, cfg, b, p)
	}
	return c.admitByStore(ctx, cfg, b, keys, p)
}

// admitByStore asks for what was not found.
func (c *core) admitByStore(ctx context.Context, cfg *config, b *bucket, keys []string, p purchase) (policy.Ticket, error) {
	q, args := cfg.one, cfg.oneArgs
	if p.amount-p.found != cfg.unit {
		q = cfg.question(p.amount - p.found)
		args = q.arguments()
	}
	a, err := c.ask(ctx, cfg, request{question: q, keys: keys, args: args, bucket: b})
	switch {
	case err != nil:
		return c.withoutStore(ctx, cfg, b, p, err)
	case a.wait > 0:
		return c.refuse(cfg, ratelimit.ErrLimited, c.watch.Elapsed()+time.Duration(a.wait))
	}
	return c.admitted(cfg, b, p, 0), nil
}

// admitted counts an attempt, and keeps the local bucket warm. lost is how long what it took was in the lot.
func (c *core) admitted(cfg *config, b *bucket, p purchase, lost int64) policy.Ticket {
	c.counts.admitted.Add(1)
	ticket := policy.Ticket{Number: max(0, p.amount-lost), Start: p.start, Period: cfg.generation<<ticketBits | fromStore}
	if b.local.charge(p.start, cfg.local(p.amount), cfg.localCapacity) {
		ticket.Period |= charged
	}
	if b.shared {
		ticket.Period |= inOverflow
	}
	return ticket
}

// ask asks the store.
func (c *core) ask(ctx context.Context, cfg *config, r request) (answer, error) {
	r.known, r.sent = r.bucket.account.known(), c.watch.Elapsed()
	return c.store.ask(ctx, cfg, r)
}

// record notes how a call went, and reports what is wrong.
func (c *core) record(cfg *config, r request, a answer, err error) {
	if err != nil {
		c.reportError(cfg, err)
		if !c.many || !isAboutKey(err) {
			c.course.failed(err)
		}
		return
	}
	if !c.store.unwritten.Load() {
		c.course.answered(cfg.probe)
	}
	if !r.bucket.shared && r.least > 0 { // what goes back twice is answered without looking
		c.checkForgotten(cfg, r, a)
	}
}

// checkForgotten compares what the store has answered with what this process knew when it asked. The debt that it knew of falls
// with time; if less of it is there, the store has lost something.
func (c *core) checkForgotten(cfg *config, r request, a answer) {
	// Clocks of two machines differ a little in their pace, and lots that go back are no loss.
	slack := int64(10*time.Millisecond) + cfg.capacity/1000
	switch {
	case cfg.lot > 0 && cfg.failure != Local:
		slack = cfg.capacity // nobody has said how many processes there are
	case cfg.lot > 0:
		slack += int64(cfg.lot) * cfg.unit * int64(cfg.peers)
	}
	debt := a.debt
	if a.wait == 0 && r.writes() {
		debt += r.takes(a.debt)
	}
	now := c.watch.Elapsed()
	if r.bucket.account.observe(r.sent+time.Duration(debt), r.known, a.debt < int64(r.known-now)-slack) {
		c.counts.forgotten.Add(1)
		c.reportError(cfg, ErrForgotten)
	}
}

// reportError tells OnError.
func (c *core) reportError(cfg *config, err error) {
	if cfg.onError != nil {
		contained(func() { cfg.onError(err) })
	}
}

// withoutStore decides about an attempt that the store has not decided about.
func (c *core) withoutStore(ctx context.Context, cfg *config, b *bucket, p purchase, cause error) (policy.Ticket, error) {
	if err := ended(ctx); err != nil {
		return policy.Ticket{}, err
	}
	c.counts.fellBack.Add(1)
	switch cfg.failure {
	case Open:
		c.counts.admitted.Add(1)
		return policy.Ticket{}, nil
	case Closed:
		var due time.Duration
		if wait, ok := policy.RetryAfter(cause); ok {
			due = c.watch.Elapsed() + wait
		}
		return c.refuse(cfg, ErrStore, due)
	}
	now := c.watch.Elapsed()
	if wait := b.local.take(now, cfg.local(p.amount), cfg.localCapacity); wait > 0 {
		return c.refuse(cfg, ratelimit.ErrLimited, now+time.Duration(wait))
	}
	c.counts.admitted.Add(1)
	ticket := policy.Ticket{Number: p.amount, Start: now, Period: cfg.generation<<ticketBits | charged}
	if b.shared {
		ticket.Period |= inOverflow
	}
	return ticket, nil
}

// refuse refuses, unless the limiter is in shadow. due is when to come back, by the watch, or 0 if there is no such time.
func (c *core) refuse(cfg *config, reason error, due time.Duration) (policy.Ticket, error) {
	if c.shadow.Load() {
		c.counts.shadowRejected.Add(1)
		return policy.Ticket{}, nil
	}
	c.counts.rejected.Add(1)
	rejection := &policy.Rejection{Kind: kind, Name: cfg.name, Reason: reason}
	if due > 0 {
		rejection.Until = c.watch.Time(due)
	}
	return policy.Ticket{}, rejection
}

// giveBack takes the tokens of an attempt back that was never made.
func (c *core) giveBack(cfg *config, b *bucket, ticket policy.Ticket) {
	if ticket.Period == 0 {
		return
	}
	c.counts.returned.Add(1)
	if b.shared != (ticket.Period&inOverflow != 0) {
		return // the key has got a place since, or lost it
	}
	now := c.watch.Elapsed()
	if ticket.Period&charged != 0 && ticket.Period>>ticketBits == cfg.generation { // else it was a part of another share
		b.local.remove(now, ticket.Start, cfg.local(ticket.Number))
	}
	if ticket.Period&fromStore != 0 && !b.shared {
		b.account.giveBack(now, ticket.Start+time.Duration(ticket.Number), ticket.Period>>ticketBits)
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
	a, err := c.ask(ctx, cfg, request{question: q, keys: keys, args: q.arguments(), bucket: b})
	if err != nil {
		if err := ended(ctx); err != nil {
			return level, err
		}
		return level, fmt.Errorf("policyredis: %w: %w", ErrStore, err)
	}
	level.Tokens = max(0, int((cfg.capacity-a.debt)/cfg.unit))
	level.Wait = time.Duration(a.wait)
	level.Full = time.Duration(a.debt)
	return level, nil
}

// Level is what is in a shared bucket at one moment.
type Level struct {
	Tokens int           // how many are in the bucket
	Burst  int           // how many a full bucket holds
	Wait   time.Duration // until an attempt of the cost asked about would be admitted; 0: now
	Full   time.Duration // until the bucket is full, if no more is taken
}

// maxKey is how long a key can be. A longer one is cut, and its hash added. Names made so are longer than those of other keys.
const maxKey = 128

// redisKey returns what a key is called in Redis. Keys come from outside: they are as long as that, and no two have the same
// name. What is between the first braces of a name decides about the node of a cluster, unless there is nothing: a key for
// which that would be so is hashed too.
func redisKey(prefix, key string) string {
	if key == "" || len(key) > maxKey || key[0] == '}' {
		sum := sha256.Sum256([]byte(key))
		head := maxKey + 1 - 2*len(sum)
		key = strings.ReplaceAll((key + strings.Repeat("-", head))[:head], "}", "-") + hex.EncodeToString(sum[:])
	}
	return prefix + ":{" + key + "}"
}
