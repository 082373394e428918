package throttle

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Throttle]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is what the options store.
type config struct {
	name     string
	k        float64
	window   time.Duration
	buckets  int
	padding  int
	shadow   bool
	classify func(error) policy.Class
	source   rand.Source
	random   *rand.Rand       // guards source; nil until it is made
	given    []policy.Setting // for reports
	problems policy.ConfigError
}

const (
	minBuckets = 2
	maxBuckets = 1000
)

// configure applies opts to the defaults and checks the result. What is code, and the name, is
// taken from old if there is one.
func configure(old *config, opts []Option) *config {
	c := &config{
		k:        2,
		window:   30 * time.Second,
		buckets:  30,
		padding:  8,
		problems: policy.ConfigError{Policy: "throttle"},
	}
	if old != nil {
		c.name, c.classify, c.source, c.random = old.name, old.classify, old.source, old.random
		for _, setting := range old.given {
			if setting.Code || setting.Name == "Name" {
				c.note(setting)
			}
		}
	}
	option.Apply(c, opts, &c.problems)
	if old != nil && c.name != old.name {
		c.problems.Add("Name(%q): the name %q cannot be changed", c.name, old.name)
	}
	if !(c.k >= 1) || math.IsInf(c.k, 0) {
		c.problems.Add("K(%v): must be a finite number that is at least 1", c.k)
	}
	if c.buckets < minBuckets || c.buckets > maxBuckets {
		c.problems.Add("Window(%v, %d): the number of buckets must be from %d to %d", c.window, c.buckets, minBuckets, maxBuckets)
	}
	if c.window <= 0 || c.window < time.Duration(c.buckets) {
		c.problems.Add("Window(%v, %d): the length must be at least a nanosecond for each bucket", c.window, c.buckets)
	}
	if c.padding < 1 {
		c.problems.Add("Padding(%d): must be at least 1", c.padding)
	}
	if c.has("Classify") && c.classify == nil {
		c.problems.Add("Classify: the function is nil")
	}
	if c.has("Rand") && option.IsNil(c.source) {
		c.problems.Add("Rand: the source is nil")
	}
	switch {
	case c.random != nil:
	case c.source != nil:
		c.random = random.Guard(c.source)
	default:
		c.random = random.Shared()
	}
	return c
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	return configure(nil, opts).problems.Err()
}

// note keeps what an option was given, in place of what it was given before.
func (c *config) note(setting policy.Setting) {
	for i, earlier := range c.given {
		if earlier.Name == setting.Name {
			c.given[i] = setting
			return
		}
	}
	c.given = append(c.given, setting)
}

// has reports whether the option of that name was given.
func (c *config) has(name string) bool {
	return slices.ContainsFunc(c.given, func(setting policy.Setting) bool { return setting.Name == name })
}

func data(name string, args ...policy.Argument) policy.Setting {
	return policy.Setting{Name: name, Args: args}
}

// K sets how many attempts the dependency gets for each one that it accepts, before others are
// rejected. It must be a finite number that is at least 1. Less than 1.1 rejects as soon as single
// attempts fail. A higher K rejects later and wastes more of the dependency's work on refusing, but
// notices a recovery sooner. The default is 2.
func K(k float64) Option {
	return func(c *config) {
		c.k = k
		c.note(data("K", policy.Argument{Name: "k", Value: k}))
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
		c.window, c.buckets = length, buckets
		c.note(data("Window", policy.Argument{Name: "length", Value: length}, policy.Argument{Name: "buckets", Value: buckets}))
	}
}

// Padding sets about how many attempts per window are let through to a dependency that accepts
// none. It must be at least 1, which is the book's own formula. It is also how many requests the
// throttle needs to make up its mind: when none of the first n is accepted, the next is rejected
// with probability n/(n+padding). The default is 8.
func Padding(n int) Option {
	return func(c *config) {
		c.padding = n
		c.note(data("Padding", policy.Argument{Name: "n", Value: n}))
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
		c.note(policy.Setting{Name: "Classify", Code: true})
	}
}

// Rand sets the source of chance, so that a run can be repeated. The Throttle guards it: it is
// never used by two goroutines at once, unless it is given to something else too. The default is
// the source of the process.
func Rand(source rand.Source) Option {
	return func(c *config) {
		c.source, c.random = source, nil
		c.note(policy.Setting{Name: "Rand", Code: true})
	}
}

// Shadow lets the throttle count everything and reject nothing; see [Throttle.Shadow]. By default
// it rejects.
func Shadow() Option {
	return func(c *config) {
		c.shadow = true
		c.note(data("Shadow"))
	}
}

// Name sets the name that rejections, reports, snapshots and [Throttle.String] show. The default is
// no name.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.note(data("Name", policy.Argument{Name: "name", Value: name}))
	}
}
