package timeout

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Timeout bounds a call or an attempt. It is made by [Total], [PerAttempt] or [FromLatency] and safe for concurrent
// use.
type Timeout struct {
	scope   scope
	config  atomic.Pointer[config]
	latency *latency // nil for a fixed limit
	expired atomic.Uint64
	changed atomic.Bool // by Reconfigure or ReconfigureFromLatency
}

var (
	_ policy.Guard       = (*Timeout)(nil)
	_ policy.Lifter      = (*Timeout)(nil)
	_ policy.Returner    = (*Timeout)(nil)
	_ policy.Checker     = (*Timeout)(nil)
	_ policy.Idler       = (*Timeout)(nil)
	_ policy.TimeLimiter = (*Timeout)(nil)
	_ policy.Reporter    = (*Timeout)(nil)
	_ policy.Policy[int] = Policy[int]{}
)

// scope is what a timeout bounds: its stage, and the words of errors, reports and codes.
type scope struct {
	stage                   policy.Stage
	kind, code, constructor string
}

var (
	scopeTotal   = scope{policy.StageTotalTimeout, "total timeout", "timeout.total", "Total"}
	scopeAttempt = scope{policy.StageAttemptTimeout, "attempt timeout", "timeout.attempt", "PerAttempt"}
	// scopeAbandoned is inside the rate limiter and outside the bulkhead: an abandoned operation must keep its slot.
	scopeAbandoned = scope{
		(policy.StageRateLimit + policy.StageBulkhead) / 2, "abandoning timeout", "timeout.abandoned", "Abandon",
	}
)

// Total returns a timeout for a whole call: all attempts and all waits between them. It stands at
// [policy.StageTotalTimeout]. It panics with a [*policy.ConfigError] when limit is not positive.
func Total(limit time.Duration) *Timeout {
	return newTimeout(scopeTotal, limit)
}

// PerAttempt returns a timeout for each attempt. It stands at [policy.StageAttemptTimeout], inside the limiter and
// the bulkhead. It panics with a [*policy.ConfigError] when limit is not positive.
func PerAttempt(limit time.Duration) *Timeout {
	return newTimeout(scopeAttempt, limit)
}

func newTimeout(scope scope, limit time.Duration) *Timeout {
	if err := problemsOf("timeout."+scope.constructor, limit).Err(); err != nil {
		panic(err)
	}
	t := &Timeout{scope: scope}
	t.setFixed(limit)
	return t
}

// setFixed gives t a limit that does not follow the latency.
func (t *Timeout) setFixed(limit time.Duration) {
	t.use(config{given: t.scope.setting(limit), longest: limit}, limit)
}

// use makes c the configuration, with limit for attempts that begin from now on.
func (t *Timeout) use(c config, limit time.Duration) {
	c.grant = newGrant(limit, t.scope, t)
	t.config.Store(&c)
}

// current returns the configuration in force. It panics for the zero value.
func (t *Timeout) current() *config {
	if t != nil {
		if c := t.config.Load(); c != nil {
			return c
		}
	}
	panic("timeout: a Timeout that was not made by Total, PerAttempt or FromLatency")
}

// Reconfigure changes the limit of a timeout made by [Total] or [PerAttempt], for attempts that begin from now on. It
// returns a [*policy.ConfigError], and changes nothing, when limit is not positive, or when the timeout was made by
// [FromLatency], which has [Timeout.ReconfigureFromLatency]. It is safe while the timeout is in use.
//
// It does not compare the limit with other layers, as composing does.
func (t *Timeout) Reconfigure(limit time.Duration) error {
	t.current()
	problems := problemsOf("timeout.Reconfigure", limit)
	if t.followsLatency() {
		problems.Add("the limit follows the latency: use ReconfigureFromLatency")
	}
	if err := problems.Err(); err != nil {
		return err
	}
	t.changed.Store(true) // first: a new Timeout would not have the new limit
	t.setFixed(limit)
	return nil
}

// TimeLimit returns the time that the timeout grants; the most that it ever grants if it was made by [FromLatency].
func (t *Timeout) TimeLimit() time.Duration { return t.current().longest }

// Stage returns [policy.StageTotalTimeout] or [policy.StageAttemptTimeout].
func (t *Timeout) Stage() policy.Stage {
	t.current()
	return t.scope.stage
}

// String returns scope and limit: "total timeout 2s", "attempt timeout 300ms" or
// "attempt timeout 3×p99 from 10ms to 1s".
func (t *Timeout) String() string {
	c := t.current()
	limit := c.longest.String()
	if t.followsLatency() {
		limit = fmt.Sprintf("%.4g×p%.4g from %v to %v", c.factor, 100*c.q, c.floor, c.longest)
	}
	return t.scope.kind + " " + limit
}

// What the number of a ticket says about the attempt: a sum of these.
const (
	bounded  int64 = 1 << iota // it got a context of its own
	returned                   // its operation has succeeded, and its result stays open
)

// Admit derives the context of the attempt. Where the caller's own deadline is sooner, it derives nothing.
func (t *Timeout) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	now := time.Now()
	granted, ticket, err := t.begin(ctx, now)
	if granted != nil {
		ctx, ticket.Cancel = context.WithDeadlineCause(ctx, now.Add(granted.limit), granted.expiry)
	}
	return ctx, ticket, err
}

// AdmitOpen implements [policy.Lifter]. The limit of an attempt ends when its operation has returned: it is a timer that
// cancels the context. The limit of a whole call is a deadline, as in Admit, which bounds the result too.
func (t *Timeout) AdmitOpen(ctx context.Context) (context.Context, policy.Ticket, func(), error) {
	if t.scope.stage == policy.StageTotalTimeout {
		ctx, ticket, err := t.Admit(ctx)
		return ctx, ticket, nil, err
	}
	granted, ticket, err := t.begin(ctx, time.Now())
	var lift func()
	if granted != nil {
		ctx, lift, ticket.Cancel = withLiftable(ctx, granted)
	}
	return ctx, ticket, lift, err
}

// withLiftable derives a context that is cancelled when the limit has passed, with the expiry as the cause. lift takes the limit
// off; end ends the context.
func withLiftable(ctx context.Context, g *grant) (derived context.Context, lift func(), end context.CancelFunc) {
	derived, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(g.limit, func() { cancel(g.expiry) })
	lift = func() { timer.Stop() }
	return derived, lift, func() {
		timer.Stop()
		cancel(nil)
	}
}

// begin returns the ticket of an attempt that begins now, and what it is granted: nil if the deadline of ctx comes first, and
// there is no context to derive. If that deadline has passed, err says so, and the attempt must not begin.
func (t *Timeout) begin(ctx context.Context, now time.Time) (granted *grant, ticket policy.Ticket, err error) {
	granted = &t.current().grant
	ticket.Number = bounded
	if deadline, ok := ctx.Deadline(); ok {
		switch left := deadline.Sub(now); {
		case left <= 0: // the timer of the deadline has not run yet
			return nil, policy.Ticket{}, context.DeadlineExceeded
		case left <= granted.limit:
			granted, ticket.Number = nil, 0
		}
	}
	if t.followsLatency() {
		ticket.Start = t.latency.clock.Elapsed()
	}
	return granted, ticket, nil
}

// Returned implements [policy.Returner]: the latency of the operation counts, however long its result stays open.
func (t *Timeout) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	t.observe(ticket, false)
	ticket.Number |= returned
	return ticket
}

// Settle releases the derived context and its timer. Before that it learns from the attempt and counts it:
//
//	the operation              learned            counted as expired
//	succeeded, result open     by Returned        when a total timeout has ended the use of the result
//	succeeded                  now                no
//	failed, after the limit    now, as expired    yes
//	failed otherwise           no                 no
//
// The attempt timeout of a result that stays open was lifted when its operation returned.
//
// Settle does not make the error: the engine makes that of an operation that failed when the derived context had ended match
// the context's cause, an [Error].
func (t *Timeout) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	expired := ticket.Number&bounded != 0 && expiryOf(ctx, t) != nil
	switch open := ticket.Number&returned != 0; {
	case open:
		expired = expired && t.scope.stage == policy.StageTotalTimeout
	case outcome.Succeeded():
		expired = false
		t.observe(ticket, false)
	case expired:
		t.observe(ticket, true)
	}
	if expired {
		t.expired.Add(1)
	}
	if ticket.Cancel != nil {
		ticket.Cancel()
	}
}

// observe learns from the attempt of a ticket, if the limit follows the latency.
func (t *Timeout) observe(ticket policy.Ticket, expired bool) {
	if t.followsLatency() {
		t.learn(t.latency.clock.Elapsed()-ticket.Start, expired)
	}
}

// Check reports a timeout outside that is not longer than this one, which therefore could never expire.
func (t *Timeout) Check(outer, _ []policy.Layer) error { return below(t.TimeLimit(), outer) }

// below returns an error if a timeout among outer is not longer than limit: whatever bounds time at the stage of a timeout,
// a keyed timeout or that of another package included. What a [policy.TimeLimiter] bounds at any other stage is not known
// here.
func below(limit time.Duration, outer []policy.Layer) error {
	for _, layer := range outer {
		around, ok := layer.(policy.TimeLimiter)
		if !ok || around.TimeLimit() > limit {
			continue
		}
		switch around.Stage() {
		case scopeTotal.stage, scopeAttempt.stage, scopeAbandoned.stage:
			return fmt.Errorf("must be below the %v around it", around)
		}
	}
	return nil
}

// Idle reports whether a new timeout in this one's place would be the same: whether it was never reconfigured. What
// [FromLatency] has learned may be forgotten.
func (t *Timeout) Idle() bool {
	t.current()
	return !t.changed.Load()
}

// Policy is a [Timeout] as a policy for results of type T.
type Policy[T any] struct{ Timeout *Timeout }

// Do runs op within the timeout. It panics when the Timeout, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Timeout == nil {
		panic("timeout: Policy without a Timeout")
	}
	return engine.DoLayer(ctx, p.Timeout, op)
}
