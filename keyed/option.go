package keyed

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Registry]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a Registry's configuration, after all options were applied.
type config struct {
	max       int
	maxLength int
	idling    bool
	idle      time.Duration // 0: never
	problems  policy.ConfigError
}

const (
	defaultMax       = 10_000
	defaultMaxLength = 256

	// MaxKeys is the highest [Max].
	MaxKeys = 1 << 30
)

func configure(opts []Option) *config {
	c := &config{max: defaultMax, maxLength: defaultMaxLength, problems: policy.ConfigError{Policy: "keyed"}}
	for i, opt := range opts {
		if opt == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		opt(c)
	}
	if c.max < 1 || c.max > MaxKeys {
		c.problems.Add("Max(%d): must be from 1 to %d", c.max, MaxKeys)
	}
	if c.idling && c.idle <= 0 {
		c.problems.Add("Idle(%v): must be positive; without Idle keys stay until their place is needed", c.idle)
	}
	if c.maxLength < 1 {
		c.problems.Add("MaxKeyLength(%d): must be at least 1", c.maxLength)
	}
	return c
}

// Max sets how many keys the registry holds at most [10,000], from 1 to [MaxKeys]. It is never exceeded. It should be
// well above the number of keys that are in use at a time; memory is only used for keys that are there.
func Max(keys int) Option {
	return func(c *config) { c.max = keys }
}

// Idle lets keys go that were not asked for in the time d and whose values are idle (see [Idler]), although nobody needs
// their place [never]. It must be positive.
//
// Keys are looked through little by little as the registry is used, at such a pace that an unused key is gone after at most
// about 2d; a registry that is not used at all keeps what it has. With Idle, [Registry.Get] reads the clock once.
func Idle(d time.Duration) Option {
	return func(c *config) { c.idling, c.idle = true, d }
}

// MaxKeyLength sets how many bytes the strings in a key may have together [256]. It must be at least 1. A longer key is
// not stored: it gets the overflow value. Where keys are long, let the caller hash them.
func MaxKeyLength(bytes int) Option {
	return func(c *config) { c.maxLength = bytes }
}
