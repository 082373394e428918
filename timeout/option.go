package timeout

import (
	"fmt"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Validate returns the [*policy.ConfigError] that [Total] and [PerAttempt] would panic with, or nil.
func Validate(limit time.Duration) error { return problemsOf("timeout", limit).Err() }

// problemsOf returns what is wrong with a fixed limit.
func problemsOf(constructor string, limit time.Duration) *policy.ConfigError {
	problems := &policy.ConfigError{Policy: constructor}
	if limit <= 0 {
		problems.Add("limit %v: must be positive", limit)
	}
	return problems
}

// ValidateFromLatency returns the [*policy.ConfigError] that [FromLatency] would panic with, or nil.
func ValidateFromLatency(q, factor float64, floor, most time.Duration) error {
	return problemsFromLatency("timeout.FromLatency", q, factor, floor, most).Err()
}

// problemsFromLatency returns what is wrong with the arguments of FromLatency.
func problemsFromLatency(constructor string, q, factor float64, floor, most time.Duration) *policy.ConfigError {
	problems := &policy.ConfigError{Policy: constructor}
	if !(q >= 0.5 && q <= 0.999) {
		problems.Add("quantile %v: must lie between 0.5 and 0.999", q)
	}
	if !(factor >= 1 && factor <= 100) {
		problems.Add("factor %v: must lie between 1 and 100", factor)
	}
	if floor <= 0 {
		problems.Add("floor %v: must be positive", floor)
	}
	if floor > most {
		problems.Add("floor %v: is above the most, %v", floor, most)
	}
	return problems
}

// config is how a [Timeout] is configured, and what follows from it at the moment. It never changes once it is in use.
type config struct {
	given     setting.List
	most      time.Duration // the fixed limit, or the longest one
	q, factor float64       // of FromLatency; q is 0 for a fixed limit
	floor     time.Duration

	grant // to attempts that begin now
}

// grant is the time that an attempt gets.
type grant struct {
	limit  time.Duration
	expiry *Error // of an attempt that exceeds it
}

func newGrant(limit time.Duration, scope scope, by policy.Layer) grant {
	return grant{limit: limit, expiry: &Error{Limit: limit, scope: scope, by: by}}
}

// String returns how the limit is made, such as "300ms" or "3×p99 from 10ms to 1s".
func (c *config) String() string {
	if c.q == 0 {
		return c.most.String()
	}
	return fmt.Sprintf("%.4g×p%.4g from %v to %v", c.factor, 100*c.q, c.floor, c.most)
}

// setting returns the constructor with its argument, as a report shows it.
func (s scope) setting(limit time.Duration) (list setting.List) {
	list.Data(s.constructor, setting.Arg("limit", limit))
	return list
}

// settingFromLatency returns FromLatency with its arguments.
func (c *config) settingFromLatency() (list setting.List) {
	list.Data("FromLatency",
		setting.Arg("q", c.q), setting.Arg("factor", c.factor), setting.Arg("floor", c.floor), setting.Arg("most", c.most))
	return list
}

// AbandonOption configures an [Abandoner]. Of the same option given twice, the later one counts.
type AbandonOption func(*abandonConfig)

// abandonConfig is the configuration of an [Abandoner]. It never changes once it is in use.
type abandonConfig struct {
	given setting.List
	group detached.Config
	grant
}

// defaultMaxRunning leaves room for a healthy service, and not for a memory full of goroutines.
const defaultMaxRunning = 1000

// configure returns the configuration of a with limit and opts. before is the one that they change, whose functions stay; nil
// for a new Abandoner.
func (a *Abandoner) configure(
	constructor string, before *abandonConfig, limit time.Duration, opts []AbandonOption,
) (*abandonConfig, error) {
	c := &abandonConfig{
		given: scopeAbandoned.setting(limit),
		group: detached.Config{Limit: defaultMaxRunning},
		grant: newGrant(limit, scopeAbandoned, a),
	}
	problems := problemsOf(constructor, limit)
	option.Apply(c, opts, problems)
	if c.group.Limit < 1 {
		problems.Add("MaxRunning(%d): must be positive", c.group.Limit)
	}
	if c.given.Given("OnDiscard") && c.group.OnDiscard == nil {
		problems.Add("OnDiscard: the function is nil")
	}
	if c.given.Given("OnPanic") && c.group.OnPanic == nil {
		problems.Add("OnPanic: the function is nil")
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if before != nil {
		c.keep(before)
	}
	return c, nil
}

// keep takes over the functions of before that were not given anew.
func (c *abandonConfig) keep(before *abandonConfig) {
	stays := func(name string, again AbandonOption) {
		if before.given.Given(name) && !c.given.Given(name) {
			again(c)
		}
	}
	stays("OnDiscard", OnDiscard(before.group.OnDiscard))
	stays("OnPanic", OnPanic(before.group.OnPanic))
}

// MaxRunning bounds the operations that run at a time, abandoned ones included. It must be positive, and should leave
// room for all operations of a healthy service. The default is 1000.
func MaxRunning(n int) AbandonOption {
	return func(c *abandonConfig) {
		c.group.Limit = n
		c.given.Data("MaxRunning", setting.Arg("n", n))
	}
}

// OnDiscard sets the function that releases the successful results of abandoned operations. It is called exactly once
// for each, while the goroutine of the operation waits for it. An operation that fails releases what it holds itself. By
// default such results are dropped.
func OnDiscard(release func(value any)) AbandonOption {
	return func(c *abandonConfig) {
		c.group.OnDiscard = release
		c.given.Code("OnDiscard")
	}
}

// OnPanic sets a function that is told of every panic of an operation, with the stack of its goroutine. The panic
// reaches the caller too, unless the operation was abandoned. By default such a panic is only counted.
func OnPanic(handle func(value any, stack []byte)) AbandonOption {
	return func(c *abandonConfig) {
		c.group.OnPanic = handle
		c.given.Code("OnPanic")
	}
}
