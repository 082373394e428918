package retry

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Retrier]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a Retrier's configuration, after all options were applied.
type config struct {
	delays
	name       string
	attempts   int
	multiplier float64
	retryable  func(error) bool // nil: every error
	rejections []error          // which may be retried

	maxRetryAfter time.Duration
	patience      time.Duration // with gates; 0: none
	budget        *Budget       // nil: none

	sourceFrom, jitterFrom, budgetFrom string // the option that decided, for contradictions
	problems                           policy.ConfigError
}

func configure(opts []Option) (config, error) {
	c := config{
		attempts:      3,
		multiplier:    2,
		maxRetryAfter: 30 * time.Second,
		delays: delays{
			initial: 100 * time.Millisecond,
			longest: 10 * time.Second,
			random:  rand.New(shared{}),
		},
		problems: policy.ConfigError{Policy: "retry"},
	}
	for i, opt := range opts {
		if opt == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		opt(&c)
	}
	c.check()
	if c.source == nil {
		c.source = exponential(c.initial, c.multiplier, c.longest)
	}
	if c.budgetFrom == "" {
		c.budget = NewBudget(0.2, 10)
	}
	return c, c.problems.Err()
}

// check finds the options that make no sense together.
func (c *config) check() {
	if c.patience > 0 && c.attempts == 1 {
		c.problems.Add("AwaitRecovery(%v) with Attempts(1): there is no attempt to wait for", c.patience)
	}
	if c.source == nil {
		return
	}
	if c.jitter == decorrelatedJitter {
		c.problems.Add("DecorrelatedJitter with %s: it makes delays of its own and needs Exponential", c.sourceFrom)
	}
	if c.multiplier != 2 {
		c.problems.Add("Multiplier(%v) with %s: it needs Exponential", c.multiplier, c.sourceFrom)
	}
}

// Attempts sets the most attempts of a call, the first one included [3]. It must be at least 1, which means no retry.
func Attempts(n int) Option {
	return func(c *config) {
		if n < 1 {
			c.problems.Add("Attempts(%d): must be at least 1", n)
		}
		c.attempts = n
	}
}

// Exponential lets delays, before jitter, start at initial and grow by the [Multiplier] up to longest [100 ms,
// 10 s]. initial must be positive and not above longest.
func Exponential(initial, longest time.Duration) Option {
	return func(c *config) {
		if initial <= 0 {
			c.problems.Add("Exponential(%v, %v): the initial delay must be positive", initial, longest)
		}
		if initial > longest {
			c.problems.Add("Exponential(%v, %v): the initial delay is above the longest", initial, longest)
		}
		c.decideSource("Exponential", nil)
		c.initial, c.longest = initial, longest
	}
}

// Multiplier sets the factor by which exponential delays grow [2]. It must be a number that is at least 1.
func Multiplier(factor float64) Option {
	return func(c *config) {
		if !(factor >= 1) || math.IsInf(factor, 0) {
			c.problems.Add("Multiplier(%v): must be a finite number that is at least 1", factor)
		}
		c.multiplier = factor
	}
}

// Constant lets every delay, before jitter, be delay. 0 means to retry at once; it must not be negative.
func Constant(delay time.Duration) Option {
	return func(c *config) {
		if delay < 0 {
			c.problems.Add("Constant(%v): must not be negative", delay)
		}
		c.decideSource("Constant", constant(delay))
	}
}

// BackOff takes delays from a source of package backoff. newSource is called for each call that fails, from the
// goroutine of the call, and must return a new source each time, since sources have state; Reset is called before the
// first delay. A negative delay counts as 0. backoff.Stop, and a nil source, end the call with [ErrExhausted].
//
// Only the delays are used. Jitter is applied to them: add [NoJitter] when the source randomises. Note that
// backoff.NewExponentialBackOff randomises, and says stop after 15 minutes unless its MaxElapsedTime is set to 0.
//
// newSource is called at construction too, so that what can be checked is checked: nil, one instance for all calls,
// and the fields of a *backoff.ExponentialBackOff.
func BackOff(newSource func() backoff.BackOff) Option {
	return func(c *config) {
		if newSource == nil {
			c.problems.Add("BackOff: the function is nil")
			return
		}
		checkSource(newSource(), newSource(), &c.problems)
		c.decideSource("BackOff", newSource)
	}
}

// checkSource notes what is wrong with two results of one factory.
func checkSource(source, other backoff.BackOff, problems *policy.ConfigError) {
	if source == nil || other == nil {
		problems.Add("BackOff: the function returns nil")
		return
	}
	switch source.(type) {
	case *backoff.ConstantBackOff, *backoff.ZeroBackOff, *backoff.StopBackOff: // without state
		return
	}
	e, ok := source.(*backoff.ExponentialBackOff)
	if !ok {
		if v := reflect.ValueOf(source); v.Kind() == reflect.Pointer && v.Type().Elem().Size() > 0 && source == other {
			problems.Add("BackOff: the function returns the same *%s again: each call needs its own", v.Type().Elem().Name())
		}
		return
	}
	if e == nil {
		problems.Add("BackOff: the function returns nil")
		return
	}
	if source == other {
		problems.Add("BackOff: the function returns the same *ExponentialBackOff again: each call needs its own")
	}
	if e.Clock == nil {
		problems.Add("BackOff: ExponentialBackOff.Clock is nil: use backoff.NewExponentialBackOff")
	}
	if e.InitialInterval <= 0 || e.MaxInterval <= 0 {
		problems.Add("BackOff: ExponentialBackOff intervals %v, %v: must be positive", e.InitialInterval, e.MaxInterval)
	}
	if !(e.Multiplier >= 1) || math.IsInf(e.Multiplier, 0) {
		problems.Add("BackOff: ExponentialBackOff.Multiplier %v: must be a finite number that is at least 1", e.Multiplier)
	}
	if !(e.RandomizationFactor >= 0 && e.RandomizationFactor <= 1) {
		problems.Add("BackOff: ExponentialBackOff.RandomizationFactor %v: must be from 0 to 1", e.RandomizationFactor)
	}
	if e.MaxElapsedTime < 0 || e.MaxElapsedTime > 0 && e.Stop != backoff.Stop {
		problems.Add("BackOff: ExponentialBackOff.MaxElapsedTime %v with Stop %v: would never stop", e.MaxElapsedTime, e.Stop)
	}
}

// FullJitter draws each delay evenly from 0 to the source's delay. It is the default: with many clients it makes
// the fewest attempts.
func FullJitter() Option { return jitterOption("FullJitter", fullJitter) }

// EqualJitter draws each delay evenly from half of the source's delay to all of it: never very short.
func EqualJitter() Option { return jitterOption("EqualJitter", equalJitter) }

// DecorrelatedJitter draws each delay evenly from the initial delay to three times the previous one, or to the cap
// if that is less. It replaces the growth by the multiplier, so it goes with [Exponential] only.
func DecorrelatedJitter() Option { return jitterOption("DecorrelatedJitter", decorrelatedJitter) }

// NoJitter waits exactly as long as the source says. Clients that failed together come back together: use it in
// tests, or with a source that randomises itself.
func NoJitter() Option { return jitterOption("NoJitter", noJitter) }

func jitterOption(name string, mode jitter) Option {
	return func(c *config) {
		if c.jitterFrom != "" && c.jitterFrom != name {
			c.problems.Add("%s and %s contradict each other", c.jitterFrom, name)
		}
		c.jitterFrom, c.jitter = name, mode
	}
}

// Rand sets the source of randomness for jitter, so that a run can be repeated [the process's own]. The Retrier
// guards it: it is never used by two goroutines at once, unless it is given to something else too.
func Rand(source rand.Source) Option {
	return func(c *config) {
		if source == nil {
			c.problems.Add("Rand: the source is nil")
			return
		}
		c.random = rand.New(&guarded{source: source})
	}
}

// If retries only errors for which retryable returns true [every error]. It is asked once for each attempt that
// entered the operation and failed, on the goroutine of the call, but not about errors that are never retried:
// permanent ones, rejections, those of a [NotIdempotent] operation, and any after the context has ended.
func If(retryable func(error) bool) Option {
	return func(c *config) {
		if retryable == nil {
			c.problems.Add("If: the function is nil")
		}
		c.retryable = retryable
	}
}

// RetryRejections retries rejections that match one of reasons, the sentinels of the policies that refuse, such as
// bulkhead.ErrFull, as if the attempt had failed [none]. The delay is raised to the rejection's RetryAfter. A refused
// attempt counts as one of [Attempts]. Gates that refuse, such as an open breaker, are not affected: see
// [AwaitRecovery].
func RetryRejections(reasons ...error) Option {
	return func(c *config) {
		if len(reasons) == 0 {
			c.problems.Add("RetryRejections: no reason is given")
		}
		for i, reason := range reasons {
			if reason == nil {
				c.problems.Add("RetryRejections: reason %d is nil", i+1)
			}
		}
		c.rejections = slices.Clone(reasons)
	}
}

// MaxRetryAfter sets the longest wait that an error may ask for [30 s]. An error of the operation asks with a method
// RetryAfter() (time.Duration, bool) anywhere in its tree, as made from a server's answer; the delay is raised to it,
// never lowered, and no jitter is applied. A call that is asked for more ends at once, with [ErrRetryAfter], since the
// caller's time is better spent than asleep. It must be positive.
func MaxRetryAfter(longest time.Duration) Option {
	return func(c *config) {
		if longest <= 0 {
			c.problems.Add("MaxRetryAfter(%v): must be positive", longest)
		}
		c.maxRetryAfter = longest
	}
}

// AwaitRecovery waits for a gate that refuses, such as an open breaker, instead of ending the call, for at most
// longest and only if the deadline of the context allows [it does not wait]. At the end of the wait, at a random moment
// after the gate should be ready, there is one more attempt, the last. It is for work that has time and cannot be done
// without, such as a message from a queue; a user who waits is better served by an error.
//
// A gate that cannot say when it will be ready is asked again from time to time. Every waiting call holds its
// goroutine and whatever the caller holds: bound the number of callers. longest must be positive, and [Attempts] more
// than 1.
func AwaitRecovery(longest time.Duration) Option {
	return func(c *config) {
		if longest <= 0 {
			c.problems.Add("AwaitRecovery(%v): must be positive", longest)
		}
		c.patience = longest
	}
}

// WithBudget shares budget with everybody else who uses it [a budget of the Retrier's own: NewBudget(0.2, 10)].
func WithBudget(budget *Budget) Option {
	return func(c *config) {
		if budget == nil {
			c.problems.Add("WithBudget: the budget is nil: use NoBudget")
		} else if budget.rule == nil {
			c.problems.Add("WithBudget: use NewBudget or NewThrottle to make a budget")
		}
		c.decideBudget("WithBudget", budget)
	}
}

// NoBudget lets the number of attempts be the only bound. When everything fails, the load is then multiplied by it.
func NoBudget() Option {
	return func(c *config) { c.decideBudget("NoBudget", nil) }
}

// Name sets the name that errors, [Retrier.String] and snapshots show [none].
func Name(name string) Option {
	return func(c *config) { c.name = name }
}

// decideSource sets where delays come from; nil is exponential.
func (c *config) decideSource(name string, source func() backoff.BackOff) {
	if c.sourceFrom != "" && c.sourceFrom != name {
		c.problems.Add("%s and %s contradict each other", c.sourceFrom, name)
	}
	c.sourceFrom, c.source = name, source
}

func (c *config) decideBudget(name string, budget *Budget) {
	if c.budgetFrom != "" && c.budgetFrom != name {
		c.problems.Add("%s and %s contradict each other", c.budgetFrom, name)
	}
	c.budgetFrom, c.budget = name, budget
}
