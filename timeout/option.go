package timeout

import (
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
)

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
