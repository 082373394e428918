package bulkhead

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a bulkhead. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a configuration. Once a bulkhead has it, it is replaced, never changed.
type config struct {
	given       setting.List
	floor       int       // the least that the limit can be, and where it begins; all that a fixed one is
	ceiling     int       // adaptive only
	algorithm   Algorithm // adaptive only
	name        string
	queueLength int // 0 if there is no queue
	queueWait   time.Duration
	weightOf    func(context.Context) int
	classify    func(error) policy.Class
	shadow      bool

	frequent policy.Rejection // what an attempt gets that finds no slot, and no place in the queue if there is one
}

// Name names the bulkhead in its rejections, reports and its String. The default is no name.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}

// Queue lets attempts that find no free slot wait: at most length of them at a time, each at most wait, in the order
// in which they came. Both must be positive. By default there is no queue: an attempt that finds no free slot is
// refused at once. So is one whose context forbids waiting ([policy.NoWait]).
//
// How long a slot will take to become free cannot be known. So an attempt whose context has a deadline before the end
// of wait still waits, until the deadline.
func Queue(length int, wait time.Duration) Option {
	return func(c *config) {
		c.queueLength, c.queueWait = length, wait
		c.given.Data("Queue", setting.Arg("length", length), setting.Arg("wait", wait))
	}
}

// WeightOf lets an attempt take more than one slot: as many as weight says, from 1 up. weight is called once for each
// attempt, on its own goroutine and under no lock, with the attempt's context, which is where a caller says what it
// needs. The default is 1 for every attempt.
//
// An attempt that is heavier than the limit, or lighter than 1, could never be admitted and is refused at once. A
// heavy attempt at the head of the queue is not overtaken by lighter ones, so it is not starved.
func WeightOf(weight func(ctx context.Context) int) Option {
	return func(c *config) {
		c.weightOf = weight
		c.given.Code("WeightOf")
	}
}

// Classify tells an [Adaptive] bulkhead what an error of the operation means: [policy.Transient] and
// [policy.Throttled] are overload, [policy.Permanent] and [policy.Expected] are answers whose latency counts,
// [policy.Ignored] is not counted, and [policy.Unclassified] leaves the error to the pipeline. The default is the class
// that the pipeline gives the error; an error without one is Transient. A deadline is overload unless it is ignored.
//
// classify is called at most once for each attempt that failed, on its own goroutine and under no lock. [New] refuses
// the option: a fixed limit has no use for it.
func Classify(classify func(error) policy.Class) Option {
	return func(c *config) {
		c.classify = classify
		c.given.Code("Classify")
	}
}

// Shadow lets the bulkhead begin in shadow mode, in which it counts and does not refuse; see [Bulkhead.Shadow]. By
// default it enforces its limit. [Adaptive] refuses the option: it learns from what it limits.
func Shadow() Option {
	return func(c *config) {
		c.shadow = true
		c.given.Data("Shadow")
	}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(limit int, options ...Option) error {
	_, problems := configureFixed(limit, options)
	return problems.Err()
}

// ValidateAdaptive returns the [*policy.ConfigError] that [Adaptive] would panic with, or nil.
func ValidateAdaptive(algorithm Algorithm, floor, ceiling int, options ...Option) error {
	_, problems := configureAdaptive(algorithm, floor, ceiling, options)
	return problems.Err()
}

// configureFixed returns the configuration of a bulkhead made with New, and what is wrong with it.
func configureFixed(limit int, options []Option) (*config, *policy.ConfigError) {
	c := &config{floor: limit}
	c.given.Data("New", setting.Arg("limit", limit))
	problems := c.apply("limit", options)
	if c.given.Given("Classify") {
		problems.Add("Classify: needs Adaptive; a limit of %d is fixed", limit)
	}
	return c, problems
}

// configureAdaptive returns the configuration of a bulkhead made with Adaptive, and what is wrong with it.
func configureAdaptive(algorithm Algorithm, floor, ceiling int, options []Option) (*config, *policy.ConfigError) {
	c := &config{algorithm: algorithm, floor: floor, ceiling: ceiling}
	args := []policy.Argument{setting.Arg("algorithm", algorithm.name)}
	if algorithm.target > 0 {
		args = append(args, setting.Arg("target", algorithm.target))
	}
	c.given.Data("Adaptive", append(args, setting.Arg("floor", floor), setting.Arg("ceiling", ceiling))...)
	problems := c.apply("floor", options)
	algorithm.check(problems)
	if ceiling < floor || ceiling > MaxLimit {
		problems.Add("ceiling %d: must be from the floor, %d, to %d", ceiling, floor, MaxLimit)
	}
	if c.shadow {
		problems.Add("Shadow: an adaptive limit learns from what it limits, and has no shadow mode")
	}
	return c, problems
}

// apply applies options and checks what both kinds have in common; floorName is what the constructor calls the floor.
func (c *config) apply(floorName string, options []Option) *policy.ConfigError {
	problems := &policy.ConfigError{Policy: "bulkhead"}
	option.Apply(c, options, problems)
	given := c.given.Given
	if c.floor < 1 || c.floor > MaxLimit {
		problems.Add("%s %d: must be from 1 to %d", floorName, c.floor, MaxLimit)
	}
	if given("Queue") && (c.queueLength < 1 || c.queueLength > MaxLimit) {
		problems.Add("Queue length %d: must be from 1 to %d; without Queue no attempt waits", c.queueLength, MaxLimit)
	}
	if given("Queue") && c.queueWait <= 0 {
		problems.Add("Queue wait %v: must be positive; without Queue no attempt waits", c.queueWait)
	}
	if given("WeightOf") && c.weightOf == nil {
		problems.Add("WeightOf: the function is nil")
	}
	if given("Classify") && c.classify == nil {
		problems.Add("Classify: the function is nil")
	}
	return problems
}

// adapts reports whether the limit is adaptive.
func (c *config) adapts() bool { return c.algorithm != Algorithm{} }

// specialBit returns the bit special of the word.
func (c *config) specialBit() word {
	if c.weightOf != nil || c.adapts() {
		return special
	}
	return 0
}

// keep takes from the configuration that c replaces what is identity or code and was not given anew.
func (c *config) keep(before *config, problems *policy.ConfigError) {
	if c.given.Given("Name") && c.name != before.name {
		problems.Add("Name %q: a bulkhead keeps its name, %q", c.name, before.name)
	}
	stays := func(name string, again Option) {
		if before.given.Given(name) && !c.given.Given(name) {
			again(c)
		}
	}
	stays("Name", Name(before.name))
	stays("WeightOf", WeightOf(before.weightOf))
	stays("Classify", Classify(before.classify))
}

// complete makes the rejection that attempts share.
func (c *config) complete() *config {
	c.frequent = *c.rejection(ErrFull)
	if c.queueLength > 0 {
		c.frequent.Reason = ErrQueueFull
	}
	return c
}

func (c *config) rejection(reason error) *policy.Rejection {
	return &policy.Rejection{Kind: "bulkhead", Name: c.name, Reason: reason}
}
