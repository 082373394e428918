package throttle

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Throttle]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a configuration, and what was made from it. It never changes once it is in use.
type config struct {
	given    setting.List
	name     string
	k        float64
	length   time.Duration // of the window
	buckets  int
	padding  int
	shadow   bool
	classify func(error) policy.Class
	source   rand.Source // nil for the process's own
	random   *rand.Rand  // guards source

	window    *window
	rejection *policy.Rejection
}

const (
	minBuckets = 2
	maxBuckets = 1000
)

// configure returns what opts say. before is the configuration that they change, whose name and code stay; nil for a new
// Throttle.
func configure(before *config, opts []Option) (*config, error) {
	c := &config{k: 2, length: 30 * time.Second, buckets: 30, padding: 8}
	problems := policy.ConfigError{Policy: "throttle"}
	option.Apply(c, opts, &problems)
	c.check(&problems)
	if before != nil {
		c.keep(before, &problems)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	switch {
	case c.random != nil:
	case c.source != nil:
		c.random = random.Guard(c.source)
	default:
		c.random = random.Shared()
	}
	c.rejection = &policy.Rejection{Kind: "throttle", Name: c.name, Reason: ErrThrottled}
	return c, nil
}

// check notes what is wrong.
func (c *config) check(problems *policy.ConfigError) {
	if !(c.k >= 1) || math.IsInf(c.k, 0) {
		problems.Add("K(%v): must be a finite number that is at least 1", c.k)
	}
	if c.buckets < minBuckets || c.buckets > maxBuckets {
		problems.Add("Window(%v, %d): the number of buckets must be from %d to %d", c.length, c.buckets, minBuckets, maxBuckets)
	}
	if c.length <= 0 || c.length < time.Duration(c.buckets) {
		problems.Add("Window(%v, %d): the length must be at least a nanosecond for each bucket", c.length, c.buckets)
	}
	if c.padding < 1 {
		problems.Add("Padding(%d): must be at least 1", c.padding)
	}
	if c.given.Given("Classify") && c.classify == nil {
		problems.Add("Classify: the function is nil")
	}
	if c.given.Given("Rand") && option.IsNil(c.source) {
		problems.Add("Rand: the source is nil")
	}
}

// keep takes over the name, and what is code, unless it was given anew.
func (c *config) keep(before *config, problems *policy.ConfigError) {
	if c.given.Given("Name") && c.name != before.name {
		problems.Add("Name(%q): the name %q cannot be changed", c.name, before.name)
	}
	stays := func(name string, again Option) {
		if before.given.Given(name) && !c.given.Given(name) {
			again(c)
		}
	}
	stays("Name", Name(before.name))
	stays("Classify", Classify(before.classify))
	stays("Rand", func(c *config) {
		Rand(before.source)(c)
		c.random = before.random // which guards the source
	})
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(nil, opts)
	return err
}

// K sets how many attempts the dependency gets for each one that it accepts, before others are
// rejected. It must be a finite number that is at least 1. Less than 1.1 rejects as soon as single
// attempts fail. A higher K rejects later and wastes more of the dependency's work on refusing, but
// notices a recovery sooner. The default is 2.
func K(k float64) Option {
	return func(c *config) {
		c.k = k
		c.given.Data("K", setting.Arg("k", k))
	}
}

// Window sets how far back attempts count, and in how many steps they are forgotten. There must be
// 2 to 1000 buckets, and length must be at least a nanosecond for each. What is older than length
// never counts; what is older than length less one bucket may not. A bucket costs 32 bytes. The
// default is 30 seconds in 30 buckets.
//
// Attempts in flight for longer than one or two buckets count as not accepted, so a bucket, length
// divided by buckets, should be longer than what an attempt normally takes.
func Window(length time.Duration, buckets int) Option {
	return func(c *config) {
		c.length, c.buckets = length, buckets
		c.given.Data("Window", setting.Arg("length", length), setting.Arg("buckets", buckets))
	}
}

// Padding sets about how many attempts per window are let through to a dependency that accepts
// none. It must be at least 1, which is the book's own formula. It is also how many requests the
// throttle needs to make up its mind: when none of the first n is accepted, the next is rejected
// with probability n/(n+padding). The default is 8.
func Padding(n int) Option {
	return func(c *config) {
		c.padding = n
		c.given.Data("Padding", setting.Arg("n", n))
	}
}

// Classify sets what an error says about the dependency, for this throttle alone:
// [policy.Transient] and [policy.Throttled] mean that it did not accept the attempt,
// [policy.Permanent] and [policy.Expected] that it did, [policy.Ignored] that the attempt should
// not count. For [policy.Unclassified], and by default, the class counts that the attempt's outcome
// has; see [policy.Class].
//
// classify is called on the goroutine of the call, under no lock. It is not asked about a caller's
// cancellation or a rejection, which never count.
func Classify(classify func(error) policy.Class) Option {
	return func(c *config) {
		c.classify = classify
		c.given.Code("Classify")
	}
}

// Rand sets the source of chance, so that a run can be repeated. The Throttle guards it: it is
// never used by two goroutines at once, unless it is given to something else too. The default is
// the source of the process.
func Rand(source rand.Source) Option {
	return func(c *config) {
		c.source = source
		c.given.Code("Rand")
	}
}

// Shadow lets the throttle count everything and reject nothing; see [Throttle.Shadow]. By default
// it rejects.
func Shadow() Option {
	return func(c *config) {
		c.shadow = true
		c.given.Data("Shadow")
	}
}

// Name sets the name that rejections, reports, snapshots and [Throttle.String] show. The default is
// no name.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}
