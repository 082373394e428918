package fallback

import (
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a fallback. Of the same option given twice, the later one counts.
type Option func(*config)

type config struct {
	given   setting.List
	name    string
	applies func(error) bool // nil: every error
}

// configure applies opts. The problems are returned for more to be added.
func configure(constructor string, opts []Option) (config, *policy.ConfigError) {
	c, problems := config{}, &policy.ConfigError{Policy: constructor}
	option.Apply(&c, opts, problems)
	if c.given.Given("If") && c.applies == nil {
		problems.Add("If: the function is nil")
	}
	return c, problems
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

// If lets the fallback answer only errors for which applies returns true. To answer local refusals only, or only
// failures of the dependency, ask errors.Is(err, policy.ErrRejected). applies is called on the goroutine of the call. By
// default every error is answered.
func If(applies func(error) bool) Option {
	return func(c *config) {
		c.applies = applies
		c.given.Code("If")
	}
}

// Name sets the name that [Policy.String] and snapshots show. By default there is none.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}
