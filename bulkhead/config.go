package bulkhead

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a bulkhead.
type Option func(*config)

type config struct {
	limit      int
	name       string
	queueing   bool
	queue      int
	wait       time.Duration
	weighing   bool
	judging    bool
	weightOf   func(context.Context) int
	overloadIf func(error) bool
	problems   policy.ConfigError
}

// Name names the bulkhead in its rejections and its String. The default is no name.
func Name(name string) Option {
	return func(c *config) { c.name = name }
}

// Queue lets attempts that find no free slot wait: at most length of them at a time, each at most wait, in the order
// in which they came. Both must be positive. The default is no queue: an attempt that finds no free slot is refused
// at once.
//
// How long a slot will take to become free cannot be known. So an attempt whose context has a deadline before the end
// of wait still waits, until the deadline.
func Queue(length int, wait time.Duration) Option {
	return func(c *config) { c.queueing, c.queue, c.wait = true, length, wait }
}

// WeightOf lets an attempt take more than one slot: as many as weight says, from 1 up. weight is called once for each
// attempt, on its own goroutine and under no lock, with the attempt's context, which is where a caller says what it
// needs. The default is 1 for every attempt.
//
// An attempt that is heavier than the limit, or lighter than 1, could never be admitted and is refused at once. A
// heavy attempt at the head of the queue is not overtaken by lighter ones, so it is not starved.
func WeightOf(weight func(ctx context.Context) int) Option {
	return func(c *config) { c.weighing, c.weightOf = true, weight }
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(limit int, options ...Option) error {
	return configureFixed(limit, options).problems.Err()
}

func configureFixed(limit int, options []Option) *config {
	c := configure(limit, options)
	if c.judging {
		c.problems.Add("OverloadIf: needs Adaptive; a limit of %d is fixed", limit)
	}
	return c
}

func configure(limit int, options []Option) *config {
	c := &config{limit: limit, problems: policy.ConfigError{Policy: "bulkhead"}}
	for i, option := range options {
		if option == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		option(c)
	}
	checkLimit(&c.problems, limit)
	if c.queueing {
		if c.queue < 1 || c.queue > MaxLimit {
			c.problems.Add("Queue length %d: must be from 1 to %d; without Queue nobody waits", c.queue, MaxLimit)
		}
		if c.wait <= 0 {
			c.problems.Add("Queue wait %v: must be positive; without Queue nobody waits", c.wait)
		}
	}
	if c.weighing && c.weightOf == nil {
		c.problems.Add("WeightOf: the function is nil")
	}
	if c.judging && c.overloadIf == nil {
		c.problems.Add("OverloadIf: the function is nil")
	}
	return c
}

func checkLimit(problems *policy.ConfigError, limit int) {
	if limit < 1 || limit > MaxLimit {
		problems.Add("limit %d: must be from 1 to %d", limit, MaxLimit)
	}
}
