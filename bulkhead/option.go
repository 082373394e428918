package bulkhead

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a bulkhead. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a configuration. Once a bulkhead has it, it is replaced, never changed.
type config struct {
	limit     int       // the floor if the limit is adaptive
	ceiling   int       // adaptive only
	algorithm Algorithm // adaptive only
	name      string
	queueing  bool
	length    int // of the queue
	wait      time.Duration
	weighing  bool
	weightOf  func(context.Context) int
	judging   bool
	classify  func(error) policy.Class
	shadow    bool
	problems  policy.ConfigError

	settings []policy.Setting
	frequent policy.Rejection // what an attempt gets that finds no slot, and no place in the queue if there is one
}

// Name names the bulkhead in its rejections, reports and its String. The default is no name.
func Name(name string) Option {
	return func(c *config) { c.name = name }
}

// Queue lets attempts that find no free slot wait: at most length of them at a time, each at most wait, in the order
// in which they came. Both must be positive. By default there is no queue: an attempt that finds no free slot is
// refused at once. So is one whose context forbids waiting ([policy.NoWait]).
//
// How long a slot will take to become free cannot be known. So an attempt whose context has a deadline before the end
// of wait still waits, until the deadline.
func Queue(length int, wait time.Duration) Option {
	return func(c *config) { c.queueing, c.length, c.wait = true, length, wait }
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

// Classify tells an [Adaptive] bulkhead what an error of the operation means: [policy.Transient] and
// [policy.Throttled] are overload, [policy.Permanent] and [policy.Expected] are answers whose latency counts,
// [policy.Ignored] is not counted, and [policy.Unclassified] leaves the error to the pipeline. The default is the class
// that the pipeline gives the error; an error without one is Transient. A deadline is overload unless it is ignored.
//
// classify is called at most once for each attempt that failed, on its own goroutine and under no lock. [New] refuses
// the option: a fixed limit has no use for it.
func Classify(classify func(error) policy.Class) Option {
	return func(c *config) { c.judging, c.classify = true, classify }
}

// Shadow lets the bulkhead begin in shadow mode, in which it counts and does not refuse; see [Bulkhead.Shadow]. By
// default it enforces its limit. [Adaptive] refuses the option: it learns from what it limits.
func Shadow() Option {
	return func(c *config) { c.shadow = true }
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(limit int, options ...Option) error {
	return configureFixed(limit, options).problems.Err()
}

// ValidateAdaptive returns the [*policy.ConfigError] that [Adaptive] would panic with, or nil.
func ValidateAdaptive(algorithm Algorithm, floor, ceiling int, options ...Option) error {
	return configureAdaptive(algorithm, floor, ceiling, options).problems.Err()
}

func configureFixed(limit int, options []Option) *config {
	c := configure("limit", limit, options)
	if c.judging {
		c.problems.Add("Classify: needs Adaptive; a limit of %d is fixed", limit)
	}
	return c
}

func configureAdaptive(algorithm Algorithm, floor, ceiling int, options []Option) *config {
	c := configure("floor", floor, options)
	c.algorithm, c.ceiling = algorithm, ceiling
	algorithm.check(&c.problems)
	if ceiling < floor || ceiling > MaxLimit {
		c.problems.Add("ceiling %d: must be from the floor, %d, to %d", ceiling, floor, MaxLimit)
	}
	if c.shadow {
		c.problems.Add("Shadow: an adaptive limit learns from what it limits, and has no shadow mode")
	}
	return c
}

// configure is what both kinds have in common; least is the name of the argument limit.
func configure(least string, limit int, options []Option) *config {
	c := &config{limit: limit, problems: policy.ConfigError{Policy: "bulkhead"}}
	option.Apply(c, options, &c.problems)
	if limit < 1 || limit > MaxLimit {
		c.problems.Add("%s %d: must be from 1 to %d", least, limit, MaxLimit)
	}
	if c.queueing && (c.length < 1 || c.length > MaxLimit) {
		c.problems.Add("Queue length %d: must be from 1 to %d; without Queue no attempt waits", c.length, MaxLimit)
	}
	if c.queueing && c.wait <= 0 {
		c.problems.Add("Queue wait %v: must be positive; without Queue no attempt waits", c.wait)
	}
	if c.weighing && c.weightOf == nil {
		c.problems.Add("WeightOf: the function is nil")
	}
	if c.judging && c.classify == nil {
		c.problems.Add("Classify: the function is nil")
	}
	return c
}

// adapts reports whether the limit is adaptive.
func (c *config) adapts() bool { return c.algorithm != Algorithm{} }

// special returns the bit that tells whether attempts are more than one slot each.
func (c *config) special() word {
	if c.weightOf != nil || c.adapts() {
		return special
	}
	return 0
}

// keep takes from the configuration that c replaces what is identity or code and was not given anew.
func (c *config) keep(old *config) {
	c.name = old.name
	if !c.weighing {
		c.weightOf = old.weightOf
	}
	if !c.judging {
		c.classify = old.classify
	}
}

// finish makes what is shared by all reports and rejections.
func (c *config) finish() *config {
	c.frequent = *c.rejection(ErrFull)
	if c.length > 0 {
		c.frequent.Reason = ErrQueueFull
	}
	if c.adapts() {
		args := []policy.Argument{{Name: "algorithm", Value: c.algorithm.name}}
		if c.algorithm.target > 0 {
			args = append(args, policy.Argument{Name: "target", Value: c.algorithm.target})
		}
		args = append(args, policy.Argument{Name: "floor", Value: c.limit}, policy.Argument{Name: "ceiling", Value: c.ceiling})
		c.settings = append(c.settings, policy.Setting{Name: "Adaptive", Args: args})
	} else {
		c.settings = append(c.settings, policy.Setting{Name: "New", Args: []policy.Argument{{Name: "limit", Value: c.limit}}})
	}
	add := func(given bool, setting policy.Setting) {
		if given {
			c.settings = append(c.settings, setting)
		}
	}
	add(c.name != "", policy.Setting{Name: "Name", Args: []policy.Argument{{Name: "name", Value: c.name}}})
	add(c.length > 0, policy.Setting{Name: "Queue", Args: []policy.Argument{{Name: "length", Value: c.length}, {Name: "wait", Value: c.wait}}})
	add(c.weightOf != nil, policy.Setting{Name: "WeightOf", Code: true})
	add(c.classify != nil, policy.Setting{Name: "Classify", Code: true})
	add(c.shadow, policy.Setting{Name: "Shadow"})
	return c
}

func (c *config) rejection(reason error) *policy.Rejection {
	return &policy.Rejection{Kind: "bulkhead", Name: c.name, Reason: reason}
}
