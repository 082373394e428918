package fallback

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a fallback. Of the same option given twice, the later one counts.
type Option func(*config)

type config struct {
	name    string
	applies func(error) bool // nil: every error

	problems *policy.ConfigError
}

// configure applies opts. The problems are returned for more to be added.
func configure(constructor string, opts []Option) (config, *policy.ConfigError) {
	c := config{problems: &policy.ConfigError{Policy: constructor}}
	for i, opt := range opts {
		if opt == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		opt(&c)
	}
	return c, c.problems
}

// Validate returns the [*policy.ConfigError] that [LastGood] would panic with for maxAge and opts, or nil. The options
// are those of [Value] and [Func] too.
func Validate(maxAge time.Duration, opts ...Option) error {
	_, problems := configure("fallback.LastGood", opts)
	if maxAge <= 0 {
		problems.Add("maxAge %v: must be positive", maxAge)
	}
	return problems.Err()
}

// If lets the fallback answer only errors for which applies returns true [every error]. To answer local refusals only,
// or only failures of the dependency, ask errors.Is(err, policy.ErrRejected). applies is called on the goroutine of the
// call.
func If(applies func(error) bool) Option {
	return func(c *config) {
		if applies == nil {
			c.problems.Add("If: the function is nil")
		}
		c.applies = applies
	}
}

// Name sets the name that [Policy.String] shows [none].
func Name(name string) Option {
	return func(c *config) { c.name = name }
}
