package policyredis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// Two quantities are told apart by their types, all over the package. An amount is an int64: how many nanoseconds a debt grows by
// it, cost times unit for an attempt. A moment is a time.Duration: by the process's own clock, core.clock. An amount of debt at a
// moment is paid at another moment, moment + time.Duration(amount); so an account keeps its debt as the moment at which that is
// paid, and each refund as that at which it is worth nothing any more. What comes from options, and what callers are told to
// wait, are plain durations.

// kind is the kind of policy in rejections and reports: to those who look at it, it is a rate limiter.
const kind = "rate limiter"

// core is what a [Limiter] and a [PerKey] have in common: everything but which key.
type core struct {
	config  atomic.Pointer[config] // nil only in the zero value
	shadow  atomic.Bool
	changed atomic.Bool // by hand: a new limiter would be another one
	store   *store
	mode    modeSwitch
	clock   stopwatch.Stopwatch
	counts  counts
	perKey  bool // there are many keys: what is wrong with one of them says nothing about the store

	mu sync.Mutex // held by reconfigure
}

// counts is what has happened so far.
type counts struct {
	admitted, rejected, shadowRejected, returned atomic.Uint64
	fellBack                                     atomic.Uint64 // decisions that the store did not make
	forgotten                                    atomic.Uint64
}

func (c *core) start(cl client, cfg *config) {
	c.store = newStore(cl, cfg.probe, c.record)
	c.mode.name, c.mode.since = cfg.name, time.Now()
	c.clock = stopwatch.Start()
	c.apply(cfg)
}

func (c *core) apply(cfg *config) {
	c.config.Store(cfg)
	c.shadow.Store(cfg.shadow)
	c.mode.set(cfg.failure, cfg.onChange)
}

// reconfigure puts another configuration in the place of the present one.
func (c *core) reconfigure(cfg *config, problems *policy.ConfigError) error {
	if err := c.change(cfg, problems); err != nil {
		return err
	}
	c.mode.deliver() // listeners may change the configuration, too
	return nil
}

func (c *core) change(cfg *config, problems *policy.ConfigError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.config.Load()
	cfg.keep(before, problems)
	if err := problems.Err(); err != nil {
		return err
	}
	if err := c.store.breaker.Reconfigure(breakerOptions(cfg.probe)...); err != nil {
		return err
	}
	if cfg.probe < before.probe && c.store.breaker.State() == breaker.Open {
		c.store.breaker.Trip() // or it would stay open until its old end
	}
	c.changed.Store(true)
	c.apply(cfg)
	return nil
}

// steer sets the shadow mode by hand.
func (c *core) steer(shadow bool) {
	c.changed.Store(true)
	c.shadow.Store(shadow)
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
	if err := policy.ContextError(ctx); err != nil {
		return policy.Ticket{}, err // a client that does not look would take tokens for it
	}
	switch {
	case cost < 0 || cost > cfg.burst:
		ticket, _, err := c.refuse(cfg, ratelimit.ErrCost, 0)
		return ticket, err
	case cost == 0:
		c.counts.admitted.Add(1)
		return policy.Ticket{}, nil
	}
	p := purchase{bucket: b, keys: keys, start: c.clock.Elapsed(), amount: int64(cost) * cfg.unit}
	if !b.shared {
		p.refunded = b.account.spend(p.start, p.amount, cfg.generation)
	}
	var ticket policy.Ticket
	var paid bool
	var err error
	switch {
	case p.rest() == 0:
		ticket, paid, err = c.admitted(cfg, p, 0)
	case cfg.lotSize > 0 && !b.shared:
		ticket, paid, err = c.admitByLot(ctx, cfg, p)
	default:
		ticket, paid, err = c.admitByStore(ctx, cfg, p)
	}
	if !paid { // so the refunds were not used either
		b.account.giveBack(c.clock.Elapsed(), p.start+time.Duration(p.refunded), cfg.generation)
	}
	return ticket, err
}

// purchase is what an attempt takes.
type purchase struct {
	bucket   *bucket
	keys     []string      // what the bucket is called in Redis
	start    time.Duration // a moment before the attempt takes it
	amount   int64
	refunded int64 // of the amount, what refunds pay
}

// rest returns what refunds do not pay.
func (p *purchase) rest() int64 { return p.amount - p.refunded }

// admitByStore asks the store for the rest. An attempt has paid if it took tokens of the shared bucket.
func (c *core) admitByStore(ctx context.Context, cfg *config, p purchase) (_ policy.Ticket, paid bool, _ error) {
	q, args := cfg.one, cfg.oneArgs
	if p.rest() != cfg.unit {
		q = cfg.takeQuestion(p.rest())
		args = q.arguments()
	}
	a, err := c.ask(ctx, cfg, request{question: q, keys: p.keys, args: args, bucket: p.bucket})
	switch {
	case err != nil:
		return c.withoutStore(ctx, cfg, p, err)
	case a.wait > 0:
		return c.refuse(cfg, ratelimit.ErrLimited, c.clock.Elapsed()+time.Duration(a.wait))
	}
	return c.admitted(cfg, p, 0)
}

// admitted counts an attempt that takes tokens of the shared bucket, and keeps the local one warm. lost is how long they were in
// the lot.
func (c *core) admitted(cfg *config, p purchase, lost int64) (_ policy.Ticket, paid bool, _ error) {
	from := uint64(fromStore)
	if p.bucket.local.charge(p.start, cfg.local(p.amount), cfg.localCapacity) {
		from |= charged
	}
	return c.ticket(cfg, p.bucket, p.start, max(0, p.amount-lost), from), true, nil
}

// ticket counts an attempt, and returns its ticket.
func (c *core) ticket(cfg *config, b *bucket, start time.Duration, amount int64, from uint64) policy.Ticket {
	c.counts.admitted.Add(1)
	if b.shared {
		from |= inOverflow
	}
	return policy.Ticket{Number: amount, Start: start, Period: cfg.generation<<ticketBits | from}
}

// ask asks the store.
func (c *core) ask(ctx context.Context, cfg *config, r request) (answer, error) {
	r.known, r.sent = r.bucket.account.known(), c.clock.Elapsed()
	return c.store.ask(ctx, cfg, r)
}

// record notes how a call went, and reports what is wrong.
func (c *core) record(cfg *config, r request, a answer, err error) {
	if err != nil {
		c.reportError(cfg, err)
		if !c.perKey || !isAboutKey(err) {
			c.mode.failed(err)
		}
		return
	}
	if !c.store.readOnly.Load() {
		c.mode.answered(cfg.probe)
	}
	if !r.bucket.shared && r.least > 0 { // what goes back twice is answered without looking
		c.checkForgotten(cfg, r, a)
	}
}

// checkForgotten compares what the store has answered with what this process knew when it asked. The debt that it knew of falls
// with time; if less of it is there, the store has lost something.
//
// Say a token takes 100 ms, and the capacity is 1 s, so that slack is 11 ms. At t = 0 an attempt is admitted by a store without
// debt: the process knows of 100 ms. The next attempt asks at t = 30 ms, and the answer is here at t = 32 ms. The store has looked
// before that, so at least 100 - 32 - 11 = 57 ms must have been left:
//
//	the store says 69 ms    nothing is lost; known now: 69 + 100 ms of debt at t = 30 ms, so it is paid at t = 199 ms
//	the store says 0 ms     it has forgotten; known now: 0 + 100 ms of debt at t = 30 ms, so it is paid at t = 130 ms
//
// At the next attempt, request.known is 199 ms or 130 ms, and request.sent is when it asks.
func (c *core) checkForgotten(cfg *config, r request, a answer) {
	// Clocks of two machines differ a little in their pace, and lots that go back are no loss.
	slack := int64(10*time.Millisecond) + cfg.capacity/1000
	switch {
	case cfg.lotSize > 0 && cfg.failure != Local:
		slack = cfg.capacity // nobody has said how many processes there are
	case cfg.lotSize > 0:
		slack += int64(cfg.lotSize) * cfg.unit * int64(cfg.peers)
	}
	debt := a.debt
	if a.wait == 0 && r.writes() {
		debt += r.takes(a.debt)
	}
	now := c.clock.Elapsed()
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
func (c *core) withoutStore(ctx context.Context, cfg *config, p purchase, cause error) (_ policy.Ticket, paid bool, _ error) {
	if err := policy.ContextError(ctx); err != nil {
		return policy.Ticket{}, false, err
	}
	c.counts.fellBack.Add(1)
	switch cfg.failure {
	case Open:
		c.counts.admitted.Add(1)
		return policy.Ticket{}, false, nil
	case Closed:
		var due time.Duration
		if wait, ok := policy.RetryAfter(cause); ok {
			due = c.clock.Elapsed() + wait
		}
		return c.refuse(cfg, ErrStore, due)
	}
	now := c.clock.Elapsed()
	if wait := p.bucket.local.take(now, cfg.local(p.amount), cfg.localCapacity); wait > 0 {
		return c.refuse(cfg, ratelimit.ErrLimited, now+time.Duration(wait))
	}
	return c.ticket(cfg, p.bucket, now, p.amount, charged), false, nil
}

// refuse refuses, unless the limiter is in shadow. due is when to come back, by the watch, or 0 if there is no such time.
func (c *core) refuse(cfg *config, reason error, due time.Duration) (_ policy.Ticket, paid bool, _ error) {
	if c.shadow.Load() {
		c.counts.shadowRejected.Add(1)
		return policy.Ticket{}, false, nil
	}
	c.counts.rejected.Add(1)
	rejection := &policy.Rejection{Kind: kind, Name: cfg.name, Reason: reason}
	if due > 0 {
		rejection.Until = c.clock.Time(due)
	}
	return policy.Ticket{}, false, rejection
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
	now := c.clock.Elapsed()
	if ticket.Period&charged != 0 && ticket.Period>>ticketBits == cfg.generation { // else it was a part of another share
		b.local.remove(now, ticket.Start, cfg.local(ticket.Number))
	}
	if ticket.Period&fromStore != 0 && !b.shared {
		b.account.giveBack(now, ticket.Start+time.Duration(ticket.Number), ticket.Period>>ticketBits)
	}
}

// peek asks what an attempt of a cost would get now, and writes nothing.
func (c *core) peek(ctx context.Context, cfg *config, b *bucket, keys []string, cost int) (Level, error) {
	if err := policy.ContextError(ctx); err != nil {
		return Level{}, err
	}
	level := Level{Burst: cfg.burst}
	if cost < 0 || cost > cfg.burst {
		return level, &policy.Rejection{Kind: kind, Name: cfg.name, Reason: ratelimit.ErrCost}
	}
	q := cfg.peekQuestion(int64(cost) * cfg.unit)
	a, err := c.ask(ctx, cfg, request{question: q, keys: keys, args: q.arguments(), bucket: b})
	if err != nil {
		if err := policy.ContextError(ctx); err != nil {
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
