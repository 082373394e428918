package policyredis

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// Limiter is a rate limit that many processes share through one key in Redis. Make it with [New]. It is safe for
// concurrent use and must not be copied. The methods of the zero value panic.
//
// Like ratelimit.Limiter it has no Allow: without a pipeline, ask it with [policy.Acquire], whose permit gives the
// tokens back if the operation is not entered. [PerKey.Allow] is for those who have a key and a cost, but no context
// that carries them.
type Limiter struct {
	core   core
	bucket *bucket
}

var (
	_ policy.Guard    = (*Limiter)(nil)
	_ policy.Idler    = (*Limiter)(nil)
	_ policy.Reporter = (*Limiter)(nil)
	_ fmt.Stringer    = (*Limiter)(nil)
)

// New returns a limiter that admits burst attempts at once and then perSecond in each second, counted over all processes that
// use the same key with the same client, rate and burst.
//
//   - perSecond is at most [MaxRate]. A token takes 1/perSecond, rounded up to whole nanoseconds.
//   - burst is at least 1, and burst/perSecond at most [MaxRefill].
//   - key is any text that is not empty. For a key longer than 128 bytes, part of it and its hash are used. See
//     [Prefix].
//
// New does not call the client. It panics with a [*policy.ConfigError] that lists every problem of the configuration;
// see [Validate].
func New[R Result](client Scripter[R], key string, perSecond float64, burst int, options ...Option) *Limiter {
	cl := clientOf(client)
	cfg, problems := configure(perSecond, burst, options)
	if cl == nil {
		problems.Add("the client is nil")
	}
	if key == "" {
		problems.Add("the key is empty")
	}
	cfg.checkSingle(problems)
	if err := problems.Err(); err != nil {
		panic(err)
	}
	l := new(Limiter)
	l.core.start(cl, cfg)
	l.bucket = newBucket(redisKey(cfg.prefix, key))
	return l
}

func (l *Limiter) current() *config { return l.core.current("policyredis.New") }

// Stage returns [policy.StageRateLimit].
func (l *Limiter) Stage() policy.Stage { return policy.StageRateLimit }

// Admit takes the tokens of an attempt, or refuses with a [*policy.Rejection] that matches ratelimit.ErrLimited,
// ratelimit.ErrCost or, with [FailClosed], [ErrStore]. It waits for the store for at most the [Deadline]. If ctx has
// already ended, the error is [policy.ContextError], whatever the cost, and nothing is taken. If ctx ends during the
// wait, the error is the same, and the tokens are lost if the store took them.
func (l *Limiter) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	cfg := l.current()
	ticket, err := l.core.admit(ctx, cfg, l.bucket.target(), cfg.costIn(ctx))
	if err != nil {
		return nil, policy.Ticket{}, err
	}
	return ctx, ticket, nil
}

// Settle takes the tokens back if the operation was never entered: later attempts pay that much less. They are worth
// cost/perSecond minus the time since they were taken. That may restore less than if they had never been taken, but
// never more, whatever other processes give back. It does not call the store.
func (l *Limiter) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	cfg := l.current()
	if outcome.Kind == policy.NotCalled {
		l.core.giveBack(cfg, l.bucket, ticket)
	}
}

// Peek returns the level of the bucket, and how long an attempt that costs 1 would have to wait. It asks the store,
// takes nothing and writes nothing. While the store does not answer, it returns an error that matches [ErrStore], never a
// guess.
func (l *Limiter) Peek(ctx context.Context) (Level, error) {
	return l.core.peek(ctx, l.current(), l.bucket.target())
}

// Drain gives back the tokens that [Lots] took and nobody used, and waits until no call to the store is running, not
// even one that was abandoned at its deadline. It returns [policy.ContextError] if ctx ends first. Tokens that the store
// does not take back are spent; that is no error. Use it at the end of the process, after the last call and before you
// close the client. The limiter can still be used, during Drain and after it.
func (l *Limiter) Drain(ctx context.Context) error {
	l.current()
	if err := policy.ContextError(ctx); err != nil {
		return err
	}
	l.core.returnLot(ctx, l.bucket)
	return l.core.store.places.drain(ctx)
}

// Reconfigure changes the limiter while it is in use. It takes the rate, the burst and the options of [New], and takes
// effect as a whole or, with a [*policy.ConfigError], not at all. Data options that are not given get their defaults;
// functions stay. The name and the prefix cannot change. Redis holds the time until the bucket is full. A change of the
// rate does not change that time: a bucket that is empty at 100 per hour is not full before an hour has passed, whatever
// the rate is now, and admits nothing until the new rate can refill the rest. Delete the key in Redis to begin with a
// full bucket. While processes disagree on rate and burst, each uses its own.
func (l *Limiter) Reconfigure(perSecond float64, burst int, options ...Option) error {
	l.current()
	cfg, problems := configure(perSecond, burst, options)
	cfg.checkSingle(problems)
	return l.core.reconfigure(cfg, problems)
}

// Shadow makes the limiter refuse nothing from now on, while it takes tokens and counts as before. An attempt that it
// would have refused goes ahead without a token, and is counted in ShadowRejected of [Snapshot] instead of Rejected.
func (l *Limiter) Shadow() {
	l.current()
	l.core.setShadow(true)
}

// Enforce ends the shadow mode that [Limiter.Shadow] or the option [Shadow] began.
func (l *Limiter) Enforce() {
	l.current()
	l.core.setShadow(false)
}

// Idle reports whether the limiter is in the state of a new one: its local bucket is full, it holds no lots, and it was
// never changed by hand.
func (l *Limiter) Idle() bool {
	l.current()
	return !l.core.changed.Load() && l.bucket.idle(l.core.now())
}

// String returns the rate, the burst and the key, as in
//
//	rate limit "api" 100/s burst 10 in redis ratelimit:{api}
func (l *Limiter) String() string {
	return l.current().text() + " in redis " + l.bucket.keys[0]
}
