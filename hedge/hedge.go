package hedge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/internal/quantile"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// minDelay bounds a measured delay from below: a timer and a goroutine are not worth less.
const minDelay = time.Millisecond

// Hedge starts another attempt when one takes too long, and returns the first success. It is a [policy.Wrapper], safe
// for concurrent use, and may be part of several pipelines, which then share its latencies, its budget and its bound.
type Hedge struct {
	config
	clock stopwatch.Stopwatch
	group *detached.Group // the attempts that run

	mu        sync.Mutex
	latencies *quantile.Estimator // nil for a fixed delay
	counts    counts
}

// counts is what Snapshot tells of the past.
type counts struct{ calls, extra, won, starved, crowded uint64 }

var (
	_ policy.Wrapper     = (*Hedge)(nil)
	_ policy.Discarder   = (*Hedge)(nil)
	_ policy.Checker     = (*Hedge)(nil)
	_ policy.Policy[any] = Policy[any]{}
	_ fmt.Stringer       = (*Hedge)(nil)
)

// New returns a Hedge. Without options it makes one extra attempt for each call that is marked idempotent and takes
// longer than 95 % of recent ones, within a budget of 10 % of calls plus 10 per second.
//
// New panics with a [*policy.ConfigError] that lists every option that makes no sense; see [Validate].
func New(opts ...Option) *Hedge {
	c, err := configure(opts)
	if err != nil {
		panic(err)
	}
	h := &Hedge{config: c, clock: stopwatch.Start()}
	h.group = &detached.Group{Limit: c.limit, OnPanic: c.onPanic, OnDiscard: c.onDiscard}
	if c.quantile != 0 {
		h.latencies = quantile.New(c.quantile)
	}
	return h
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
	return err
}

// Stage returns [policy.StageHedge].
func (h *Hedge) Stage() policy.Stage { return policy.StageHedge }

// Run implements [policy.Wrapper].
//
// A call that is not hedged runs on the caller's goroutine: one that is not idempotent, that has no delay yet, or whose
// deadline comes before the delay. So does one that finds the bound of [MaxRunning] reached. Otherwise each attempt,
// the first one too, has a goroutine of its own, so that an attempt that ignores its context cannot hold up the others.
func (h *Hedge) Run(ctx context.Context, call func(context.Context) error) error {
	if !h.mayRepeat(ctx) {
		return call(ctx)
	}
	delay := h.begin()
	if delay > 0 && fits(ctx, delay) {
		r := race{hedge: h, ctx: ctx, call: call, delay: delay, calls: h.group.Calls(1 + h.extra)}
		if r.start() {
			return r.run()
		}
		h.count(func(c *counts) { c.crowded++ })
	}
	start := h.clock.Elapsed()
	err := call(ctx)
	h.observe(h.clock.Elapsed()-start, delay, err == nil)
	return err
}

// mayRepeat reports whether the work under ctx may be done twice.
func (h *Hedge) mayRepeat(ctx context.Context) bool {
	if marked, idempotent := idempotence.Of(ctx); marked {
		return idempotent
	}
	return h.idempotent
}

// begin counts a call and returns the delay before another attempt, or 0 when it is not known yet.
func (h *Hedge) begin() time.Duration {
	if h.own != nil {
		h.own.deposit()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.calls++
	return h.currentDelay()
}

func (h *Hedge) count(add func(*counts)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	add(&h.counts)
}

// currentDelay is called with h.mu held.
func (h *Hedge) currentDelay() time.Duration {
	if h.latencies != nil {
		if latency, known := h.latencies.Estimate(); known {
			return max(minDelay, latency)
		}
	}
	return h.delay
}

// fits reports whether ctx leaves time for another attempt after delay.
func fits(ctx context.Context, delay time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || delay < time.Until(deadline)
}

// observe learns from how long a first attempt took. One that was cut short, or failed, after the delay was slow for
// certain, and how slow does not matter for the quantile: leaving it out would shorten the delay without end.
func (h *Hedge) observe(took, delay time.Duration, succeeded bool) {
	if h.latencies == nil || !succeeded && (delay == 0 || took < delay) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.latencies.Observe(took)
}

// Discard implements [policy.Discarder]: it hands a successful result that lost to the function given to [OnDiscard].
func (h *Hedge) Discard(value any) { h.group.Discard(value) }

// String returns the name, the number of extra attempts and the delay, such as `hedge 1 after p95` or
// `hedge "users" 2 after 20ms`.
func (h *Hedge) String() string {
	after := h.delay.String()
	if h.latencies != nil {
		after = fmt.Sprintf("p%.4g", 100*h.quantile)
	}
	if h.name != "" {
		return fmt.Sprintf("hedge %q %d after %s", h.name, h.extra, after)
	}
	return fmt.Sprintf("hedge %d after %s", h.extra, after)
}

// Snapshot is what a [Hedge] is and has done, at one moment.
type Snapshot struct {
	Name      string
	Delay     time.Duration // before another attempt, as of now; 0 while too few latencies are known
	Calls     uint64        // calls that were allowed to be hedged
	Extra     uint64        // extra attempts that were started
	Won       uint64        // calls that an extra attempt won
	Starved   uint64        // extra attempts that the budget refused
	Crowded   uint64        // attempts that found MaxRunning reached: first ones were made without hedging, extra ones were not
	Discarded uint64        // successful results that were not the result of their call
	Running   int           // attempts on goroutines of their own that have not ended
	Left      int           // those of them whose call has ended: losers that are still on their way out
	Panics    uint64        // panics that came after the end of their call, or in the function given to OnDiscard
}

// Snapshot returns one consistent value. It changes nothing.
func (h *Hedge) Snapshot() Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	attempts := h.group.Counts()
	return Snapshot{
		Name: h.name, Delay: h.currentDelay(),
		Calls: h.counts.calls, Extra: h.counts.extra, Won: h.counts.won, Starved: h.counts.starved, Crowded: h.counts.crowded,
		Discarded: attempts.Discarded, Running: attempts.Running, Left: attempts.Left, Panics: attempts.Panics,
	}
}

// Policy is a [Hedge] as a [policy.Policy] for results of type T. All views of a Hedge are one Hedge.
type Policy[T any] struct{ Hedge *Hedge }

// Do runs op, hedged. It panics when the Hedge, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Hedge == nil {
		panic("hedge: Policy.Do with a nil Hedge")
	}
	return engine.DoLayer(ctx, p.Hedge, op)
}
