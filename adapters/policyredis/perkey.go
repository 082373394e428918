package policyredis

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// PerKey has a limit for each key, such as a client or tenant, which many processes share through Redis. Make it with
// [NewPerKey]. It is safe for concurrent use and must not be copied. The methods of the zero value panic.
//
// All keys share one breaker towards the store. If a key in Redis holds something else, that is counted and reported to
// [OnError], but changes no mode.
type PerKey struct {
	core    core
	keyOf   func(context.Context) string
	buckets *keyed.Registry[string, *bucket]
}

var (
	_ policy.Guard    = (*PerKey)(nil)
	_ policy.Idler    = (*PerKey)(nil)
	_ policy.Reporter = (*PerKey)(nil)
	_ fmt.Stringer    = (*PerKey)(nil)
)

// NewPerKey returns a limiter that admits burst attempts at once and then perSecond in each second for each key. key
// returns the key of an attempt: it gets the attempt's context, must always return the same key for it, and is called
// under no lock. The rest is as for [New].
//
// A process keeps a local bucket for each key that it has seen lately; see [Keys].
func NewPerKey[R Result](
	client Scripter[R], perSecond float64, burst int, key func(ctx context.Context) string, options ...Option,
) *PerKey {
	cl := clientOf(client)
	cfg, problems := configure(perSecond, burst, options)
	if cl == nil {
		problems.Add("the client is nil")
	}
	if key == nil {
		problems.Add("the key function is nil")
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	p := &PerKey{keyOf: key}
	p.core.perKey = true
	p.core.start(cl, cfg)
	p.buckets = keyed.New(newBucket, keyed.Max(cfg.maxKeys), keyed.MaxKeyLength(len(cfg.prefix)+maxKey+4),
		keyed.IdleIf(func(b *bucket) bool { return b.idle(p.core.now()) }))
	p.buckets.Overflow().overflow = true
	return p
}

func (p *PerKey) current() *config { return p.core.current("policyredis.NewPerKey") }

// target returns what attempts of a key take their tokens from.
func (p *PerKey) target(cfg *config, key string) target {
	name := redisKey(cfg.prefix, key)
	b := p.buckets.Get(name)
	if b.overflow {
		return target{keys: []string{name}, bucket: b}
	}
	return b.target()
}

// Stage returns [policy.StageRateLimit].
func (p *PerKey) Stage() policy.Stage { return policy.StageRateLimit }

// Admit is [Limiter.Admit] for the key of ctx.
func (p *PerKey) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	cfg := p.current()
	ticket, err := p.core.admit(ctx, cfg, p.target(cfg, p.keyOf(ctx)), cfg.costIn(ctx))
	if err != nil {
		return nil, policy.Ticket{}, err
	}
	return ctx, ticket, nil
}

// Settle is [Limiter.Settle] for the key of ctx.
func (p *PerKey) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	cfg := p.current()
	if outcome.Kind == policy.NotCalled {
		p.core.giveBack(cfg, p.target(cfg, p.keyOf(ctx)).bucket, ticket)
	}
}

// Allow takes cost tokens of a key without a pipeline. It returns the error that [PerKey.Admit] would return for this
// key and cost, or nil. The tokens cannot be given back.
func (p *PerKey) Allow(ctx context.Context, key string, cost int) error {
	cfg := p.current()
	_, err := p.core.admit(ctx, cfg, p.target(cfg, key), cost)
	return err
}

// Peek is [Limiter.Peek] for a key.
func (p *PerKey) Peek(ctx context.Context, key string) (Level, error) {
	cfg := p.current()
	return p.core.peek(ctx, cfg, p.target(cfg, key))
}

// Drain is [Limiter.Drain] for all keys.
func (p *PerKey) Drain(ctx context.Context) error {
	p.current()
	for _, b := range p.buckets.All() {
		if err := policy.ContextError(ctx); err != nil {
			return err
		}
		p.core.returnLot(ctx, b)
	}
	return p.core.store.places.drain(ctx)
}

// Reconfigure is [Limiter.Reconfigure]. The number of [Keys] cannot change either.
func (p *PerKey) Reconfigure(perSecond float64, burst int, options ...Option) error {
	p.current()
	return p.core.reconfigure(configure(perSecond, burst, options))
}

// Shadow is [Limiter.Shadow] for all keys.
func (p *PerKey) Shadow() {
	p.current()
	p.core.setShadow(true)
}

// Enforce is [Limiter.Enforce] for all keys.
func (p *PerKey) Enforce() {
	p.current()
	p.core.setShadow(false)
}

// Idle reports whether all keys are in the state of new ones and nothing was ever changed by hand.
func (p *PerKey) Idle() bool {
	p.current()
	now := p.core.now()
	for _, b := range p.buckets.All() {
		if !b.idle(now) {
			return false
		}
	}
	return !p.core.changed.Load() && p.buckets.Overflow().idle(now)
}

// String returns the rate, the burst and the prefix, as in
//
//	rate limit "clients" 100/s burst 10 per key in redis ratelimit:{…}
func (p *PerKey) String() string {
	cfg := p.current()
	return cfg.text() + " per key in redis " + cfg.prefix + ":{…}"
}
