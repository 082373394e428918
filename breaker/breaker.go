package breaker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// ErrOpen is matched, with [errors.Is], by every refusal of a breaker: because it is open, because all probes of a
// half-open breaker are taken, or because it lets the load back in only gradually.
var ErrOpen = errors.New("circuit open")

var (
	errForced  = fmt.Errorf("%w: forced", ErrOpen)
	errProbing = fmt.Errorf("%w: all probes are taken", ErrOpen)
	errRamping = fmt.Errorf("%w: recovering", ErrOpen)
)

// What a probe's failure without an error was.
var (
	errPanicked = errors.New("the operation panicked")
	errExited   = errors.New("the operation called runtime.Goexit")
)

// Breaker is a circuit breaker. Make it with [New]. It is safe for concurrent use, and meant to be shared by all calls
// to one dependency, in as many pipelines as need it.
type Breaker struct {
	name        string
	classify    func(error) policy.Class
	openTime    openTime
	rules       rules
	subscribers []func(Change)
	onPanic     func(any)
	watch       stopwatch.Stopwatch

	era atomic.Pointer[era]

	rejections       atomic.Uint64
	shadowRejections atomic.Uint64
	lost             atomic.Uint64

	mu          sync.Mutex
	core        *core
	counted     int64 // successes of the era that the core was told of
	undelivered []Change
	delivering  bool
	before      int64         // what taken said when the lock was taken
	changed     chan struct{} // closed when Ready may answer differently; nil when nobody waits for it
}

var (
	_ policy.Guard   = (*Breaker)(nil)
	_ policy.Gate    = (*Breaker)(nil)
	_ policy.Checker = (*Breaker)(nil)

	_ policy.Notifier = (*Breaker)(nil)
)

// era is the face that the core shows, for one generation, to those who hold no lock. It is replaced with every
// generation, so that what a latecomer adds to an old one changes nothing in the new one.
type era struct {
	generation uint64
	state      State
	shadow     bool
	since      time.Duration
	until      time.Duration
	openings   int               // without recovery in between
	rejection  *policy.Rejection // one for all refusals
	free       atomic.Bool       // attempts are admitted without asking
	bucket     atomic.Int64      // the start of the current bucket of a time window

	_    [64]byte // good changes with every call, what is above hardly ever: keep them on different cache lines
	good atomic.Int64
	_    [56]byte
}

// current returns the era.
func (b *Breaker) current() *era {
	e := b.era.Load()
	if e == nil {
		panic("breaker: a Breaker must be made with New")
	}
	return e
}

// retired is what good is set to when an era is over. What is added later stays below zero.
const retired = math.MinInt64

// New returns a closed breaker. It panics with a [*policy.ConfigError] that lists every problem of the options; use
// [Validate] for options that come from configuration.
//
// Without options it opens after 5 consecutive failures, for 5 s and up to 10 % more, and closes after one successful
// probe.
func New(opts ...Option) *Breaker {
	config, err := configure(opts)
	if err != nil {
		panic(err)
	}
	b := &Breaker{
		name:        config.name,
		classify:    config.classify,
		openTime:    config.openTime,
		rules:       config.rules,
		subscribers: config.subscribers,
		onPanic:     config.onPanic,
		watch:       stopwatch.Start(),
	}
	b.core = newCore(&b.rules, b.watch.Elapsed())
	b.publish()
	return b
}

// Name returns the name, "" if the breaker has none.
func (b *Breaker) Name() string { return b.name }

// String returns a short description, such as: breaker "users-db".
func (b *Breaker) String() string {
	if b.name == "" {
		return "breaker"
	}
	return fmt.Sprintf("breaker %q", b.name)
}

// Stage returns [policy.StageBreaker].
func (b *Breaker) Stage() policy.Stage { return policy.StageBreaker }

// Admit admits an attempt, or refuses it with a [*policy.Rejection] that matches [ErrOpen]. It never waits.
func (b *Breaker) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	e := b.current()
	if e.free.Load() {
		ticket := policy.Ticket{Period: e.generation}
		if b.rules.slowAfter > 0 {
			ticket.Start = b.watch.Elapsed()
		}
		return ctx, ticket, nil
	}
	return b.admit(ctx, e)
}

// admit is Admit when the core must be asked.
func (b *Breaker) admit(ctx context.Context, e *era) (context.Context, policy.Ticket, error) {
	slot, admitted := int64(slotShadow), false
	if !e.refuses(b.watch) {
		luck := 0.0
		if b.rules.ramp > 0 {
			luck = b.openTime.random()
		}
		b.lock()
		now := b.watch.Elapsed()
		slot, admitted = b.core.admit(now, luck)
		e = b.unlock(now)
	}
	if !admitted && !e.shadow {
		b.rejections.Add(1)
		return ctx, policy.Ticket{}, e.rejection
	}
	if !admitted {
		b.shadowRejections.Add(1)
		slot = slotShadow
	}
	ticket := policy.Ticket{Period: e.generation, Number: slot}
	if b.rules.slowAfter > 0 {
		ticket.Start = b.watch.Elapsed()
	}
	return ctx, ticket, nil
}

// refuses reports whether every attempt is refused now.
func (e *era) refuses(watch stopwatch.Stopwatch) bool {
	return e.state == ForcedOpen || e.state == Open && within(watch.Elapsed(), e.since, e.until)
}

// recovered reports whether a closed breaker has no ramp, or its ramp is over, also when no attempt has come since.
func (e *era) recovered(watch stopwatch.Stopwatch) bool {
	return e.free.Load() || e.state == Closed && !within(watch.Elapsed(), e.since, e.until)
}

// nextOpening returns which opening in a row the next one would be, from 1.
func (e *era) nextOpening(watch stopwatch.Stopwatch) int {
	if e.recovered(watch) {
		return 1
	}
	return e.openings + 1
}

// Settle counts how an attempt ended.
func (b *Breaker) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if outcome.Succeeded() && b.succeed(ticket) {
		return
	}
	b.settle(ctx, ticket, outcome)
}

// succeed counts a success without a lock. It reports false if it did not, because there is more to do.
func (b *Breaker) succeed(ticket policy.Ticket) bool {
	e := b.current()
	if e.generation != ticket.Period || ticket.Number != slotFree {
		return false
	}
	if b.rules.slowAfter > 0 || b.rules.bucket > 0 {
		now := b.watch.Elapsed()
		if b.rules.slowAfter > 0 && now-ticket.Start >= b.rules.slowAfter {
			return false
		}
		if b.rules.bucket > 0 && uint64(int64(now)-e.bucket.Load()) >= uint64(b.rules.bucket) {
			return false
		}
	}
	return e.good.Add(1) > 0 // otherwise the era ended meanwhile
}

// settle is Settle when the core must be told.
func (b *Breaker) settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	report := report{generation: ticket.Period, slot: ticket.Number, verdict: policy.Failure}
	defer func() { // also when a function of the user panics: then the attempt is a failure
		b.lock()
		now := b.watch.Elapsed()
		report.slow = b.rules.slowAfter > 0 && now-ticket.Start >= b.rules.slowAfter
		b.core.settle(now, report)
		b.unlock(now)
	}()
	e := b.current()
	report.openFor = b.openTime.base
	report.cause = cause(outcome)
	report.verdict = outcome.Verdict(b.classify)
	bad := report.verdict != policy.Neutral && (report.verdict != policy.Success || b.rules.slowAfter > 0)
	if bad && e.generation == ticket.Period {
		report.openFor = b.openTime.of(e.nextOpening(b.watch), outcome.Err)
	}
}

// cause returns the error of an outcome, or one that says why there is none.
func cause(outcome policy.Outcome) error {
	switch outcome.Kind {
	case policy.Panicked:
		return errPanicked
	case policy.Exited:
		return errExited
	}
	return outcome.Err
}

// Ready returns nil if an attempt would be admitted now, otherwise the rejection that it would get. During a ramp, when
// only some are refused, it returns nil.
func (b *Breaker) Ready(context.Context) error {
	e := b.current()
	if e.free.Load() || e.shadow {
		return nil
	}
	if e.refuses(b.watch) {
		return e.rejection
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.core.shadow || !b.core.refuses(b.watch.Elapsed()) {
		return nil
	}
	return b.current().rejection
}

// Changed returns a channel that is closed at the next change of state, or when the last slot for a probe is taken or
// one comes back; not by time alone. It is how a sleeping retry learns that the breaker has opened.
func (b *Breaker) Changed(context.Context) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Idle reports whether a registry of breakers per key may forget this one: it is closed, not recovering and not set by
// hand, so that a new one would let nothing through that this one refuses; or its open time has passed without anybody
// asking for an attempt, as that of a host which is no longer called.
func (b *Breaker) Idle() bool {
	e := b.current()
	switch {
	case e.shadow:
		return false
	case e.state == Open:
		return !within(b.watch.Elapsed(), e.since, e.until)
	case e.state == Closed:
		return e.recovered(b.watch)
	case e.state == HalfOpen:
		b.mu.Lock()
		defer b.mu.Unlock()
		last := b.core.lastGrant
		return b.core.state == HalfOpen && !within(b.watch.Elapsed(), last, after(last, max(b.rules.lease, b.openTime.base)))
	}
	return false
}

// State returns the state now. It changes nothing: once the open time is over it says [HalfOpen], although only an
// attempt makes it so.
func (b *Breaker) State() State {
	e := b.current()
	switch {
	case e.shadow:
		return Disabled
	case e.state == Open && !within(b.watch.Elapsed(), e.since, e.until):
		return HalfOpen
	}
	return e.state
}

// Trip opens the breaker for one open time, as if a rule had tripped, whatever state it is in. If it is open already,
// the open time begins anew.
func (b *Breaker) Trip() {
	openFor := b.openTime.of(b.current().nextOpening(b.watch), nil)
	b.lock()
	now := b.watch.Elapsed()
	b.core.trip(now, openFor)
	b.unlock(now)
}

// ForceOpen lets the breaker refuse every attempt until [Breaker.Reset] or another manual change.
func (b *Breaker) ForceOpen() { b.force(ForcedOpen, ReasonForced) }

// ForceClosed lets the breaker admit every attempt, whatever the outcomes, until [Breaker.Reset] or another manual
// change.
func (b *Breaker) ForceClosed() { b.force(ForcedClosed, ReasonForced) }

// Disable lets the breaker admit every attempt, and only report what it would have done, until [Breaker.Reset] or
// another manual change: [Change] with Shadow set, [Snapshot] with Shadow and ShadowRejections. It begins as a closed
// breaker without history. The rules do not see how attempts end that it would have refused, since they would not have
// been made; so the report is what would have happened, and rules can be tried on real traffic.
func (b *Breaker) Disable() { b.force(Disabled, ReasonDisabled) }

// Reset closes the breaker, whatever state it is in, with all counts of the trip rules at zero. Attempts in flight will
// not be counted.
func (b *Breaker) Reset() { b.force(Closed, ReasonReset) }

func (b *Breaker) force(to State, reason Reason) {
	b.lock()
	now := b.watch.Elapsed()
	b.core.force(to, reason, now)
	b.unlock(now)
}

// lock takes the lock and brings the core up to date.
func (b *Breaker) lock() {
	b.mu.Lock()
	b.catchUp()
	b.before = b.core.taken()
}

// catchUp tells the core of the successes that were counted without it.
func (b *Breaker) catchUp() {
	b.counted = b.current().good.Load()
	b.core.good = b.counted
}

// unlock shows the world what an event at now did to the core, gives the lock back, delivers changes, and returns the
// era that the event left behind.
func (b *Breaker) unlock(now time.Duration) *era {
	e := b.current()
	if e.generation != b.core.generation {
		late := uint64(e.good.Swap(retired) - b.counted) // successes since catchUp
		b.core.ledger.requests += late
		b.core.ledger.successes += late
		b.note(e, now)
		e = b.publish()
		b.wake()
	} else {
		e.good.Add(b.core.good - b.counted)
		e.show(b.core)
		if b.core.taken() != b.before {
			b.wake()
		}
	}
	waiting := len(b.undelivered) > 0
	b.mu.Unlock()
	if waiting {
		b.deliver()
	}
	return e
}

// wake tells those who wait for a change.
func (b *Breaker) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// publish shows a new generation of the core to the world.
func (b *Breaker) publish() *era {
	c := b.core
	e := &era{
		generation: c.generation,
		state:      c.state,
		shadow:     c.shadow,
		since:      c.since,
		until:      c.until,
		openings:   c.openings,
	}
	rejection := &policy.Rejection{Kind: "breaker", Name: b.name}
	switch c.state {
	case Open:
		rejection.Reason, rejection.Until = ErrOpen, b.watch.Time(c.until)
	case ForcedOpen:
		rejection.Reason = errForced
	case HalfOpen:
		rejection.Reason = errProbing
	default:
		rejection.Reason = errRamping
	}
	e.rejection = rejection
	e.show(c)
	b.era.Store(e)
	return e
}

// show shows what can change within a generation.
func (e *era) show(c *core) {
	e.free.Store(c.free())
	if w, ok := c.window.(*timeWindow); ok {
		e.bucket.Store(int64(w.start))
	}
}

// note keeps the change from era e to the core for delivery, if it is one of state and somebody listens.
func (b *Breaker) note(e *era, now time.Duration) {
	c := b.core
	if len(b.subscribers) == 0 || e.state == c.state && e.shadow == c.shadow {
		return
	}
	change := Change{
		Number:   c.changes,
		From:     e.state,
		To:       c.state,
		Shadow:   e.shadow && c.shadow,
		Reason:   c.reason,
		At:       b.watch.Time(now),
		Snapshot: b.snapshot(now),
	}
	if e.shadow && !c.shadow {
		change.From = Disabled
	}
	if c.shadow && !e.shadow {
		change.To = Disabled
	}
	if len(b.undelivered) == maxUndelivered { // a subscriber hangs: the latest are worth more than the oldest
		b.undelivered = b.undelivered[1:]
		b.lost.Add(uint64(len(b.subscribers)))
	}
	b.undelivered = append(b.undelivered, change)
}
