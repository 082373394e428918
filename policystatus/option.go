package policystatus

import (
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Page].
type Option func(*config)

type config struct {
	title      string
	control    bool
	maxViewers int
	problems   policy.ConfigError
}

const (
	defaultTitle   = "Resilience"
	defaultViewers = 1000
	mostTitle      = 100
	mostViewers    = 1_000_000
)

// Title is the heading of the page, such as the name of the service. It has at most 100 bytes. The default is
// "Resilience".
func Title(title string) Option { return func(c *config) { c.title = title } }

// MaxViewers bounds how many live streams there are at a time, from 1 to 1,000,000. A viewer above the bound gets the
// page all the same, which then reloads itself every five seconds. The default is 1,000.
func MaxViewers(n int) Option { return func(c *config) { c.maxViewers = n } }

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
	return err
}

func configure(opts []Option) (*config, error) {
	c := &config{title: defaultTitle, maxViewers: defaultViewers, problems: policy.ConfigError{Policy: "policystatus"}}
	option.Apply(c, opts, &c.problems)
	if c.title == "" || len(c.title) > mostTitle {
		c.problems.Add("Title(%.100q): must have from 1 to %d bytes", c.title, mostTitle)
	}
	if c.maxViewers < 1 || c.maxViewers > mostViewers {
		c.problems.Add("MaxViewers(%d): must be from 1 to %d", c.maxViewers, mostViewers)
	}
	c.title = clean(c.title, mostTitle)
	return c, c.problems.Err()
}
