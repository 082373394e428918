package policystatus

import (
	"net/http"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Page].
type Option func(*config)

type config struct {
	title      string
	authorize  func(*http.Request) (actor string, err error)
	control    bool
	audit      func(Act)
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

// Control lets viewers act on the policies: force a breaker open or closed, reset it, and switch a policy to shadow and
// back. The default is that the page only shows.
//
// authorize is asked about every act, and about nothing else. It returns who acts, for the audit, or an error: then
// nothing is done and the answer is 403. It must look at credentials (a session, a client certificate, a header that a
// proxy in front has set), not at the form or the address: other pages in an operator's browser can reach this one. An
// actor without a name is refused. authorize is called on the goroutine of the request, under no lock, and must be safe
// for concurrent use.
//
// An act must be a POST of a form from the same origin, with a reason. Every forced state has an end, 15 minutes away
// unless the operator says otherwise and at most 24 hours. It ends by itself then; see [Page.Close].
func Control(authorize func(*http.Request) (actor string, err error)) Option {
	return func(c *config) { c.authorize, c.control = authorize, true }
}

// Audit sets a function that is called for every act on a policy: acts that were done, acts that were not authorised, acts
// that failed, and the end of a forced state. The page shows the last acts in any case.
//
// f is called after the fact, on the goroutine of the request, or on one of its own when a forced state ends by itself.
// The request, and [Page.Close], wait for it. It is called under no lock, so two acts at once may come in either
// order: [Act.Number] says which was first. It must be safe for concurrent use. A panic in it is contained.
func Audit(f func(Act)) Option {
	return func(c *config) {
		if f == nil {
			c.problems.Add("Audit: the function is nil")
		}
		c.audit = f
	}
}

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
	if c.control && c.authorize == nil {
		c.problems.Add("Control: the function is nil")
	}
	if c.audit != nil && !c.control {
		c.problems.Add("Audit: needs Control, there is nothing else to tell of")
	}
	c.title = clean(c.title, mostTitle)
	return c, c.problems.Err()
}
