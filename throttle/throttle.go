package throttle

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Throttle rejects attempts by chance, the more the fewer are accepted. It is a [policy.Guard] and
// a [policy.Gate].
//
// Make one per dependency with [New] and share it. It is safe for concurrent use. Admission reads
// the clock once; admission and settlement of a success take no lock, except that the first
// admission in each bucket of the window moves the window on.
type Throttle struct {
	clock          stopwatch.Steady
	config         atomic.Pointer[config]
	changing       sync.Mutex // held while config is changed
	shadow         atomic.Bool
	byHand         atomic.Bool // changed by Reconfigure, Shadow or Enforce: a new Throttle would be another one
	rejected       atomic.Uint64
	shadowRejected atomic.Uint64
}

var (
	_ policy.Guard       = (*Throttle)(nil)
	_ policy.Gate        = (*Throttle)(nil)
	_ policy.Returner    = (*Throttle)(nil)
	_ policy.Idler       = (*Throttle)(nil)
	_ policy.Reporter    = (*Throttle)(nil)
	_ fmt.Stringer       = (*Throttle)(nil)
	_ policy.Policy[any] = Policy[any]{}
)

// New returns a Throttle. Without options it lets a dependency have twice what it accepted in the
// last 30 seconds.
//
// New panics with a [*policy.ConfigError] that lists every option out of its range; see [Validate].
func New(opts ...Option) *Throttle {
	c, err := configure(nil, opts)
	if err != nil {
		panic(err)
	}
	c.window = newWindow(c.length, c.buckets, 0)
	t := &Throttle{clock: stopwatch.StartSteady()}
	t.shadow.Store(c.shadow)
	t.config.Store(c)
	return t
}

// Reconfigure changes the configuration to opts, while the Throttle is in use. What is not given
// gets its default, except the functions and sources of [Classify] and [Rand] and the [Name], which
// stay. When opts are not valid, or give another name, Reconfigure returns a [*policy.ConfigError]
// and changes nothing.
//
// All counts stay. If the [Window] changes, what happened is sorted into the new buckets and can be
// forgotten up to a bucket earlier.
func (t *Throttle) Reconfigure(opts ...Option) error {
	t.current()
	t.changing.Lock()
	defer t.changing.Unlock()
	before := t.current()
	c, err := configure(before, opts)
	if err != nil {
		return err
	}
	t.byHand.Store(true) // first: a new Throttle would not have what changes
	c.window = before.window
	if c.length != before.length || c.buckets != before.buckets {
		c.window = before.window.replace(c.length, c.buckets, t.now(before.window))
	}
	t.config.Store(c)
	t.shadow.Store(c.shadow)
	return nil
}

// current returns the configuration in force. It panics for the zero value.
func (t *Throttle) current() *config {
	c := t.config.Load()
	if c == nil {
		panic("throttle: a Throttle must be made with throttle.New")
	}
	return c
}

// Shadow stops the throttle from rejecting. Everything is counted as if it did: an attempt that
// would have been rejected counts as a request that was not accepted, whatever becomes of it, and
// in ShadowRejected. So the counts are those that an enforcing throttle would have. Retries see no
// refusing gate.
func (t *Throttle) Shadow() { t.setShadow(true) }

// Enforce ends the effect of [Throttle.Shadow]. The throttle goes on from the counts that it has.
func (t *Throttle) Enforce() { t.setShadow(false) }

func (t *Throttle) setShadow(shadow bool) {
	t.current()
	t.changing.Lock()
	defer t.changing.Unlock()
	if t.shadow.Load() != shadow {
		t.byHand.Store(true)
		t.shadow.Store(shadow)
	}
}

// Stage returns [policy.StageBreaker].
func (t *Throttle) Stage() policy.Stage { return policy.StageBreaker }

// What a ticket's Number says of the attempt.
//
// Its Start is when the bucket began that the attempt was admitted in, not the number of that bucket: Reconfigure may change
// the width of the buckets before the attempt ends, and then that moment lies in a bucket of another number.
const (
	stateOpen     = iota // it counts when it is settled
	stateCounted         // its success was counted when the operation returned
	stateShadowed        // its rejection was counted, it was let through in shadow mode, and does not count again
)

// Admit rejects by chance with a [*policy.Rejection] that matches [ErrThrottled], and admits
// otherwise. A rejection counts as a request that was not accepted.
func (t *Throttle) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	c := t.current()
	w := c.window
	newest, counts := w.advance(t.now(w))
	for t.outdated(w) {
		c = t.current()
		w = c.window
		newest, counts = w.advance(t.now(w))
	}
	if p := c.probability(counts); p > 0 && c.random.Float64() < p {
		w.count(&w.bucket(newest).refused)
		if t.shadow.Load() {
			t.shadowRejected.Add(1)
			return ctx, policy.Ticket{Number: stateShadowed}, nil
		}
		t.rejected.Add(1)
		return nil, policy.Ticket{}, c.rejection
	}
	w.count(&w.bucket(newest).started)
	return ctx, policy.Ticket{Start: time.Duration(newest) * w.width}, nil
}

// Returned counts the success of an operation whose result stays open.
func (t *Throttle) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	if ticket.Number == stateOpen {
		w := t.current().window
		w.answered(w.number(ticket.Start), true)
		ticket.Number = stateCounted
	}
	return ticket
}

// Settle counts how the attempt ended. A neutral outcome counts as if it had never been asked for.
// If the success of the operation was counted when it returned, a failure counts as one more
// request, which was not accepted, and any other outcome not at all.
func (t *Throttle) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ticket.Number == stateShadowed { // whatever becomes of it
		return
	}
	c := t.current()
	w := c.window
	verdict := c.judge(outcome)
	switch {
	case ticket.Number == stateCounted:
		if verdict == policy.Failure {
			w.failed()
		}
	case verdict == policy.Neutral:
		w.forget(w.number(ticket.Start))
	default:
		w.answered(w.number(ticket.Start), verdict == policy.Success)
	}
}

// judge returns Success for an outcome that means accepted, Failure for one that means not
// accepted, and Neutral for one that does not count.
//
// Verdict asks for the class only where it decides, and would take the outcome's own class for one that
// is Unclassified. That class has to be translated too, so it is looked up inside.
func (c *config) judge(outcome policy.Outcome) policy.Verdict {
	return outcome.Verdict(func(error) policy.Class { return asAccepted(outcome.ClassBy(c.classify)) })
}

// asAccepted translates the two classes that mean something else to a throttle than to a breaker:
//
//	Permanent   the dependency has accepted the attempt, as when the error is Expected
//	Throttled   it has not, as when the error is Transient
func asAccepted(class policy.Class) policy.Class {
	switch class {
	case policy.Permanent:
		return policy.Expected
	case policy.Throttled:
		return policy.Transient
	}
	return class
}

// Ready returns the rejection when an attempt is more likely to be rejected than admitted, and nil
// otherwise. It draws no lot and counts nothing, so the answer only changes with what was counted
// and with time.
//
// A retry that asks therefore does not sleep for an attempt that would probably be rejected, and
// gives the dependency, which has more than it can take, no repetitions beside the first attempts
// that find out how it is.
func (t *Throttle) Ready(context.Context) error {
	c, counts := t.read()
	if !t.shadow.Load() && c.probability(counts) > 0.5 {
		return c.rejection
	}
	return nil
}

// probability returns the probability of a rejection, from 0 up to, not including, 1.
func (c *config) probability(counts tally) float64 {
	requests, accepts := float64(counts.requests), float64(counts.accepts)
	return max(0, (requests-c.k*accepts)/(requests+float64(c.padding)))
}

// read returns the configuration and the tally, and changes nothing.
func (t *Throttle) read() (c *config, counts tally) {
	for again := true; again; again = t.outdated(c.window) {
		c = t.current()
		_, counts = c.window.at(t.now(c.window))
	}
	return c, counts
}

// outdated reports whether w is being replaced: a tally that was read from it may lack counts that are on their way to the next
// window. Then it waits for the change, and whoever has read must read again, from the window that is in use now.
func (t *Throttle) outdated(w *window) bool {
	if w.next.Load() == nil {
		return false
	}
	t.awaitChange()
	return true
}

// awaitChange returns when the change of the configuration that is being made, if any, has been made.
func (t *Throttle) awaitChange() {
	t.changing.Lock()
	defer t.changing.Unlock()
}

// now returns the time of the window.
func (t *Throttle) now(w *window) time.Duration { return t.clock.Moment(w.begin(), t.clock.Reading()) }

// Idle reports whether every attempt would be admitted now and nothing was changed since the
// Throttle was made, so that forgetting it and making a new one would let nothing through that it
// rejects. A Throttle that was not changed is idle at the latest when it was not used for the
// length of its window.
func (t *Throttle) Idle() bool {
	c, counts := t.read()
	return !t.byHand.Load() && c.probability(counts) == 0
}

// String returns the name, as in `throttle "users-db"`, or `throttle` if there is none.
func (t *Throttle) String() string {
	name := t.current().name
	if name == "" {
		return "throttle"
	}
	return fmt.Sprintf("throttle %q", name)
}

// Policy is a [Throttle] as a [policy.Policy] for results of type T. All views of a Throttle share
// its counts.
type Policy[T any] struct{ Throttle *Throttle }

// Do runs op unless the throttle refuses. It panics when the Throttle, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Throttle == nil {
		panic("throttle: Policy without a Throttle; use throttle.New")
	}
	return engine.DoLayer(ctx, p.Throttle, op)
}
