package bulkhead

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Bulkhead bounds the attempts in flight. Make one per dependency with [New] or [Adaptive] and share it. It is safe for
// concurrent use and must not be copied. The zero value is not usable: its methods panic.
type Bulkhead struct {
	word     atomicWord             // while it is frozen, only holders of mu change it
	peak     atomic.Int64           // the most in flight
	rejected atomic.Uint64          // attempts refused
	shadow   atomic.Bool            // the mode; changed only by holders of mu
	changed  atomic.Bool            // by Reconfigure, Shadow, Enforce or Drain: a new bulkhead would be another one
	config   atomic.Pointer[config] // changed only by holders of mu
	adaptive *adaptive              // nil when the limit is fixed

	mu       sync.Mutex
	queue    queue
	shadows  shadows
	draining draining
}

var (
	_ policy.Returner    = (*Bulkhead)(nil)
	_ policy.Idler       = (*Bulkhead)(nil)
	_ policy.Reporter    = (*Bulkhead)(nil)
	_ fmt.Stringer       = (*Bulkhead)(nil)
	_ policy.Policy[any] = Policy[any]{}
)

// New returns a bulkhead with limit slots, from 1 to [MaxLimit]. An attempt takes one slot, or what [WeightOf] says.
//
// New panics with a [*policy.ConfigError] that names every problem of the configuration; see [Validate].
func New(limit int, options ...Option) *Bulkhead {
	c, problems := configureFixed(limit, options)
	return build(c, problems, nil)
}

func build(c *config, problems *policy.ConfigError, a *adaptive) *Bulkhead {
	if err := problems.Err(); err != nil {
		panic(err)
	}
	b := &Bulkhead{adaptive: a}
	b.config.Store(c.complete())
	b.shadow.Store(c.shadow)
	b.word.store(newWord(0, c.floor) | c.specialBit())
	return b
}

// current returns the configuration in force. It panics for the zero value.
func (b *Bulkhead) current() *config {
	c := b.config.Load()
	if c == nil {
		panic("bulkhead: a Bulkhead must be made with New or Adaptive")
	}
	return c
}

// Stage returns [policy.StageBulkhead].
func (b *Bulkhead) Stage() policy.Stage { return policy.StageBulkhead }

// Admit takes a slot, or waits for one if there is a [Queue], or refuses with a [*policy.Rejection] that matches
// [ErrFull] and the reason. When ctx ends while it waits, the error matches the one of [policy.ContextError] and nothing was
// taken; if its deadline has passed, the error matches [ErrDeadline] too.
func (b *Bulkhead) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	// The common case without a call in between, for which everything would be put on the stack: 2 of 16 ns.
	if w := b.word.load(); w.plain() && w.fits(1) && b.word.replace(w, w+1) {
		if w.inFlight() >= int(b.peak.Load()) {
			b.notePeak(w.inFlight() + 1)
		}
		return ctx, policy.Ticket{Number: 1}, nil
	}
	return b.admit(ctx)
}

// admit is Admit in every case.
func (b *Bulkhead) admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	weight := 1
	if weightOf := b.current().weightOf; weightOf != nil {
		weight = weightOf(ctx)
	}
	for {
		w := b.word.load()
		if w.frozen() || !w.fits(weight) {
			shadowID, err := b.acquire(ctx, weight)
			if err != nil {
				return nil, policy.Ticket{}, err
			}
			if shadowID != 0 {
				return ctx, shadowTicket(weight, shadowID), nil
			}
			break
		}
		if b.word.replace(w, w+word(weight)) {
			b.notePeak(w.inFlight() + weight)
			break
		}
	}
	return ctx, b.slotTicket(weight), nil
}

// slotTicket returns the ticket of an attempt that holds slots. Its period is the epoch with an adaptive limit; with a fixed one
// it is 0, by which Settle knows that one step may do.
func (b *Bulkhead) slotTicket(weight int) policy.Ticket {
	ticket := policy.Ticket{Number: int64(weight)}
	if b.adaptive != nil {
		ticket.Period, ticket.Start = b.adaptive.begin()
	}
	return ticket
}

// shadowTicket returns the ticket of an attempt that shadow mode let through. Its period is the id of the shadow, from 1.
func shadowTicket(weight int, id uint64) policy.Ticket {
	return policy.Ticket{Period: id, Number: int64(weight)}
}

// shadowID returns the id of the shadow that a ticket is for, 0 if the attempt holds slots. An adaptive bulkhead has no shadows.
func (b *Bulkhead) shadowID(ticket policy.Ticket) uint64 {
	if b.adaptive != nil {
		return 0
	}
	return ticket.Period
}

// Returned tells an [Adaptive] bulkhead that the operation has returned and its result stays open: the latency ends
// now. The slot stays taken until Settle.
func (b *Bulkhead) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	b.current()
	if b.adaptive != nil {
		b.adaptive.end(b, ticket, policy.Outcome{Kind: policy.Returned}, b.word.load().inFlight())
		ticket.Start = measured
	}
	return ticket
}

// Settle gives back what Admit took, and hands it to the attempts that wait. How the attempt ended matters only when
// the limit is [Adaptive]; after [Bulkhead.Returned] only an overload does.
//
// It must be called once for each admission, as the engine and [policy.Permit] do. More slots than are taken cannot
// be given back: Settle panics then, so that a mistake never raises the limit unseen.
func (b *Bulkhead) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if w := b.word.load(); w.plain() && w.holds(1) && ticket.Number == 1 && ticket.Period == 0 &&
		b.word.replace(w, w-1) {
		return // as in Admit
	}
	b.settle(ticket, outcome)
}

// settle is Settle in every case.
func (b *Bulkhead) settle(ticket policy.Ticket, outcome policy.Outcome) {
	b.current()
	if id := b.shadowID(ticket); id != 0 {
		b.settleShadow(id)
		return
	}
	weight := int(max(0, min(ticket.Number, MaxLimit))) // so that it fits an int; no attempt holds 0 or less
	var w word
	for {
		w = b.word.load()
		if w.frozen() || !w.holds(weight) {
			b.release(weight)
			break
		}
		if b.word.replace(w, w-word(weight)) {
			break
		}
	}
	if b.adaptive != nil {
		b.adaptive.end(b, ticket, outcome, w.inFlight())
	}
}

// acquire is the rest of Admit, when one atomic step is not enough. If shadowID is not 0, shadow mode has let the
// attempt through without slots.
func (b *Bulkhead) acquire(ctx context.Context, weight int) (shadowID uint64, err error) {
	c := b.current()
	if w := b.word.load(); c.queueLength == 0 && !w.frozen() && !w.fits(weight) && !b.shadow.Load() {
		return 0, b.refuse(c, noSlot(weight, w.limit())) // without the mutex: no attempt ever waits here
	}
	mayWait := c.queueLength > 0 && policy.MayWait(ctx) // before the mutex is taken: a context is the caller's
	waiting, shadowID, err := b.join(weight, mayWait)
	if waiting == nil {
		return shadowID, err
	}
	return b.await(ctx, waiting)
}

// release is the rest of Settle, when one atomic step is not enough.
func (b *Bulkhead) release(weight int) {
	b.enter()
	defer b.leave()
	b.giveBack(weight)
}

// giveBack makes slots free, between enter and leave. It panics if fewer are taken.
func (b *Bulkhead) giveBack(weight int) {
	if w := b.word.load(); !w.holds(weight) {
		panic(fmt.Sprintf("bulkhead: settling a weight of %d with %d in flight: settled twice, or never admitted", weight, w.inFlight()))
	}
	b.word.add(-weight)
}

// Reconfigure gives a bulkhead that is in use the configuration that [New] would make of the same arguments; those of an
// adaptive one are changed by [Bulkhead.ReconfigureAdaptive]. It takes effect at once and as a whole, or not at all: then
// the error is a [*policy.ConfigError].
//
//   - Data that is not given has its default: without [Queue] no further attempt waits, without [Shadow] the limit is
//     enforced. The function of [WeightOf] stays unless another is given, and so does the name, which cannot change.
//   - Counts, attempts in flight and attempts in the queue stay. A higher limit admits those that wait, in their order.
//     With a lower one no attempt is interrupted, but none is admitted until enough have ended. Those that wait keep
//     their places, though the queue may now be too short for them, and wait as long as they would have; only those
//     whose weight is above the new limit are refused.
//   - A bulkhead that drains goes on draining.
func (b *Bulkhead) Reconfigure(limit int, options ...Option) error {
	b.current()
	c, problems := configureFixed(limit, options)
	if b.adaptive != nil {
		problems.Add("limit %d: an adaptive bulkhead sets its limit itself; use ReconfigureAdaptive", limit)
	}
	return b.reconfigure(c, problems)
}

// reconfigure puts c in the place of the configuration, unless there are problems.
func (b *Bulkhead) reconfigure(c *config, problems *policy.ConfigError) error {
	if b.adaptive != nil { // its mutex comes first
		b.adaptive.mu.Lock()
		defer b.adaptive.mu.Unlock()
	}
	b.enter()
	defer b.leave()
	before := b.current()
	c.keep(before, problems)
	if err := problems.Err(); err != nil {
		return err
	}
	b.changed.Store(true)
	b.config.Store(c.complete())
	b.setMode(c.shadow)
	limit := c.floor
	if b.adaptive != nil {
		limit = b.adaptive.reconfigure(before, c)
	}
	b.setLimit(limit)
	return nil
}

// setLimit sets the limit, between enter and leave.
func (b *Bulkhead) setLimit(limit int) {
	b.word.store(newWord(b.word.load().inFlight(), limit) | frozen | b.current().specialBit())
	b.dismissTooHeavy(limit)
}

// enter begins what one atomic step cannot do: it takes the mutex, freezes the word, and refuses the shadows whose wait is over
// by now. Whoever enters leaves.
func (b *Bulkhead) enter() {
	b.mu.Lock()
	b.freeze()
	b.expire()
}

// leave gives slots that have become free to those that wait, and lets the others go on.
func (b *Bulkhead) leave() {
	b.grant()
	b.thaw()
	b.mu.Unlock()
}

// freeze keeps others from changing the word until thaw. b.mu must be held.
func (b *Bulkhead) freeze() { b.word.set(frozen) }

// thaw lets admissions go past the mutex again, unless an attempt waits or the bulkhead drains. Whatever may have been the
// last to end has frozen the word, so it is also here that a drain ends. b.mu must be held.
func (b *Bulkhead) thaw() {
	switch {
	case b.draining.begun():
		b.endDrainIfEmpty()
	case b.queue.len() == 0:
		b.word.clear(frozen)
	}
}

// notePeak raises the peak to inFlight, if that is higher.
func (b *Bulkhead) notePeak(inFlight int) {
	for {
		peak := b.peak.Load()
		if int64(inFlight) <= peak || b.peak.CompareAndSwap(peak, int64(inFlight)) {
			return
		}
	}
}

// Idle reports whether no attempt is in flight or waits, and nothing was set by hand since the bulkhead was made. A
// registry of bulkheads per key may then forget it. What an [Adaptive] one has learned does not count.
func (b *Bulkhead) Idle() bool {
	b.current()
	w := b.word.load()
	return w.inFlight() == 0 && !w.frozen() && !b.changed.Load()
}

// String returns the limit and the length of the queue, as in
//
//	bulkhead 16
//	bulkhead "users-db" 16+8
//	bulkhead vegas 10 to 200
func (b *Bulkhead) String() string {
	c := b.current()
	text := "bulkhead "
	if c.name != "" {
		text += fmt.Sprintf("%q ", c.name)
	}
	if c.adapts() {
		text += fmt.Sprintf("%v %d to %d", c.algorithm, c.floor, c.ceiling)
	} else {
		text += fmt.Sprint(c.floor)
	}
	if c.queueLength > 0 {
		text += fmt.Sprintf("+%d", c.queueLength)
	}
	return text
}

// Policy is a bulkhead as a [policy.Policy] for results of type T. All views of a bulkhead share its slots.
type Policy[T any] struct{ Bulkhead *Bulkhead }

// Do runs op in a slot of the bulkhead. It panics when the Bulkhead, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Bulkhead == nil {
		panic("bulkhead: Policy without a Bulkhead; use bulkhead.New")
	}
	return engine.DoLayer(ctx, p.Bulkhead, op)
}
