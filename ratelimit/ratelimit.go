package ratelimit

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Limiter hands out tokens: burst at once, then rate per second. Make one per quota with [New] and share it. It is safe
// for concurrent use and must not be copied. The methods of the zero value panic.
type Limiter struct {
	config atomic.Pointer[config] // nil only in the zero value; written under the mutex

	mu      sync.Mutex
	shadow  bool
	changed bool   // by Reconfigure, Shadow or Enforce: a new limiter would be another one
	queue   *queue // nil until there is a MaxWait
	counts  counts
	bucket  bucket
}

// counts is what has happened so far.
type counts struct{ admitted, returned, rejected, shadowRejected uint64 }

var (
	_ policy.Guard       = (*Limiter)(nil)
	_ policy.Idler       = (*Limiter)(nil)
	_ policy.Reporter    = (*Limiter)(nil)
	_ fmt.Stringer       = (*Limiter)(nil)
	_ policy.Policy[any] = Policy[any]{}
)

// New returns a limiter whose bucket holds burst tokens, full at first, and gets perSecond tokens per second.
//
//   - perSecond is from [MinRate] to [MaxRate]; 0 for a bucket that is never filled again, so that burst attempts are
//     admitted and then none; or math.Inf(1) for no limit at all.
//   - burst is from 1 to [MaxBurst]. Without a limit it does not matter and may be 0.
//
// A burst of 1 spaces attempts evenly. A burst should cover what comes in while the machine is a little late: with
// 1000 per second and a burst of 1, a timer that is 1 ms late costs a token.
//
// New panics with a [*policy.ConfigError] that lists every problem of the configuration; see [Validate].
func New(perSecond float64, burst int, options ...Option) *Limiter {
	c, err := configure(nil, perSecond, burst, options)
	if err != nil {
		panic(err)
	}
	l := new(Limiter)
	l.apply(c)
	l.bucket.fill(c.perSecond, burst)
	return l
}

// Every returns a limiter that gets one token per interval: Per(1, interval, burst, options...).
func Every(interval time.Duration, burst int, options ...Option) *Limiter {
	return Per(1, interval, burst, options...)
}

// Per returns a limiter that gets n tokens per interval, evenly: New(n/interval, burst, options...), with the interval in
// seconds. It panics with a [*policy.ConfigError] when n is negative or interval is not positive, and as [New] does.
func Per(n int, interval time.Duration, burst int, options ...Option) *Limiter {
	problems := policy.ConfigError{Policy: "ratelimit"}
	if n < 0 {
		problems.Add("%d per %v: must not be negative", n, interval)
	}
	if interval <= 0 {
		problems.Add("interval %v: must be positive", interval)
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return New(float64(n)*float64(time.Second)/float64(interval), burst, options...)
}

// current returns the configuration, and panics for the zero value.
func (l *Limiter) current() *config {
	c := l.config.Load()
	if c == nil {
		panic("ratelimit: a Limiter must be made with New")
	}
	return c
}

// apply makes c the configuration, except for the bucket, which the caller sets.
func (l *Limiter) apply(c *config) {
	if c.maxWait > 0 && l.queue == nil {
		l.queue = new(queue)
	}
	l.config.Store(c)
	l.setShadow(c.beginsInShadow)
}

// Stage returns [policy.StageRateLimit].
func (l *Limiter) Stage() policy.Stage { return policy.StageRateLimit }

// Admit takes a token, or waits for one if there is a [MaxWait], or refuses with a [*policy.Rejection] that matches
// [ErrLimited] and says why: [ErrMaxWait], [ErrDeadline], [ErrQueueFull], [ErrCost], [ErrExhausted]. When ctx ends while
// it waits, the error is [policy.ContextError] and nothing was taken.
func (l *Limiter) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	cost := 1
	if costOf := l.current().costOf; costOf != nil {
		cost = costOf(ctx)
	}
	l.lock()
	ticket, ok := l.take(cost)
	l.mu.Unlock()
	if ok {
		return ctx, ticket, nil
	}
	ticket, err := l.acquire(ctx, cost)
	if err != nil {
		return nil, policy.Ticket{}, err
	}
	return ctx, ticket, nil
}

// Settle gives the tokens back when the operation was never entered; otherwise they are spent, however it ended. As many
// of them go back as would be there had they never been taken: none, if the bucket was full again in between.
//
// It must be called once for each admission, as the engine and [policy.Permit] do.
func (l *Limiter) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	l.current()
	if outcome.Kind != policy.NotCalled || ticket.Number <= 0 {
		return
	}
	l.lock()
	defer l.mu.Unlock()
	l.giveBack(ticket)
}

// lock locks the mutex and moves the time on. Everything that needs the time or the tokens begins with it.
func (l *Limiter) lock() {
	reading := l.bucket.clock.Reading() // before, as the mutex need not be held meanwhile
	l.mu.Lock()
	l.advance(reading)
}

// advance moves the time on to a reading of the clock, and gives the tokens that have come in to the attempts in the queue.
func (l *Limiter) advance(reading time.Duration) {
	now := l.bucket.clock.Moment(l.bucket.now, reading)
	if l.queue.len() == 0 {
		l.bucket.moveTo(now)
		return
	}
	l.serveShadows(now)
	l.bucket.moveTo(now)
	l.grant()
}

// take admits an attempt at once if it costs nothing, or nothing waits and the tokens are there.
func (l *Limiter) take(cost int) (policy.Ticket, bool) {
	if cost == 0 {
		l.counts.admitted++
		return policy.Ticket{}, true
	}
	if l.queue.len() > 0 {
		return policy.Ticket{}, false
	}
	number, ok := l.bucket.take(cost)
	if !ok {
		return policy.Ticket{}, false
	}
	l.counts.admitted++
	return ticketOf(number, cost), true
}

// ticketOf returns what an attempt needs to give back the tokens of the take with that number: nothing if it is 0, as without a
// limit.
func ticketOf(number uint64, cost int) policy.Ticket {
	if number == 0 {
		return policy.Ticket{}
	}
	return policy.Ticket{Period: number, Number: int64(cost)}
}

// giveBack returns the tokens of an attempt that was not made, and grants them to those that wait.
func (l *Limiter) giveBack(ticket policy.Ticket) {
	l.counts.returned++
	l.bucket.giveBack(ticket.Period, int(min(ticket.Number, MaxBurst)))
	l.retime()
}

// Reconfigure changes the limiter while it is in use. It takes the arguments of [New], and works as a whole or, with
// a [*policy.ConfigError], not at all. What is data and not given gets its default: without [MaxWait] no attempt waits any
// more, without [Shadow] the limiter enforces. What is not data stays unless it is given: the function of [CostOf]. The
// name cannot be changed.
//
// The tokens that are there stay, up to the new burst; a larger burst mints none. The counts stay. Attempts that
// wait stay in their order and get their turn by the new rate. Those that now would wait longer than MaxWait, counted
// from when they came, or past their deadline, or that the new burst or [MaxWaiters] has no room for, are refused, and
// are told when to come back, as a new attempt in their place would be.
func (l *Limiter) Reconfigure(perSecond float64, burst int, options ...Option) error {
	l.current()
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := configure(l.config.Load(), perSecond, burst, options)
	if err != nil {
		return err
	}
	l.advance(l.bucket.clock.Reading()) // what has come in by now is granted by the old rate and burst
	l.changed = true
	l.bucket.set(c.perSecond, burst)
	l.apply(c)
	l.dismiss()
	l.retime()
	return nil
}

// Shadow lets the limiter refuse nothing and make nothing wait from now on, while it counts as if it did: to try a rate
// on real traffic. An attempt that would be refused goes ahead without a token and is counted by ShadowRejected of
// [Snapshot], in place of Rejected. Without [MaxWait] that is exactly what would be refused of the same traffic.
//
// With MaxWait it is an estimate: an attempt that would wait goes ahead at once, keeps its place in the queue, and takes
// its token when its turn comes. It cannot leave the queue early, and does not give its token back.
//
// Attempts that wait at this moment go ahead too.
func (l *Limiter) Shadow() { l.steer(true) }

// Enforce ends what [Limiter.Shadow] or the option [Shadow] began. The limiter goes on from the shadow's state: the tokens
// are those that would be there, and attempts that would still wait take theirs before new ones.
func (l *Limiter) Enforce() { l.steer(false) }

func (l *Limiter) steer(shadow bool) {
	l.current()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = true
	l.setShadow(shadow)
}

// setShadow sets the mode. In shadow, those that wait go ahead.
func (l *Limiter) setShadow(shadow bool) {
	l.shadow = shadow
	if shadow {
		l.queue.letGoAhead()
	}
}

// String returns the rate and the burst, as in
//
//	rate limit 100/s burst 10
//	rate limit "mail" 1 per 1m30s burst 5
//	rate limit none
func (l *Limiter) String() string { return "rate limit " + l.current().describe() }

// describe returns the name, the rate and the burst.
func (c *config) describe() (text string) {
	if c.name != "" {
		text = fmt.Sprintf("%q ", c.name)
	}
	switch {
	case c.unlimited():
		return text + "none"
	case c.perSecond == 0 || c.perSecond >= 1:
		text += strconv.FormatFloat(math.Round(c.perSecond*1000)/1000, 'f', -1, 64) + "/s"
	default:
		text += fmt.Sprintf("1 per %v", time.Duration(math.Round(float64(time.Second)/c.perSecond)))
	}
	return text + fmt.Sprintf(" burst %d", c.burst)
}

// Policy is a limiter as a [policy.Policy] for results of type T. All views of a limiter share its tokens.
type Policy[T any] struct{ Limiter *Limiter }

// Do runs op when the limiter admits it. It panics when the Limiter, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Limiter == nil {
		panic("ratelimit: Policy without a Limiter; use ratelimit.New")
	}
	return engine.DoLayer(ctx, p.Limiter, op)
}
