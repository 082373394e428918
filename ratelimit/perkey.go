package ratelimit

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/go-resilience/resilience/policy"
)

// PerKey is a limiter with a bucket of tokens for each key: each client, tenant or address has burst tokens at once, then
// rate per second. Make one with [NewPerKey]. It is safe for concurrent use and must not be copied. The methods of the
// zero value panic.
//
// It takes one word of memory and the hash for each key whose bucket is not full, and nothing for the others; see [Keys].
// It refuses, and never lets an attempt wait.
type PerKey[K comparable] struct {
	key  func(context.Context) K
	seed maphash.Seed
	hashLimiter
}

var (
	_ policy.Guard    = (*PerKey[string])(nil)
	_ policy.Checker  = (*PerKey[string])(nil)
	_ policy.Idler    = (*PerKey[string])(nil)
	_ policy.Reporter = (*PerKey[string])(nil)
	_ fmt.Stringer    = (*PerKey[string])(nil)
)

// NewPerKey returns a limiter with a bucket of tokens for each key, full at first, that holds burst tokens and gets
// perSecond tokens per second. perSecond and burst have the ranges of [New].
//
// key returns the key of an attempt from its context. It is called once for each attempt, on its own goroutine, under no
// lock. It may be nil for a limiter that is only asked with [PerKey.Allow]: resilience.Compose refuses such a limiter, and
// Admit panics. Keys are made of strings, integers, booleans, pointers, and arrays and structs of those, such as
// netip.Addr. They are hashed, with a seed of each limiter's own, and not kept.
//
// The options are [Name], [CostOf], [Keys] and [Shadow].
//
// NewPerKey panics with a [*policy.ConfigError] that lists every problem; see [ValidatePerKey].
func NewPerKey[K comparable](perSecond float64, burst int, key func(context.Context) K, options ...Option) *PerKey[K] {
	c, err := configurePerKey[K](nil, perSecond, burst, options)
	if err != nil {
		panic(err)
	}
	p := &PerKey[K]{key: key, seed: maphash.MakeSeed()}
	p.hashLimiter.start(c)
	return p
}

// Check returns an error when there is no function for keys, without which the limiter is no guard.
func (p *PerKey[K]) Check(_, _ []policy.Layer) error {
	p.current()
	problems := policy.ConfigError{Policy: "ratelimit"}
	if p.key == nil {
		problems.Add("NewPerKey: the function for keys is nil; without it the limiter can only be asked with Allow")
	}
	return problems.Err()
}

// Admit takes the tokens of an attempt from the bucket of its key, or refuses with a [*policy.Rejection] that matches
// [ErrLimited] and says when to come back; with [ErrCost] or [ErrExhausted] when that is of no use.
func (p *PerKey[K]) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	q := p.current()
	if p.key == nil {
		panic("ratelimit: a PerKey without a function for keys is no guard")
	}
	cost := 1
	if q.config.costOf != nil {
		cost = q.config.costOf(ctx)
	}
	hash := maphash.Comparable(p.seed, p.key(ctx))
	d := p.take(hash, cost)
	if d.verdict != refused {
		return ctx, d.ticket(hash, cost), nil
	}
	if err := p.refuse(hash, cost, d); err != nil {
		return nil, policy.Ticket{}, err
	}
	return ctx, policy.Ticket{}, nil // in shadow
}

// Allow takes a token from the bucket of key, and reports whether it was there. In shadow it is always true. A refusal by
// Allow is not counted in Rejected, and writes nothing unless the key shares a bucket; what shadow lets through is counted in
// ShadowRejected.
func (p *PerKey[K]) Allow(key K) bool {
	p.current()
	hash := maphash.Comparable(p.seed, key)
	d := p.take(hash, 1)
	return d.verdict != refused || p.excused(hash, d)
}

// ReportOf returns the report of a single key, with "tokens" in place of the values that are about all keys. It is always
// there: a key that was never seen has a full bucket.
func (p *PerKey[K]) ReportOf(key K) (policy.Report, bool) {
	p.current()
	return p.reportOf(maphash.Comparable(p.seed, key)), true
}

// ReportFor is ReportOf for the key of an attempt with that context. It returns false when there is no function for keys,
// and when the attempt costs nothing: the limit is none for it. It asks the function of [CostOf].
func (p *PerKey[K]) ReportFor(ctx context.Context) (policy.Report, bool) {
	q := p.current()
	if p.key == nil || q.config.costOf != nil && q.config.costOf(ctx) == 0 {
		return policy.Report{}, false
	}
	return p.ReportOf(p.key(ctx))
}

// Reconfigure changes the limiter while it is in use. It takes the arguments of [NewPerKey], but for the function of
// keys, which stays, and works as a whole or, with a [*policy.ConfigError], not at all. What is data and not given gets its
// default; the function of [CostOf] stays unless it is given. The name cannot be changed.
//
// The tokens that are there stay, up to the new burst. A larger burst mints none for a key that has been seen since its
// bucket was full. What was taken before and is not spent does not come back. The counts stay.
//
// It looks at the keys only when [Keys] gets smaller, when the rate has become at least four times what it was or less than an
// eighth of it, counted from when they were looked at last, and, rarely, when an empty bucket takes years to fill or years have
// passed. Then attempts wait until every key has been moved once: about a tenth of a second for a million. Without a limit,
// before or after, all buckets are full.
func (p *PerKey[K]) Reconfigure(perSecond float64, burst int, options ...Option) error {
	p.current()
	return p.reconfigure(func(old *config) (*config, error) {
		return configurePerKey[K](old, perSecond, burst, options)
	})
}
