package hedge

import (
	"reflect"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Hedge]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a Hedge's configuration, after all options were applied.
type config struct {
	name         string
	delay        time.Duration // fixed; 0 for none
	quantile     float64       // 0 for a fixed delay
	extra        int
	idempotent   bool
	afterFailure bool
	own          *allowance // nil for a budget from elsewhere
	budget       Budget
	limit        int
	onDiscard    func(value any)
	onPanic      func(value any, stack []byte)

	problems policy.ConfigError
}

func configure(opts []Option) (config, error) {
	c := config{extra: 1, limit: 1000, problems: policy.ConfigError{Policy: "hedge"}}
	for i, opt := range opts {
		if opt == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		opt(&c)
	}
	if c.delay == 0 && c.quantile == 0 {
		c.quantile = 0.95
	}
	switch {
	case c.budget == nil && c.own == nil:
		c.own = newAllowance(0.1, 10)
	case c.budget != nil && c.own != nil:
		c.problems.Add("Limit and WithBudget contradict each other")
	}
	if c.own != nil {
		c.budget = c.own
	}
	if c.limit < 1+c.extra {
		c.problems.Add("MaxRunning(%d): no call could have the %d attempts that it may make", c.limit, 1+c.extra)
	}
	return c, c.problems.Err()
}

// After starts another attempt when none has succeeded for delay, which must be positive. Together with [Quantile] it
// is the delay as long as too few latencies are known.
func After(delay time.Duration) Option {
	return func(c *config) {
		if delay <= 0 {
			c.problems.Add("After(%v): must be positive", delay)
		}
		c.delay = delay
	}
}

// Quantile starts another attempt when none has succeeded for longer than the share q of recent first attempts took
// [0.95, unless After is given]. It must lie between 0.5 and 0.999. So about 1 − q of all calls are hedged.
//
// The quantile is estimated from the last 30 to 60 seconds with an error of at most 3 % of its value. It takes at
// least 100 latencies, and 10 above the quantile (200 for 0.95, 1000 for 0.99); before that calls are not hedged,
// unless [After] says when. A measured delay is never shorter than 1 ms.
func Quantile(q float64) Option {
	return func(c *config) {
		if !(q >= 0.5 && q <= 0.999) {
			c.problems.Add("Quantile(%v): must lie between 0.5 and 0.999", q)
		}
		c.quantile = q
	}
}

// Extra sets the most extra attempts of a call, beside the first one [1]: from 1 to 10. Each is started when the delay
// has passed again.
func Extra(n int) Option {
	return func(c *config) {
		if n < 1 || n > 10 {
			c.problems.Add("Extra(%d): must be from 1 to 10", n)
		}
		c.extra = n
	}
}

// Idempotent declares that everything that is run through the Hedge may be done twice. Without it only calls whose
// context is marked with retry.Idempotent are hedged. A mark of retry.NotIdempotent counts more than the declaration.
func Idempotent() Option {
	return func(c *config) { c.idempotent = true }
}

// AfterFailure starts the next extra attempt at once when an attempt fails, instead of after the delay [off]. By
// default a failure is the business of a retry around the hedge, which waits and asks the breaker first. A rejection
// never starts an attempt.
func AfterFailure() Option {
	return func(c *config) { c.afterFailure = true }
}

// Limit bounds the extra attempts of all calls together [0.1, 10]. In every period
//
//	extra attempts ≤ ratio × calls + perSecond × seconds + max(1, 10 × perSecond)
//
// where the last term is what the budget begins with, and the most that it can hold. ratio must lie between 0 and 10,
// perSecond between 0 and 1e9, and they must not both be 0. When nothing is left, the running attempts go on alone.
func Limit(ratio, perSecond float64) Option {
	return func(c *config) {
		switch {
		case !(ratio >= 0 && ratio <= 10):
			c.problems.Add("Limit(%v, %v): the ratio must lie between 0 and 10", ratio, perSecond)
		case !(perSecond >= 0 && perSecond <= 1e9):
			c.problems.Add("Limit(%v, %v): the number per second must lie between 0 and 1e9", ratio, perSecond)
		case ratio == 0 && perSecond == 0:
			c.problems.Add("Limit(0, 0): no extra attempt could ever start")
		}
		c.own = newAllowance(ratio, perSecond)
	}
}

// WithBudget lets budget decide about extra attempts, in place of [Limit]: one budget for the retries and the hedges
// of a dependency, for example. Who made the budget counts the calls that fill it.
func WithBudget(budget Budget) Option {
	return func(c *config) {
		if v := reflect.ValueOf(budget); budget == nil || v.Kind() == reflect.Pointer && v.IsNil() {
			c.problems.Add("WithBudget: the budget is nil")
		}
		c.budget = budget
	}
}

// MaxRunning bounds the attempts that run on goroutines of their own, all calls together, losers that do not heed
// their context included [1000]. While it is reached, calls are made without hedging. It must leave room for the
// attempts of one call.
func MaxRunning(n int) Option {
	return func(c *config) { c.limit = n }
}

// OnDiscard sets the function that releases the successful results that are not the result of their call [none]. It
// is called exactly once for each, on the goroutine of the attempt, possibly after the call has returned.
func OnDiscard(release func(value any)) Option {
	return func(c *config) {
		if release == nil {
			c.problems.Add("OnDiscard: the function is nil")
		}
		c.onDiscard = release
	}
}

// OnPanic sets a function that hears of every panic of an attempt on a goroutine of its own, with the stack of that
// goroutine [none]. The panic reaches the caller too, unless the call has ended: then nobody else hears of it.
func OnPanic(handle func(value any, stack []byte)) Option {
	return func(c *config) {
		if handle == nil {
			c.problems.Add("OnPanic: the function is nil")
		}
		c.onPanic = handle
	}
}

// Name sets the name that [Hedge.String] and snapshots show [none].
func Name(name string) Option {
	return func(c *config) { c.name = name }
}
