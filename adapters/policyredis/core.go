package policyredis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// kind is the kind of policy in rejections and reports: to those who look at it, it is a rate limiter.
const kind = "rate limiter"

// core is what a [Limiter] and a [PerKey] have in common: everything but which key.
type core struct {
	config  atomic.Pointer[config] // nil only in the zero value
	shadow  atomic.Bool
	changed atomic.Bool // by hand: a new limiter would be another one
	store   *store
	mode    modeSwitch
	clock   stopwatch.Stopwatch
	counts  counts
	perKey  bool // there are many keys: what is wrong with one of them says nothing about the store

	mu sync.Mutex // held by reconfigure
}

// counts is what has happened so far.
type counts struct {
	admitted, rejected, shadowRejected, returned atomic.Uint64
	fellBack                                     atomic.Uint64 // decisions that the store did not make
	forgotten                                    atomic.Uint64
}

// start makes c ready for use.
func (c *core) start(cl client, cfg *config) {
	c.store = newStore(cl, cfg.probe, c.record)
	c.mode.start(cfg.name)
	c.clock = stopwatch.Start()
	c.apply(cfg) // nobody is to be told: a new mode is Shared, whatever the failure mode
}

// apply puts a configuration in force. In a failure mode that changes the mode, and the caller must let it deliver.
func (c *core) apply(cfg *config) {
	c.config.Store(cfg)
	c.shadow.Store(cfg.shadow)
	c.mode.set(cfg.failureMode, cfg.onChange)
}

// reconfigure puts another configuration in the place of the present one.
func (c *core) reconfigure(cfg *config, problems *policy.ConfigError) error {
	err := func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		before := c.config.Load()
		cfg.inherit(before, problems)
		if err := problems.Err(); err != nil {
			return err
		}
		if err := c.store.breaker.Reconfigure(breakerOptions(cfg.probe)...); err != nil {
			return err
		}
		if cfg.probe < before.probe && c.store.breaker.State() == breaker.Open {
			c.store.breaker.Trip() // or it would stay open until its old end
		}
		c.changed.Store(true)
		c.apply(cfg)
		return nil
	}()
	if err == nil {
		c.mode.deliver() // without the lock: listeners may change the configuration, too
	}
	return err
}

// setShadow sets the shadow mode by hand.
func (c *core) setShadow(shadow bool) {
	c.changed.Store(true)
	c.shadow.Store(shadow)
}

// current returns the configuration in force. It panics for the zero value.
func (c *core) current(constructor string) *config {
	cfg := c.config.Load()
	if cfg == nil {
		panic("policyredis: make it with " + constructor)
	}
	return cfg
}

// now returns the time by the process's own clock.
func (c *core) now() moment { return moment(c.clock.Elapsed()) }

// wallTime returns a moment as the callers' clock shows it.
func (c *core) wallTime(m moment) time.Time { return c.clock.Time(time.Duration(m)) }

// ask asks the store.
func (c *core) ask(ctx context.Context, cfg *config, t target, q question) (answer, error) {
	known := t.bucket.account.debtPaidAt()
	return c.store.ask(ctx, request{target: t, question: q, config: cfg, knownPaidAt: known, sent: c.now()})
}

// record notes how a call to the store went, also for the mode; see [errorKind]. It reports what is wrong.
func (c *core) record(r request, a answer, err error) {
	if err != nil {
		c.reportError(r.config, err)
		if !c.perKey || kindOf(err) != aboutKey {
			c.mode.failed(err)
		}
		return
	}
	if !c.store.refusesWrites.Load() {
		c.mode.answered(r.config.probe)
	}
	if r.bucket.overflow || r.question.givesBack() {
		return // what is owed belongs to one key; what goes back may be answered without looking
	}
	if r.bucket.account.hear(c.now(), r, a, r.config.slack()) {
		c.counts.forgotten.Add(1)
		c.reportError(r.config, ErrForgotten)
	}
}

// reportError tells OnError.
func (c *core) reportError(cfg *config, err error) {
	if cfg.onError != nil {
		contained(func() { cfg.onError(err) })
	}
}
