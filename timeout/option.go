package timeout

import (
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/policy"
)

// AbandonOption configures an [Abandoner]. Of the same option given twice, the later one counts.
type AbandonOption func(*config)

type config struct {
	group    *detached.Group
	problems policy.ConfigError
}

func configure(limit time.Duration, opts []AbandonOption) (*detached.Group, error) {
	c := config{group: &detached.Group{Limit: 1000}, problems: policy.ConfigError{Policy: "timeout.Abandon"}}
	if limit <= 0 {
		c.problems.Add("limit %v: must be positive", limit)
	}
	for i, opt := range opts {
		if opt == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		opt(&c)
	}
	return c.group, c.problems.Err()
}

// MaxRunning bounds the operations that run at a time, abandoned ones included [1000]. It must be positive, and should
// leave room for all operations of a healthy service.
func MaxRunning(n int) AbandonOption {
	return func(c *config) {
		if n < 1 {
			c.problems.Add("MaxRunning(%d): must be positive", n)
		}
		c.group.Limit = n
	}
}

// OnDiscard sets the function that releases the successful results of abandoned operations [none]. It is called
// exactly once for each, on the goroutine of the operation. An operation that fails releases what it holds itself.
func OnDiscard(release func(value any)) AbandonOption {
	return func(c *config) {
		if release == nil {
			c.problems.Add("OnDiscard: the function is nil")
		}
		c.group.OnDiscard = release
	}
}

// OnPanic sets a function that hears of every panic of an operation, with the stack of its goroutine [none]. The panic
// reaches the caller too, unless the operation was abandoned: then nobody else hears of it.
func OnPanic(handle func(value any, stack []byte)) AbandonOption {
	return func(c *config) {
		if handle == nil {
			c.problems.Add("OnPanic: the function is nil")
		}
		c.group.OnPanic = handle
	}
}
