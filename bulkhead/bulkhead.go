package bulkhead

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Bulkhead bounds the attempts in flight. Make one per dependency with [New] and share it. It is safe for concurrent
// use and must not be copied. The zero value is not usable.
type Bulkhead struct {
	name     string
	wait     time.Duration
	length   int // of the queue
	weightOf func(context.Context) int
	adaptive *adaptive        // nil when the limit is fixed
	plain    bool             // the limit is fixed, and every attempt takes one slot
	full     policy.Rejection // what an attempt gets that finds no free slot

	word     atomic.Uint64 // a word; while its bit queued is set, only holders of mu change it
	peak     atomic.Int64  // most in flight
	rejected atomic.Uint64
	set      atomic.Bool // by Resize: a new bulkhead would be another one

	mu    sync.Mutex
	queue queue
}

var (
	_ policy.Guard       = (*Bulkhead)(nil)
	_ fmt.Stringer       = (*Bulkhead)(nil)
	_ policy.Policy[any] = Policy[any]{}
)

// New returns a bulkhead with limit slots, from 1 to [MaxLimit]. An attempt takes one slot, or what [WeightOf] says.
//
// New panics with a [*policy.ConfigError] when the configuration makes no sense; see [Validate].
func New(limit int, options ...Option) *Bulkhead {
	c := configureFixed(limit, options)
	if err := c.problems.Err(); err != nil {
		panic(err)
	}
	return build(c, limit)
}

func build(c *config, limit int) *Bulkhead {
	b := &Bulkhead{
		name:     c.name,
		wait:     c.wait,
		length:   c.queue,
		weightOf: c.weightOf,
		full:     policy.Rejection{Kind: "bulkhead", Name: c.name, Reason: ErrFull},
	}
	b.plain = b.weightOf == nil
	b.word.Store(uint64(newWord(0, limit)))
	return b
}

// Stage returns [policy.StageBulkhead].
func (b *Bulkhead) Stage() policy.Stage { return policy.StageBulkhead }

// Admit takes a slot, or waits for one if there is a [Queue], or refuses with a [*policy.Rejection] that matches
// [ErrFull]. When ctx ends while it waits, the error is [policy.ContextError] and nothing was taken.
func (b *Bulkhead) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	// The common case without a call in between, for which everything would be put on the stack: 2 of 16 ns.
	if w := word(b.word.Load()); b.plain && !w.queued() && w.fits(1) && b.word.CompareAndSwap(uint64(w), uint64(w)+1) {
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
	if b.weightOf != nil {
		weight = b.weightOf(ctx)
	}
	for {
		w := word(b.word.Load())
		if w.queued() || !w.fits(weight) {
			if err := b.acquire(ctx, weight); err != nil {
				return nil, policy.Ticket{}, err
			}
			break
		}
		if b.word.CompareAndSwap(uint64(w), uint64(w)+uint64(weight)) {
			b.notePeak(w.inFlight() + weight)
			break
		}
	}
	ticket := policy.Ticket{Number: int64(weight)}
	if b.adaptive != nil {
		ticket.Period, ticket.Start = b.adaptive.begin()
	}
	return ctx, ticket, nil
}

// Settle gives back what Admit took, and hands it to those who wait. How the attempt ended matters only when the
// limit is [Adaptive].
//
// It must be called once for each admission, as the engine and [policy.Permit] do. More slots than are taken cannot
// be given back: Settle panics then, so that a mistake never raises the limit unseen.
func (b *Bulkhead) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if w := word(b.word.Load()); b.plain && !w.queued() && w.holds(1) && ticket.Number == 1 && b.word.CompareAndSwap(uint64(w), uint64(w)-1) {
		return // as in Admit
	}
	b.settle(ctx, ticket, outcome)
}

// settle is Settle in every case.
func (b *Bulkhead) settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	weight := int(max(-1, min(ticket.Number, MaxLimit))) // nobody holds more or less, and an int may be too small
	var w word
	for {
		w = word(b.word.Load())
		if w.queued() || !w.holds(weight) {
			b.release(weight)
			break
		}
		if b.word.CompareAndSwap(uint64(w), uint64(w)-uint64(weight)) {
			break
		}
	}
	if b.adaptive != nil {
		b.adaptive.end(b, ctx, ticket, outcome, w.inFlight())
	}
}

// acquire is the rest of Admit, when one atomic step is not enough.
func (b *Bulkhead) acquire(ctx context.Context, weight int) error {
	if w := word(b.word.Load()); b.length == 0 && !w.fits(weight) {
		return b.refuse(noSlot(weight, w.limit())) // without the mutex: nobody ever waits here
	}
	w, err := b.join(weight)
	if w == nil {
		return err
	}
	return b.await(ctx, w)
}

// release is the rest of Settle, when one atomic step is not enough.
func (b *Bulkhead) release(weight int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.freeze()
	defer b.thaw()
	if !w.holds(weight) {
		panic(fmt.Sprintf("bulkhead: settling a weight of %d with %d in flight: settled twice, or never admitted", weight, w.inFlight()))
	}
	b.word.Add(-uint64(weight))
	b.grant()
}

// Resize changes the limit while the bulkhead is in use. A higher limit admits those who wait; with a lower one nobody
// is interrupted, but nobody is admitted until enough have ended. Those who wait with a weight above the new limit are
// refused. When limit is not from 1 to [MaxLimit], or the bulkhead is [Adaptive] and sets its limit itself, the error is
// a [*policy.ConfigError] and nothing changes.
func (b *Bulkhead) Resize(limit int) error {
	problems := policy.ConfigError{Policy: "bulkhead"}
	checkLimit(&problems, limit)
	if b.adaptive != nil {
		problems.Add("limit %d: an adaptive bulkhead sets its limit itself", limit)
	}
	if err := problems.Err(); err != nil {
		return err
	}
	b.set.Store(true)
	b.resize(limit)
	return nil
}

func (b *Bulkhead) resize(limit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.freeze()
	b.word.Store(uint64(newWord(w.inFlight(), limit) | queued))
	b.dismissTooHeavy(limit)
	b.grant()
	b.thaw()
}

// freeze keeps everybody else from changing the word until thaw. b.mu must be held.
func (b *Bulkhead) freeze() word { return word(b.word.Or(uint64(queued))) | queued }

// thaw lets admissions go past the mutex again, unless somebody waits. b.mu must be held.
func (b *Bulkhead) thaw() {
	if b.queue.len() == 0 {
		b.word.And(^uint64(queued))
	}
}

func (b *Bulkhead) notePeak(inFlight int) {
	for {
		peak := b.peak.Load()
		if int64(inFlight) <= peak || b.peak.CompareAndSwap(peak, int64(inFlight)) {
			return
		}
	}
}

// Idle reports whether nobody is in flight and nobody waits. A registry of bulkheads per key may then forget it.
func (b *Bulkhead) Idle() bool {
	w := word(b.word.Load())
	return w.inFlight() == 0 && !w.queued() && !b.set.Load()
}

// Snapshot is the state of a bulkhead at one instant.
type Snapshot struct {
	Limit        int    // slots
	InFlight     int    // slots taken; above Limit for a while after a Resize to less
	PeakInFlight int    // the most slots ever taken at a time
	Waiting      int    // attempts in the queue
	PeakWaiting  int    // the most attempts ever in the queue at a time
	Rejected     uint64 // attempts refused; those whose context ended while they waited are not among them
}

// Snapshot returns the current state. It changes nothing.
func (b *Bulkhead) Snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := word(b.word.Load())
	return Snapshot{
		Limit:        w.limit(),
		InFlight:     w.inFlight(),
		PeakInFlight: max(int(b.peak.Load()), w.inFlight()),
		Waiting:      b.queue.len(),
		PeakWaiting:  b.queue.peak,
		Rejected:     b.rejected.Load(),
	}
}

// String returns the limit and the length of the queue, as in
//
//	bulkhead 16
//	bulkhead "users-db" 16+8
//	bulkhead vegas 10 to 200
func (b *Bulkhead) String() string {
	text := "bulkhead "
	if b.name != "" {
		text += fmt.Sprintf("%q ", b.name)
	}
	if b.adaptive != nil {
		text += b.adaptive.String()
	} else {
		text += fmt.Sprint(word(b.word.Load()).limit())
	}
	if b.length > 0 {
		text += fmt.Sprintf("+%d", b.length)
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
