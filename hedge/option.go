package hedge

import (
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Hedge]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a Hedge's configuration, after all options were applied. It never changes once it is in use.
type config struct {
	given            setting.List
	name             string
	delay            time.Duration // fixed; 0 for none
	quantile         float64       // 0 for a fixed delay
	extra            int
	idempotent       bool
	afterFailure     bool
	ratio, perSecond float64       // of Limit
	budget           policy.Budget // of WithBudget, otherwise that of Limit, which the Hedge makes
	group            detached.Config
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure("hedge", nil, opts)
	return err
}

// configure returns what opts say. before is the configuration that they change, whose name, functions and budget stay;
// nil for a new Hedge.
func configure(constructor string, before *config, opts []Option) (*config, error) {
	c := &config{extra: 1, ratio: 0.1, perSecond: 10, group: detached.Config{Limit: 1000}}
	problems := policy.ConfigError{Policy: constructor}
	option.Apply(c, opts, &problems)
	if !c.given.Given("After") && !c.given.Given("Quantile") {
		c.quantile = 0.95
	}
	c.check(&problems)
	if before != nil {
		c.keep(before, &problems)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// check notes what is wrong.
func (c *config) check(problems *policy.ConfigError) {
	given := c.given.Given
	if given("After") && c.delay <= 0 {
		problems.Add("After(%v): must be positive", c.delay)
	}
	if given("Quantile") && !(c.quantile >= 0.5 && c.quantile <= 0.999) {
		problems.Add("Quantile(%v): must lie between 0.5 and 0.999", c.quantile)
	}
	switch {
	case c.extra < 1 || c.extra > 10:
		problems.Add("Extra(%d): must be from 1 to 10", c.extra)
	case c.group.Limit < 1+c.extra:
		problems.Add("MaxRunning(%d): no call could have the %d attempts that it may make", c.group.Limit, 1+c.extra)
	}
	switch {
	case !(c.ratio >= 0 && c.ratio <= 10):
		problems.Add("Limit(%v, %v): the ratio must lie between 0 and 10", c.ratio, c.perSecond)
	case !(c.perSecond >= 0 && c.perSecond <= 1e9):
		problems.Add("Limit(%v, %v): the number per second must lie between 0 and 1e9", c.ratio, c.perSecond)
	case c.ratio == 0 && c.perSecond == 0:
		problems.Add("Limit(0, 0): no extra attempt could ever start")
	}
	if given("WithBudget") && option.IsNil(c.budget) {
		problems.Add("WithBudget: the budget is nil")
	}
	if budget, ok := c.budget.(policy.Guard); ok && given("WithBudget") {
		problems.Add("WithBudget: %T counts the attempts in flight that it admits for a retry: "+
			"a hedge needs a budget that is not a guard", budget)
	}
	if given("Limit") && given("WithBudget") {
		problems.Add("Limit and WithBudget contradict each other")
	}
	if given("OnDiscard") && c.group.OnDiscard == nil {
		problems.Add("OnDiscard: the function is nil")
	}
	if given("OnPanic") && c.group.OnPanic == nil {
		problems.Add("OnPanic: the function is nil")
	}
}

// keep takes over what is no data and was not given anew.
func (c *config) keep(before *config, problems *policy.ConfigError) {
	if c.given.Given("Name") && c.name != before.name {
		problems.Add("Name(%q): the name %q cannot be changed", c.name, before.name)
	}
	shares := before.given.Given("WithBudget")
	leavesShared := shares && c.given.Given("Limit")
	bringsAnother := c.given.Given("WithBudget") && !(shares && option.Same(c.budget, before.budget))
	if leavesShared || bringsAnother {
		problems.Add("the budget cannot be replaced: use its own Reconfigure") // pipelines hold it
	}
	stays := func(name string, again Option) {
		if before.given.Given(name) && !c.given.Given(name) {
			again(c)
		}
	}
	stays("Name", Name(before.name))
	stays("WithBudget", WithBudget(before.budget))
	stays("OnDiscard", OnDiscard(before.group.OnDiscard))
	stays("OnPanic", OnPanic(before.group.OnPanic))
}

// After starts another attempt when none has succeeded for delay, which must be positive. Together with [Quantile] it
// is the delay as long as too few latencies are known.
func After(delay time.Duration) Option {
	return func(c *config) {
		c.delay = delay
		c.given.Data("After", setting.Arg("delay", delay))
	}
}

// Quantile starts another attempt when none has succeeded for longer than the share q of recent first attempts took. It
// must lie between 0.5 and 0.999. So about 1 − q of all calls are hedged. The default is 0.95, unless [After] is given.
//
// The quantile is estimated from the last 30 to 60 seconds with an error of at most 3 % of its value. It takes at
// least 100 latencies, and 10 above the quantile (200 for 0.95, 1000 for 0.99); before that calls are not hedged,
// unless [After] says when. A measured delay is never shorter than 1 ms.
func Quantile(q float64) Option {
	return func(c *config) {
		c.quantile = q
		c.given.Data("Quantile", setting.Arg("q", q))
	}
}

// Extra sets the most extra attempts of a call, beside the first one: from 1 to 10. Each is started when the delay has
// passed again. The default is 1.
func Extra(n int) Option {
	return func(c *config) {
		c.extra = n
		c.given.Data("Extra", setting.Arg("n", n))
	}
}

// Idempotent declares that everything that is run through the Hedge may be done twice. Without it only calls whose
// context is marked with retry.Idempotent are hedged. A mark of retry.NotIdempotent counts more than the declaration.
func Idempotent() Option {
	return func(c *config) {
		c.idempotent = true
		c.given.Data("Idempotent")
	}
}

// AfterFailure starts the next extra attempt at once when an attempt fails and does not decide the call, instead of
// after the delay. By default a failure is the business of a retry around the hedge, which waits and asks the breaker
// first. A rejection never starts an attempt.
func AfterFailure() Option {
	return func(c *config) {
		c.afterFailure = true
		c.given.Data("AfterFailure")
	}
}

// Limit bounds the extra attempts of all calls together. In every period
//
//	extra attempts ≤ ratio × (calls of the period and of the 10 seconds before it)
//	                 + perSecond × seconds + max(1, 10 × perSecond)
//
// where the last term is what the budget begins with. So what calls earn is kept for 10 seconds, as in Finagle's
// RetryBudget. ratio must lie between 0 and 10, perSecond between 0 and 1e9, and they must not both be 0. When nothing
// is left, the running attempts go on alone. The default is Limit(0.1, 10).
func Limit(ratio, perSecond float64) Option {
	return func(c *config) {
		c.ratio, c.perSecond = ratio, perSecond
		c.given.Data("Limit", setting.Arg("ratio", ratio), setting.Arg("perSecond", perSecond))
	}
}

// WithBudget lets budget decide about extra attempts, in place of [Limit]: one budget for the retries and the hedges
// of a dependency, for example. A retry.Budget and a retry.TokenBudget are such budgets. A budget that is a [policy.Guard],
// such as a retry.ConcurrencyBudget, is refused: it counts the attempts of a retry.
func WithBudget(budget policy.Budget) Option {
	return func(c *config) {
		c.budget = budget
		c.given.Code("WithBudget")
	}
}

// MaxRunning bounds the attempts that run on goroutines of their own, all calls together, losers that ignore their
// context included. While it is reached, calls are made without hedging. It must leave room for the attempts of one
// call. The default is 1000.
func MaxRunning(n int) Option {
	return func(c *config) {
		c.group.Limit = n
		c.given.Data("MaxRunning", setting.Arg("n", n))
	}
}

// OnDiscard sets the function that releases the successful results that are not the result of their call. It is called
// exactly once for each, while the goroutine of the attempt waits for it, possibly after the call has returned. By
// default such results are dropped.
func OnDiscard(release func(value any)) Option {
	return func(c *config) {
		c.group.OnDiscard = release
		c.given.Code("OnDiscard")
	}
}

// OnPanic sets a function that is told of every panic of an attempt on a goroutine of its own, with the stack of that
// goroutine. The panic reaches the caller too, unless the call has ended. By default such a panic is only counted.
func OnPanic(handle func(value any, stack []byte)) Option {
	return func(c *config) {
		c.group.OnPanic = handle
		c.given.Code("OnPanic")
	}
}

// Name sets the name that [Hedge.String], reports and snapshots show. By default there is none.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}
