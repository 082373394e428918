package policyredis

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Limiter is a limit that many processes share through one key in Redis. Make one with [New]. It is safe for concurrent use
// and must not be copied. The methods of the zero value panic.
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
//   - key is any text that is not empty. Of one longer than 128 bytes a part and the hash are used. See [Prefix].
//
// New asks nothing of the client. It panics with a [*policy.ConfigError] that lists every problem of the configuration; see
// [Validate].
func New[R Result](client Scripter[R], key string, perSecond float64, burst int, options ...Option) *Limiter {
	cl := clientOf(client)
	cfg, err := configure(nil, perSecond, burst, options, func(c *config, problems *policy.ConfigError) {
		if cl == nil {
			problems.Add("the client is nil")
		}
		if key == "" {
			problems.Add("the key is empty")
		}
		c.checkSingle(problems)
	})
	if err != nil {
		panic(err)
	}
	l := new(Limiter)
	l.core.start(cl, cfg)
	l.bucket = newBucket(redisKey(cfg.prefix, key))
	return l
}

func (c *config) checkSingle(problems *policy.ConfigError) {
	if c.said.Given("Keys") {
		problems.Add("Keys %d: a Limiter has one key", c.maxKeys)
	}
}

func (l *Limiter) made() *config { return l.core.made("policyredis.New") }

// Stage returns [policy.StageRateLimit].
func (l *Limiter) Stage() policy.Stage { return policy.StageRateLimit }

// Admit takes the tokens of an attempt, or refuses with a [*policy.Rejection] that matches ratelimit.ErrLimited or, with
// [FailClosed], [ErrStore]. It waits for the store, for the [Deadline] at most. When ctx has ended, the error is
// [policy.ContextError], and nothing is taken. When it ends meanwhile, the error is the same, and the tokens are lost if the
// store has taken them all the same.
func (l *Limiter) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	cfg := l.made()
	ticket, err := l.core.admit(ctx, cfg, l.bucket, l.bucket.keys, cfg.cost(ctx))
	if err != nil {
		return nil, policy.Ticket{}, err
	}
	return ctx, ticket, nil
}

func (c *config) cost(ctx context.Context) int {
	if c.costOf == nil {
		return 1
	}
	return c.costOf(ctx)
}

// Settle takes the tokens back when the operation was never entered: attempts that follow pay that much less. They are worth
// cost/perSecond less the time since they were taken, which may be less than what would be there had they never been taken, and
// never more, whatever other processes give back. It asks nobody.
func (l *Limiter) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	cfg := l.made()
	if outcome.Kind == policy.NotCalled {
		l.core.giveBack(cfg, l.bucket, ticket)
	}
}

// Peek says what is in the bucket, and how long an attempt that costs 1 would have to wait. It asks the store, takes nothing
// and writes nothing. While the store does not answer it returns an error that matches [ErrStore], and never a guess.
func (l *Limiter) Peek(ctx context.Context) (Level, error) {
	return l.core.peek(ctx, l.made(), l.bucket, l.bucket.keys, 1)
}

// Drain gives back the tokens that [Lots] has taken and not used, and waits until no call to the store runs any more, such as
// one that was abandoned at its deadline. It returns [policy.ContextError] when ctx ends before. Tokens that the store
// does not take back are spent; that is no error. Use it at the end of the process, when nobody calls any more and before the
// client is closed. It hinders nobody who does, and the limiter may still be used.
func (l *Limiter) Drain(ctx context.Context) error {
	l.made()
	if err := ended(ctx); err != nil {
		return err
	}
	l.core.returnLot(ctx, l.bucket)
	return l.core.store.places.empty(ctx)
}

// Reconfigure changes the limiter while it is in use. It takes the rate, the burst and the options of [New], and works as a
// whole or, with a [*policy.ConfigError], not at all. Options that are data and not given get their defaults; functions stay.
// Name and prefix cannot be changed. What is in Redis is a time, until the bucket is full: after a change it is the same time,
// at the new rate. While processes disagree on rate and burst, each keeps to its own.
func (l *Limiter) Reconfigure(perSecond float64, burst int, options ...Option) error {
	l.made()
	return l.core.reconfigure(perSecond, burst, options, (*config).checkSingle)
}

// Shadow lets the limiter refuse nothing from now on, while it takes and counts as if it did. An attempt that would be refused
// goes ahead without a token, and is counted by ShadowRejected of [Snapshot] in place of Rejected.
func (l *Limiter) Shadow() { l.steer(true) }

// Enforce ends what [Limiter.Shadow] or the option [Shadow] began.
func (l *Limiter) Enforce() { l.steer(false) }

func (l *Limiter) steer(shadow bool) {
	l.made()
	l.core.moved.Store(true)
	l.core.shadow.Store(shadow)
}

// Idle reports whether the limiter is as a new one would be: it has nothing in its local bucket and in its lots, and was not
// changed by hand.
func (l *Limiter) Idle() bool {
	l.made()
	return !l.core.moved.Load() && l.bucket.idle(l.core.watch.Elapsed())
}

// String returns the rate, the burst and the key, as in
//
//	rate limit "api" 100/s burst 10 in redis ratelimit:{api}
func (l *Limiter) String() string {
	return l.made().text() + " in redis " + l.bucket.key
}

func (c *config) text() string {
	text := "rate limit "
	if c.name != "" {
		text += fmt.Sprintf("%q ", c.name)
	}
	if c.perSecond >= 1 {
		text += strconv.FormatFloat(math.Round(c.perSecond*1000)/1000, 'f', -1, 64) + "/s"
	} else {
		text += fmt.Sprintf("1 per %v", time.Duration(c.unit))
	}
	return text + fmt.Sprintf(" burst %d", c.burst)
}
