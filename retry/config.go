package retry

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// config is a Retrier's configuration. Once it was checked it is not changed any more.
type config struct {
	delays
	name       string
	attempts   int
	retryIf    func(error) bool // nil: by class
	rejections []error          // which may be retried
	nested     bool             // errors of retries inside may be retried
	discard    func(any)

	maxRetryAfter time.Duration
	patience      time.Duration // with gates; 0: none
	budget        policy.Budget // nil: none
	feedback      feedback      // the budget, if it needs to know how each attempt ended
	denier        denier        // the budget, if it must be told what its gate has denied

	constant   time.Duration         // of Constant; complete makes delays of it
	randSource rand.Source           // of Rand, guarded in delays
	given      setting.List          // the options that were given
	lastShown  atomic.Pointer[shown] // by the last report
}

// apply returns what opts say, and what is wrong with their functions, which it calls.
func apply(opts []Option) (c *config, problems *policy.ConfigError) {
	c = &config{
		attempts:      3,
		maxRetryAfter: 30 * time.Second,
		delays:        delays{initial: 100 * time.Millisecond, longest: 10 * time.Second, multiplier: 2},
	}
	problems = &policy.ConfigError{Policy: "retry"}
	option.Apply(c, opts, problems)
	if c.source != nil {
		checkSource(c.source(), c.source(), problems)
	}
	return c, problems
}

// complete makes of what options say a configuration: of a new Retrier if old is nil. It calls no function of the user.
func (c *config) complete(old *config, problems *policy.ConfigError) error {
	if old != nil {
		c.keep(old, problems)
	}
	c.check(problems)
	if err := problems.Err(); err != nil {
		return err
	}
	if c.given.Given("Constant") {
		c.initial, c.longest, c.multiplier = c.constant, c.constant, 1
		c.fixed = backoff.NewConstantBackOff(c.constant)
	}
	if c.random == nil {
		c.random = random.Shared()
	}
	if c.budget == nil && !c.given.Given("NoBudget") {
		c.budget = NewBudget(0.2, 10)
	}
	c.feedback, _ = c.budget.(feedback)
	c.denier, _ = c.budget.(denier)
	if !c.given.Given("Attempts") { // reports show the number always
		c.given.Data("Attempts", setting.Arg("n", c.attempts))
	}
	return nil
}

// keep takes over from old what is not data and was not given, and what cannot be changed.
func (c *config) keep(old *config, problems *policy.ConfigError) {
	given := c.given.Given
	if given("Name") && c.name != old.name {
		problems.Add("Name(%q): the name %q cannot be changed", c.name, old.name)
	}
	if given("WithBudget") && !option.Same(c.budget, old.budget) || given("NoBudget") && old.budget != nil {
		problems.Add("the budget cannot be replaced: use its own Reconfigure")
	}
	stays := func(name string, again Option, unless ...string) {
		if old.given.Given(name) && !given(name) && !slices.ContainsFunc(unless, given) {
			again(c)
		}
	}
	stays("Name", Name(old.name))
	stays("WithBudget", WithBudget(old.budget))
	stays("NoBudget", NoBudget())
	c.budget = old.budget // also one that was not given
	stays("BackOff", BackOff(old.source), "Exponential", "Constant", "Delay")
	stays("Delay", Delay(old.function), "Constant", "BackOff") // beside it, Exponential says the longest delay
	stays("Rand", func(c *config) {
		Rand(old.randSource)(c)
		c.random = old.random // calls that run use it too: it keeps its guard
	})
	stays("If", If(old.retryIf))
	stays("OnDiscard", OnDiscard(old.discard))
	stays("RetryRejections", RetryRejections(old.rejections...))
}

// check finds what is wrong.
func (c *config) check(problems *policy.ConfigError) {
	if c.attempts < 1 {
		problems.Add("Attempts(%d): must be at least 1", c.attempts)
	}
	c.checkDelays(problems)
	c.checkFunction("If", c.retryIf == nil, problems)
	c.checkFunction("OnDiscard", c.discard == nil, problems)
	if c.given.Given("RetryRejections") && len(c.rejections) == 0 {
		problems.Add("RetryRejections: no reason is given")
	}
	for i, reason := range c.rejections {
		if reason == nil {
			problems.Add("RetryRejections: reason %d is nil", i+1)
		}
	}
	if c.maxRetryAfter <= 0 {
		problems.Add("MaxRetryAfter(%v): must be positive", c.maxRetryAfter)
	}
	switch {
	case c.given.Given("AwaitRecovery") && c.patience <= 0:
		problems.Add("AwaitRecovery(%v): must be positive", c.patience)
	case c.patience > 0 && c.attempts == 1:
		problems.Add("AwaitRecovery(%v) with Attempts(1): there is no attempt to wait for", c.patience)
	}
	c.checkBudget(problems)
}

func (c *config) checkFunction(name string, isNil bool, problems *policy.ConfigError) {
	if isNil && c.given.Given(name) {
		problems.Add("%s: the function is nil", name)
	}
}

func (c *config) checkDelays(problems *policy.ConfigError) {
	if c.initial <= 0 {
		problems.Add("Exponential(%v, %v): the initial delay must be positive", c.initial, c.longest)
	}
	if c.initial > c.longest {
		problems.Add("Exponential(%v, %v): the initial delay is above the longest", c.initial, c.longest)
	}
	if !(c.multiplier >= 1) || math.IsInf(c.multiplier, 0) {
		problems.Add("Multiplier(%v): must be a finite number that is at least 1", c.multiplier)
	}
	if c.constant < 0 {
		problems.Add("Constant(%v): must not be negative", c.constant)
	}
	c.checkFunction("BackOff", c.source == nil, problems)
	c.checkFunction("Delay", c.function == nil, problems)
	if c.given.Given("ProportionalJitter") && !(c.share > 0 && c.share <= 1) {
		problems.Add("ProportionalJitter(%v): must be above 0 and at most 1", c.share)
	}
	if c.given.Given("Rand") && option.IsNil(c.randSource) {
		problems.Add("Rand: the source is nil")
	}
	c.contradictions(problems, "Exponential", "Constant", "BackOff")
	c.contradictions(problems, "Delay", "Constant")
	c.contradictions(problems, "Delay", "BackOff")
	c.contradictions(problems, "FullJitter", "EqualJitter", "DecorrelatedJitter", "ProportionalJitter", "NoJitter")
	for _, source := range []string{"Constant", "BackOff", "Delay"} {
		if !c.given.Given(source) {
			continue
		}
		if c.given.Given("DecorrelatedJitter") {
			problems.Add("DecorrelatedJitter with %s: it computes its own delays and needs Exponential", source)
		}
		if c.given.Given("Multiplier") {
			problems.Add("Multiplier(%v) with %s: it needs Exponential", c.multiplier, source)
		}
	}
}

// contradictions notes which of several options that exclude each other were given together.
func (c *config) contradictions(problems *policy.ConfigError, names ...string) {
	first := ""
	for _, option := range c.given {
		switch {
		case !slices.Contains(names, option.Name):
		case first == "":
			first = option.Name
		default:
			problems.Add("%s and %s contradict each other", first, option.Name)
		}
	}
}

func (c *config) checkBudget(problems *policy.ConfigError) {
	c.contradictions(problems, "WithBudget", "NoBudget")
	if !c.given.Given("WithBudget") {
		return
	}
	if option.IsNil(c.budget) {
		problems.Add("WithBudget: the budget is nil: use NoBudget")
	} else if budget, ok := c.budget.(interface{ isMade() bool }); ok && !budget.isMade() {
		problems.Add("WithBudget: use NewBudget, NewTokenBudget or NewConcurrencyBudget to make a budget")
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
