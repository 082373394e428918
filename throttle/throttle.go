package throttle

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// ErrThrottled is matched by the rejections of a [Throttle]. They match [policy.ErrRejected] too. They do not say when
// to come back: the next attempt may be let through.
var ErrThrottled = errors.New("throttled: too few attempts are accepted")

// Throttle refuses attempts by chance, the more the fewer are accepted. It is a [policy.Guard] and a [policy.Gate].
//
// Make one per dependency with [New] and share it. It is safe for concurrent use. Admission reads the clock once;
// admission and settlement of a success take no lock, except that the first admission in each bucket of the window
// moves the window on.
type Throttle struct {
	name      string
	k         float64
	padding   float64
	random    func() float64
	classify  func(error) policy.Class
	rejection *policy.Rejection

	clock   stopwatch.Stopwatch
	shift   atomic.Int64 // between the clock and the time of the window
	window  *window
	refused atomic.Uint64
}

var (
	_ policy.Guard       = (*Throttle)(nil)
	_ policy.Gate        = (*Throttle)(nil)
	_ fmt.Stringer       = (*Throttle)(nil)
	_ policy.Policy[any] = Policy[any]{}
)

// New returns a Throttle. Without options it lets a dependency have twice what it accepted in the last 30 seconds.
//
// New panics with a [*policy.ConfigError] that lists every option that makes no sense; see [Validate].
func New(opts ...Option) *Throttle {
	c := configure(opts)
	if err := c.problems.Err(); err != nil {
		panic(err)
	}
	return &Throttle{
		name:      c.name,
		k:         c.k,
		padding:   float64(c.padding),
		random:    c.random,
		classify:  c.classify,
		rejection: &policy.Rejection{Kind: "throttle", Name: c.name, Reason: ErrThrottled},
		clock:     stopwatch.Start(),
		window:    newWindow(c.window, c.buckets),
	}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	return configure(opts).problems.Err()
}

// Stage returns [policy.StageBreaker].
func (t *Throttle) Stage() policy.Stage { return policy.StageBreaker }

// Admit refuses by chance with a [*policy.Rejection] that matches [ErrThrottled], and admits otherwise. A refusal
// counts as a request that was not accepted.
func (t *Throttle) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	newest, tally := t.window.advance(t.now())
	if p := t.probability(tally); p > 0 && t.random() < p {
		t.window.bucket(newest).refused.Add(1)
		t.refused.Add(1)
		return nil, policy.Ticket{}, t.rejection
	}
	t.window.bucket(newest).started.Add(1)
	return ctx, policy.Ticket{Period: uint64(newest)}, nil
}

// Settle counts how the attempt ended. A neutral outcome counts as if it had never been asked for.
func (t *Throttle) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	start := int64(ticket.Period)
	switch outcome.Verdict(t.classify) {
	case policy.Success:
		t.window.answered(start, true)
	case policy.Neutral:
		t.window.withdraw(start)
	default:
		t.window.answered(start, false)
	}
}

// Ready returns the rejection when an attempt is more likely to be refused than admitted, and nil otherwise. It draws
// no lot and counts nothing, so the answer only changes with what was counted and with time.
//
// A retry that asks therefore does not sleep for an attempt that would probably be refused, and gives the dependency,
// which has more than it can take, no repetitions beside the first attempts that find out how it is.
func (t *Throttle) Ready(context.Context) error {
	if t.probability(t.window.at(t.now())) > 0.5 {
		return t.rejection
	}
	return nil
}

// probability returns the probability of refusal, from 0 up to, not including, 1.
func (t *Throttle) probability(counts tally) float64 {
	requests, accepts := float64(counts.requests), float64(counts.accepts)
	return max(0, (requests-t.k*accepts)/(requests+t.padding))
}

// replaced is how far back the clock must go to be another one, as when a throttle that was made outside of a
// testing/synctest bubble is used inside. It then goes on by the new clock: a window that waits for the old time to come
// again would never move.
const replaced = 24 * time.Hour

// now returns the time of the window.
func (t *Throttle) now() time.Duration {
	reading, newest := t.clock.Elapsed(), t.window.begin()
	now := reading + time.Duration(t.shift.Load())
	if newest-now > replaced {
		t.shift.Store(int64(newest - reading))
		return newest
	}
	return now
}

// Idle reports whether every attempt would be admitted now, so that forgetting the Throttle and making a new one would
// let nothing through that it refuses. It is at the latest true when it was not used for the length of its window.
func (t *Throttle) Idle() bool {
	return t.probability(t.window.at(t.now())) == 0
}

// Snapshot is the state of a [Throttle] at one moment.
type Snapshot struct {
	Name        string
	Requests    int64   // in the window: attempts that ended, hang, or were refused
	Accepts     int64   // in the window: attempts that ended with success
	Probability float64 // of refusing an attempt now, from 0 up to, not including, 1
	Refused     uint64  // attempts, since the Throttle was made
}

// Snapshot returns one consistent value. It changes nothing.
func (t *Throttle) Snapshot() Snapshot {
	counts := t.window.at(t.now())
	return Snapshot{
		Name:        t.name,
		Requests:    counts.requests,
		Accepts:     counts.accepts,
		Probability: t.probability(counts),
		Refused:     t.refused.Load(),
	}
}

// String returns the name, as in `throttle "users-db"`, or `throttle` if there is none.
func (t *Throttle) String() string {
	if t.name == "" {
		return "throttle"
	}
	return fmt.Sprintf("throttle %q", t.name)
}

// Policy is a [Throttle] as a [policy.Policy] for results of type T. All views of a Throttle share its counts.
type Policy[T any] struct{ Throttle *Throttle }

// Do runs op unless the throttle refuses. It panics when the Throttle, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Throttle == nil {
		panic("throttle: Policy without a Throttle; use throttle.New")
	}
	return engine.DoLayer(ctx, p.Throttle, op)
}
