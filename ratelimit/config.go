package ratelimit

import (
	"context"
	"math"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// The bounds of a configuration. Outside of them the arithmetic would not be exact, so they are refused.
const (
	// MaxRate is the largest finite rate, one token per nanosecond. math.Inf(1) means no limit.
	MaxRate = 1e9
	// MinRate is the smallest rate above 0, one token in 32 years. 0 means that no token is ever added.
	MinRate = 1e-9
	// MaxBurst is the largest burst and the largest cost: 2⁵³, or 2²⁹ where an int has 32 bits.
	MaxBurst = 1 << (29 + 24*(^uint(0)>>63))

	defaultMaxWaiters = 10_000
)

// Option configures a limiter.
type Option func(*config)

type config struct {
	perSecond  float64
	burst      int
	name       string
	waiting    bool
	maxWait    time.Duration
	bounded    bool
	maxWaiters int
	costing    bool
	costOf     func(context.Context) int
	problems   policy.ConfigError
}

// Name names the limiter in its rejections and its String. The default is no name.
func Name(name string) Option {
	return func(c *config) { c.name = name }
}

// MaxWait lets an attempt that finds no token wait for it, in the order in which they came, if the wait is not longer
// than wait, which must be positive, and ends before the deadline of the attempt's context. Otherwise it is refused
// at once. The default is that nobody waits.
//
// The wait is known when the attempt comes, from the rate and from those who wait before it. It gets shorter when
// they leave. It gets longer only when [Limiter.SetRate] or [Limiter.SetBurst] makes it so; whoever then would have
// to wait longer than wait is refused.
func MaxWait(wait time.Duration) Option {
	return func(c *config) { c.waiting, c.maxWait = true, wait }
}

// MaxWaiters bounds how many attempts may wait at a time; it must be positive, and needs [MaxWait]. The default is
// 10,000. MaxWait alone admits about rate times wait of them.
func MaxWaiters(n int) Option {
	return func(c *config) { c.bounded, c.maxWaiters = true, n }
}

// CostOf lets an attempt take another number of tokens than one. cost is called once for each attempt, on its own
// goroutine and under no lock, with the attempt's context, which is where a caller says what the attempt costs. The
// default is 1 for every attempt.
//
// A cost of 0 takes nothing and never waits. A cost above the burst, or below 0, can never be met: the attempt is
// refused at once and takes nothing.
func CostOf(cost func(ctx context.Context) int) Option {
	return func(c *config) { c.costing, c.costOf = true, cost }
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(perSecond float64, burst int, options ...Option) error {
	return configure(perSecond, burst, options).problems.Err()
}

func configure(perSecond float64, burst int, options []Option) *config {
	c := &config{perSecond: perSecond, burst: burst, maxWaiters: defaultMaxWaiters}
	c.problems.Policy = "ratelimit"
	for i, option := range options {
		if option == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		option(c)
	}
	checkQuota(&c.problems, perSecond, burst)
	if c.waiting && c.maxWait <= 0 {
		c.problems.Add("MaxWait %v: must be positive; without MaxWait nobody waits", c.maxWait)
	}
	if c.bounded && c.maxWaiters < 1 {
		c.problems.Add("MaxWaiters %d: must be positive; without MaxWait nobody waits", c.maxWaiters)
	}
	if c.bounded && !c.waiting {
		c.problems.Add("MaxWaiters %d: needs MaxWait; without it nobody waits", c.maxWaiters)
	}
	if c.costing && c.costOf == nil {
		c.problems.Add("CostOf: the function is nil")
	}
	return c
}

// checkQuota reports what is wrong with a rate and a burst. Both are needed to judge either: a burst of 0 makes sense
// only without a limit.
func checkQuota(problems *policy.ConfigError, perSecond float64, burst int) {
	unlimited := math.IsInf(perSecond, 1)
	switch {
	case unlimited, perSecond == 0:
	case !(perSecond >= MinRate && perSecond <= MaxRate): // NaN too
		problems.Add("rate %v per second: must be 0, from %v to %v, or math.Inf(1) for no limit", perSecond, float64(MinRate), float64(MaxRate))
	}
	switch {
	case burst < 0 || burst > MaxBurst:
		problems.Add("burst %d: must be from 1 to %d", burst, MaxBurst)
	case burst == 0 && !unlimited:
		problems.Add("burst 0 with a rate of %v per second: nothing would ever be admitted", perSecond)
	}
}
