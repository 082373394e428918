package breaker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Breaker is a circuit breaker. Make it with [New]. It is safe for concurrent use, and meant to be shared by all calls
// to one dependency, in as many pipelines as need it.
type Breaker struct {
	clock stopwatch.Stopwatch
	era   atomic.Pointer[era]

	rejected       atomic.Uint64
	shadowRejected atomic.Uint64
	lost           atomic.Uint64 // deliveries, see Snapshot

	countedBeforePanic countedBeforePanic

	mu          sync.Mutex
	config      *config
	core        *core
	undelivered []Change      // oldest first
	delivering  bool          // a goroutine is at it
	changed     chan struct{} // closed when Ready may answer differently; nil until Changed is called
}

var (
	_ policy.Guard    = (*Breaker)(nil)
	_ policy.Gate     = (*Breaker)(nil)
	_ policy.Notifier = (*Breaker)(nil)
	_ policy.Returner = (*Breaker)(nil)
	_ policy.Checker  = (*Breaker)(nil)
	_ policy.Idler    = (*Breaker)(nil)
	_ policy.Reporter = (*Breaker)(nil)
)

// New returns a closed breaker. It panics with a [*policy.ConfigError] that lists every problem of the options; use
// [Validate] for options that come from configuration.
//
// Without options it opens after 5 consecutive failures, for 5 s and up to 10 % more, and closes after one successful
// probe.
func New(opts ...Option) *Breaker {
	config, err := configure(nil, opts)
	if err != nil {
		panic(err)
	}
	b := &Breaker{clock: stopwatch.Start(), config: config}
	b.core = newCore(&config.rules, config.shadow, b.clock.Elapsed())
	b.beginEra()
	return b
}

// Reconfigure changes the options while the breaker is in use, as if it had been made with opts: what is data and not
// given has its default. What is code and not given stays: [Classify], [OnChange], [TripWhen] and [Rand]; so does the
// name, and another one is refused. OnChange replaces all earlier subscribers. When Reconfigure returns an error, a
// [*policy.ConfigError], nothing has changed.
//
// State, counts and probes stay. An open breaker stays open until its old end, a ramp goes on, and a probe keeps its
// lease. A window of another length keeps the calls that it can hold; a time window in place of a count window, or the
// other way round, begins empty. The new rules are asked after the next bad outcome.
func (b *Breaker) Reconfigure(opts ...Option) (err error) {
	b.update(func(c *core, now time.Duration) {
		var next *config
		if next, err = configure(b.config, opts); err == nil {
			b.config = next
			c.reconfigure(&next.rules, next.shadow, now)
		}
	})
	return err
}

// Name returns the name, "" if the breaker has none.
func (b *Breaker) Name() string { return b.current().config.name }

// String returns a short description, such as: breaker "users-db".
func (b *Breaker) String() string {
	if name := b.Name(); name != "" {
		return fmt.Sprintf("breaker %q", name)
	}
	return "breaker"
}

// Stage returns [policy.StageBreaker].
func (b *Breaker) Stage() policy.Stage {
	b.current()
	return policy.StageBreaker
}

// Admit admits an attempt, or refuses it with a [*policy.Rejection] that matches [ErrOpen]. It never waits.
func (b *Breaker) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	e := b.current()
	if !e.admitting {
		return b.admit(ctx, e)
	}
	return ctx, policy.Ticket{Period: e.generation, Number: ticketFree, Start: b.start(e)}, nil
}

// admit is Admit when not every attempt is admitted.
func (b *Breaker) admit(ctx context.Context, e *era) (context.Context, policy.Ticket, error) {
	number, admitted := int64(ticketVoid), false
	if !e.refusesAll(b.clock.Elapsed()) {
		luck := 0.0
		if e.rules.ramp > 0 {
			luck = e.config.openTime.random()
		}
		e = b.update(func(c *core, now time.Duration) { number, admitted = c.admit(now, luck) })
	}
	if !admitted {
		if !e.shadow {
			b.rejected.Add(1)
			return ctx, policy.Ticket{}, e.rejection
		}
		b.shadowRejected.Add(1)
	}
	return ctx, policy.Ticket{Period: e.generation, Number: number, Start: b.start(e)}, nil
}

// start returns when an attempt that is admitted now begins, for its ticket. It reads the clock only if a rule asks for that.
func (b *Breaker) start(e *era) time.Duration {
	if e.rules.slowAfter == 0 {
		return notMeasured
	}
	return b.clock.Elapsed()
}

// Settle counts how an attempt ended.
func (b *Breaker) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	e := b.current()
	switch { // the cases of succeed, written out: to call it would double what a success costs
	case !outcome.Succeeded(), ticket.Number != ticketFree, ticket.Period != e.generation:
		// not a success, or not one that needs only be counted
	case e.timed && !e.ordinary(ticket.Start, b.clock.Elapsed()):
		// slow, or the first of a new bucket
	case e.good.add():
		return
	}
	b.settle(ticket, outcome)
}

// succeed counts a success without a lock. It reports false if it did not, because the core must be told.
func (b *Breaker) succeed(ticket policy.Ticket) bool {
	e := b.current()
	switch {
	case ticket.Number != ticketFree, ticket.Period != e.generation:
		return false
	case e.timed && !e.ordinary(ticket.Start, b.clock.Elapsed()):
		return false
	}
	return e.good.add()
}

// settle is Settle when the core must be told.
func (b *Breaker) settle(ticket policy.Ticket, outcome policy.Outcome) {
	if !b.countedBeforePanic.take(ticket) {
		b.record(ticket, outcome)
	}
}

// Returned counts the success of an operation whose result stays open: as a probe's answer, and with the time that it
// took. When the result then fails, Settle counts one failure more.
func (b *Breaker) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	b.current()
	returned := false
	defer func() {
		if !returned { // a function of the user has panicked: Settle will get the ticket that does not say what was counted
			b.countedBeforePanic.put(ticket)
		}
	}()
	counted := b.succeed(ticket) || b.record(ticket, policy.Outcome{Kind: policy.Returned})
	returned = true
	switch {
	case !counted:
		ticket.Number = ticketVoid
	case isProbe(ticket.Number):
		ticket.Number = ticketReturnedProbe
	default:
		ticket.Number = ticketReturned
	}
	return ticket
}

// Ready returns nil if an attempt would be admitted now, otherwise the rejection that it would get. While a [Ramp] lets
// only some through, it returns nil.
func (b *Breaker) Ready(context.Context) error {
	e := b.current()
	if e.admitting || e.shadow {
		return nil
	}
	if e.refusesAll(b.clock.Elapsed()) {
		return e.rejection
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.core.shadow || !b.core.refuses(b.clock.Elapsed()) {
		return nil
	}
	return b.current().rejection
}

// Changed returns a channel that is closed at the next change of state or mode, or when the last slot for a probe is
// taken or one comes back; not by time alone. It is how a sleeping retry learns that the breaker has opened.
func (b *Breaker) Changed(context.Context) <-chan struct{} {
	b.current()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Idle reports whether a registry of breakers per key may forget this one: it is closed, not recovering and not changed
// by hand, so that a new one would let nothing through that this one refuses; or its open time has passed without an
// attempt, as happens when a host is no longer called.
func (b *Breaker) Idle() bool {
	e := b.current()
	if e.config.reconfigured || e.shadow != e.config.shadow {
		return false
	}
	now := b.clock.Elapsed()
	switch e.stateAt(now) {
	case Closed:
		return !e.ramping(now)
	case HalfOpen:
		if e.state == Open { // the open time is over, and no attempt has come
			return true
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.core.state == HalfOpen && b.core.halfOpen.idle(b.core.rules, now)
	}
	return false
}

// State returns the state now. It changes nothing: once the open time is over it says [HalfOpen], although only an
// attempt makes it so. In shadow it is the state that an enforcing breaker would have.
func (b *Breaker) State() State {
	e := b.current()
	if e.state != Open {
		return e.state
	}
	return e.stateAt(b.clock.Elapsed())
}

// Trip opens the breaker for one open time, as if a rule had tripped, whatever state it is in. If it is open already,
// the open time begins anew.
func (b *Breaker) Trip() {
	e := b.current()
	openFor := e.config.openTime.of(e.nextOpening(b.clock.Elapsed()), nil)
	b.update(func(c *core, now time.Duration) { c.open(ReasonTripped, policy.Cause{Rule: "Trip"}, now, openFor) })
}

// ForceOpen lets the breaker refuse every attempt until [Breaker.Reset] or another manual change.
func (b *Breaker) ForceOpen() { b.force(ForcedOpen, ReasonForced, "ForceOpen") }

// ForceClosed lets the breaker admit every attempt, whatever the outcomes, until [Breaker.Reset] or another manual
// change.
func (b *Breaker) ForceClosed() { b.force(ForcedClosed, ReasonForced, "ForceClosed") }

// Reset closes the breaker, whatever state it is in, with all counts of the trip rules at zero. Attempts in flight will
// not be counted. The mode stays.
func (b *Breaker) Reset() { b.force(Closed, ReasonReset, "Reset") }

func (b *Breaker) force(to State, reason Reason, method string) {
	b.update(func(c *core, now time.Duration) { c.force(to, reason, policy.Cause{Rule: method}, now) })
}

// Shadow lets the breaker refuse nothing from now on: it counts, and changes its state, as if it did, so that rules can
// be tried on real traffic. [Snapshot] says with ShadowRejected how many attempts it would have refused. These are in no
// other count, whatever becomes of them, since an enforcing breaker would not have made them. State and counts stay.
func (b *Breaker) Shadow() { b.setShadow(true) }

// Enforce ends [Breaker.Shadow]: the breaker refuses again, and goes on from the state that it has.
func (b *Breaker) Enforce() { b.setShadow(false) }

func (b *Breaker) setShadow(shadow bool) {
	b.update(func(c *core, _ time.Duration) { c.shadow = shadow })
}

// Check returns an error when an attempt timeout inside the breaker does not fit it: a time window must be at least
// twice as long as the timeout, or timeouts leave it about as fast as they come in, and the lease of a probe must be at
// least as long, or a probe that takes its time can lose its slot.
func (b *Breaker) Check(_, inner []policy.Layer) error {
	r := b.current().rules
	var problems []error
	for _, layer := range inner {
		timeout, ok := layer.(policy.TimeLimiter)
		if !ok || layer.Stage() != policy.StageAttemptTimeout {
			continue
		}
		limit := timeout.TimeLimit()
		if window := r.bucketWidth * time.Duration(r.buckets); window > 0 && window/2 < limit {
			problems = append(problems, fmt.Errorf("the window %v is shorter than twice the attempt timeout %v", window, limit))
		}
		if r.lease < limit {
			problems = append(problems, fmt.Errorf(
				"the probe lease %v is shorter than the attempt timeout %v: give it ProbeLease(%[2]v) or more", r.lease, limit))
		}
	}
	return errors.Join(problems...)
}
