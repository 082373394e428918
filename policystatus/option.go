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

// Title sets the heading of the page, such as the name of the service, of at most 100 bytes. The default is
// "Resilience".
func Title(title string) Option { return func(c *config) { c.title = title } }

// MaxViewers bounds the number of concurrent live streams, from 1 to 1,000,000. A viewer above the bound still gets the
// page, which then reloads itself every five seconds. The default is 1,000.
func MaxViewers(n int) Option { return func(c *config) { c.maxViewers = n } }

// Control lets viewers act on the policies: force a breaker open or closed, reset it, and switch a policy to shadow and
// back. By default the page is read-only.
//
// authorize is called for every act, and for nothing else. It returns who acts, for the audit, or an error: then the
// page does nothing and answers 403. It must look at credentials (a session, a client certificate, a header that a
// proxy in front has set), not at the form or the address: other pages in an operator's browser can reach this one. An
// empty actor is refused. authorize is called on the goroutine of the request, under no lock, and must be safe for
// concurrent use.
//
// An act must be a POST of a form from the same origin, with a reason. Every forced state ends by itself: after 15
// minutes unless the operator chooses another time, of at most 24 hours. See also [Page.Close].
func Control(authorize func(*http.Request) (actor string, err error)) Option {
	return func(c *config) { c.authorize, c.control = authorize, true }
}

// Audit sets a function that is called for every act on a policy: acts that were done, acts that were not authorised, acts
// that failed, and the end of a forced state. The page shows the last acts in any case.
//
// f is called after the fact, on the goroutine of the request, or on a new one when a forced state ends by itself. The
// request, and [Page.Close], wait for it. It is called under no lock, so two concurrent acts may come in either order:
// [Act.Number] says which was first. f must be safe for concurrent use. A panic in it is contained.
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
		c.problems.Add("Audit: needs Control: without it there are no acts to report")
	}
	c.title = clean(c.title, mostTitle)
	return c, c.problems.Err()
}
