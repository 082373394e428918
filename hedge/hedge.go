package hedge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/budget"
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
	config  atomic.Pointer[config]
	changed atomic.Bool // by Reconfigure
	clock   stopwatch.Stopwatch
	group   *detached.Group // the attempts that run

	mu        sync.Mutex
	latencies *quantile.Estimator // nil for a fixed delay
	ownBudget *budget.Budget      // of Limit; nil if there was never one
	counts    counts
}

// counts is the counters of Snapshot.
type counts struct{ calls, extra, won, overBudget, overMaxRunning uint64 }

var (
	_ policy.Opener      = (*Hedge)(nil)
	_ policy.Discarder   = (*Hedge)(nil)
	_ policy.Checker     = (*Hedge)(nil)
	_ policy.BudgetUser  = (*Hedge)(nil)
	_ policy.Idler       = (*Hedge)(nil)
	_ policy.Reporter    = (*Hedge)(nil)
	_ policy.Policy[any] = Policy[any]{}
	_ fmt.Stringer       = (*Hedge)(nil)
)

// New returns a Hedge. Without options it makes one extra attempt for each call that is marked idempotent and takes
// longer than 95 % of recent ones, within a budget of 10 % of calls plus 10 per second.
//
// New panics with a [*policy.ConfigError] that lists everything that is wrong with the options; see [Validate].
func New(opts ...Option) *Hedge {
	c, err := configure("hedge", nil, opts)
	if err != nil {
		panic(err)
	}
	h := &Hedge{clock: stopwatch.Start(), group: detached.NewGroup(c.group)}
	h.use(c)
	return h
}

// Reconfigure changes the options, as if the Hedge had been made with them, for calls that begin from now on. What is
// not given has its default again, except the name, functions, and a budget given to [WithBudget], which stay unless
// they are given. Counts stay, and so do, as far as the new options have use for them, latencies and what is in the
// budget of [Limit]. Attempts that run are not cut short by a lower bound of [MaxRunning].
//
// Reconfigure returns a [*policy.ConfigError], and changes nothing, where [New] would panic, and when another name or
// another budget is given: a budget has a Reconfigure of its own. It is safe while the Hedge is in use. It does not
// compare the delay with the limits of other layers, as composing does.
func (h *Hedge) Reconfigure(opts ...Option) error {
	h.current()
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := configure("hedge.Reconfigure", h.current(), opts)
	if err != nil {
		return err
	}
	h.changed.Store(true) // first: a new Hedge would not have what changes
	h.group.Configure(c.group)
	h.use(c)
	return nil
}

// use makes c the configuration, with the budget of Limit if it has no other. h.mu must be held, unless h is new.
func (h *Hedge) use(c *config) {
	switch {
	case c.quantile == 0:
		h.latencies = nil
	case h.latencies == nil:
		h.latencies = quantile.New(c.quantile)
	default:
		h.latencies.SetQuantile(c.quantile)
	}
	if c.budget == nil {
		if h.ownBudget == nil {
			h.ownBudget = budget.New(c.ratio, c.perSecond)
		} else {
			h.ownBudget.Reconfigure(c.ratio, c.perSecond)
		}
		c.budget = h.ownBudget
	}
	h.config.Store(c)
}

// current returns the configuration in force. It panics for the zero value.
func (h *Hedge) current() *config {
	if h != nil {
		if c := h.config.Load(); c != nil {
			return c
		}
	}
	panic("hedge: a Hedge that was not made by New")
}

// Stage returns [policy.StageHedge].
func (h *Hedge) Stage() policy.Stage {
	h.current()
	return policy.StageHedge
}

// Run implements [policy.Wrapper].
//
// A call that is not hedged runs on the caller's goroutine: one that is not idempotent, that has no delay yet, or
// whose deadline comes before the delay, unless a failure is to start another attempt ([AfterFailure]). So does one
// that finds the bound of [MaxRunning] reached. Otherwise each attempt, the first one too, has a goroutine of its
// own, so that an attempt that ignores its context cannot hold up the others.
func (h *Hedge) Run(ctx context.Context, attempt func(context.Context) error) error {
	return h.run(ctx, operation{do: attempt})
}

// Open implements [policy.Opener]. It is Run, except that the context of the attempt that wins is not ended.
func (h *Hedge) Open(ctx context.Context, attempt func(ctx context.Context, end context.CancelFunc) error) error {
	return h.run(ctx, operation{open: attempt})
}

func (h *Hedge) run(ctx context.Context, op operation) error {
	c := h.current()
	if !c.mayRepeat(ctx) {
		return op.alone(ctx)
	}
	delay := h.begin(c)
	if delay > 0 && (c.afterFailure || fits(ctx, delay)) {
		r := race{hedge: h, config: c, ctx: ctx, op: op, delay: delay, runs: h.group.Runs(1 + c.extra)}
		if r.start() {
			return r.run()
		}
		h.count(func(c *counts) { c.overMaxRunning++ })
	}
	start := h.clock.Elapsed()
	err := op.alone(ctx)
	h.observe(h.clock.Elapsed()-start, delay, err == nil)
	return err
}

// mayRepeat reports whether the work under ctx may be done twice at the same time.
func (c *config) mayRepeat(ctx context.Context) bool {
	if mark, marked := idempotence.Of(ctx); marked {
		return mark == idempotence.AtOnce
	}
	return c.idempotent
}

// begin counts a call and returns the delay before another attempt, or 0 when it is not known yet.
func (h *Hedge) begin(c *config) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.calls++
	return h.delay(c)
}

func (h *Hedge) count(add func(*counts)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	add(&h.counts)
}

// delay is called with h.mu held.
func (h *Hedge) delay(c *config) time.Duration {
	if h.latencies != nil {
		if latency, known := h.latencies.Estimate(); known {
			return max(minDelay, latency)
		}
	}
	return c.delay
}

// fits reports whether ctx leaves time for another attempt after delay.
func fits(ctx context.Context, delay time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || delay < time.Until(deadline)
}

// observe learns from how long a first attempt took. One that was cut short, or failed, after the delay was slow for
// certain, and how slow does not matter for the quantile: leaving it out would shorten the delay without end.
func (h *Hedge) observe(took, delay time.Duration, succeeded bool) {
	if !succeeded && (delay == 0 || took < delay) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.latencies != nil {
		h.latencies.Observe(took)
	}
}

// Discard implements [policy.Discarder]: it hands a successful result that lost to the function given to [OnDiscard].
func (h *Hedge) Discard(value any) {
	h.current()
	h.group.Discard(value)
}

// Budget implements [policy.BudgetUser]. It returns the budget given to [WithBudget], or the one of [Limit].
func (h *Hedge) Budget() policy.Budget { return h.current().budget }

// Idle reports whether a new Hedge in this one's place would allow no more: no attempt is running, the budget is not
// spent, and the Hedge was never reconfigured. The latencies that it has learned may be forgotten.
func (h *Hedge) Idle() bool {
	if idler, ok := h.current().budget.(interface{ Idle() bool }); ok && !idler.Idle() {
		return false
	}
	return !h.changed.Load() && h.group.Counts().Running == 0
}

// String returns the name, the number of extra attempts and the delay, such as `hedge 1 after p95` or
// `hedge "users" 2 after 20ms`.
func (h *Hedge) String() string {
	c := h.current()
	after := c.delay.String()
	if c.quantile != 0 {
		after = fmt.Sprintf("p%.4g", 100*c.quantile)
	}
	if c.name != "" {
		return fmt.Sprintf("hedge %q %d after %s", c.name, c.extra, after)
	}
	return fmt.Sprintf("hedge %d after %s", c.extra, after)
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
