package breaker

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-resilience/resilience/internal/decimal"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// The limits of what can be configured. Shorter times than minimumTime are mistaken units.
const (
	minimumTime  = time.Millisecond
	minimumSlow  = time.Microsecond
	minimumRate  = 1e-9
	maximumCalls = 100_000
	maximumParts = 10_000
)

// config is a configuration. It never changes once it is in use.
type config struct {
	given        setting.List
	reconfigured bool

	name        string
	shadow      bool
	rules       rules
	timeWindow  time.Duration // the length of the time window, if there is one
	openTime    openTime
	source      rand.Source // of openTime.random; nil for the process's own
	classify    func(error) policy.Class
	tripWhen    func(Snapshot) bool
	subscribers []func(Change)
}

// configure returns what opts say. before is the configuration that they change, whose name and code stay; nil for a new
// breaker.
func configure(before *config, opts []Option) (*config, error) {
	c := &config{
		rules:      rules{buckets: 10, probes: 1, successes: 1},
		timeWindow: 10 * time.Second,
		openTime:   openTime{base: 5 * time.Second, growth: 1, growthLimit: saturate.Max, jitter: 0.1},
	}
	problems := &policy.ConfigError{Policy: "breaker"}
	option.Apply(c, opts, problems)
	if before != nil {
		c.keep(before, problems)
	}
	c.checkCode(problems)
	c.checkRules(problems)
	c.checkWindow(problems)
	c.checkOpenTime(problems)
	c.checkProbes(problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	c.complete()
	return c, nil
}

// keep takes over the name, and what is code, unless it was given anew.
func (c *config) keep(before *config, problems *policy.ConfigError) {
	c.reconfigured = true
	if c.given.Given("Name") && c.name != before.name {
		problems.Add("Name(%q): the breaker keeps its name, which is %q", c.name, before.name)
	}
	stays := func(name string, again Option) {
		if before.given.Given(name) && !c.given.Given(name) {
			again(c)
		}
	}
	stays("Name", Name(before.name))
	stays("TripWhen", TripWhen(before.tripWhen))
	stays("Classify", Classify(before.classify))
	stays("OnChange", func(c *config) {
		for _, f := range before.subscribers {
			OnChange(f)(c)
		}
	})
	stays("Rand", func(c *config) {
		Rand(before.source)(c)
		c.openTime.random = before.openTime.random // which guards the source
	})
}

// windowed reports whether there is a rule that looks at a window.
func (c *config) windowed() bool {
	given := c.given.Given
	return given("FailureRate") || given("SlowCalls") || given("FailureCount") || given("TripWhen")
}

func (c *config) checkCode(problems *policy.ConfigError) {
	notNil := func(option string, isNil bool) {
		if isNil && c.given.Given(option) {
			problems.Add("%s(nil): must not be nil", option)
		}
	}
	notNil("TripWhen", c.tripWhen == nil)
	notNil("Classify", c.classify == nil)
	notNil("OnChange", slices.ContainsFunc(c.subscribers, func(f func(Change)) bool { return f == nil }))
	notNil("Rand", option.IsNil(c.source))
}

func (c *config) checkRules(problems *policy.ConfigError) {
	r := &c.rules
	checkLeast(c, problems, "ConsecutiveFailures", r.consecutive, 1)
	checkLeast(c, problems, "FailureCount", r.failureCount, 1)
	if c.given.Given("FailureRate") {
		r.failureRate.check("FailureRate", problems)
	}
	if c.given.Given("SlowCalls") {
		r.slowRate.check("SlowCalls", problems)
		if r.slowAfter < minimumSlow {
			problems.Add("SlowCalls(%v): the threshold must be at least %v", r.slowAfter, minimumSlow)
		}
	}
}

func (r rateRule) check(option string, problems *policy.ConfigError) {
	if !(r.rate >= minimumRate && r.rate <= 1) { // also refuses NaN
		problems.Add("%s(%v): the rate must be between %v and 1", option, r.rate, minimumRate)
	}
	if r.minimumCalls < 1 {
		problems.Add("%s with %d minimum calls: must be at least 1", option, r.minimumCalls)
	}
}

func (c *config) checkWindow(problems *policy.ConfigError) {
	r, count, span := &c.rules, c.given.Given("CountWindow"), c.given.Given("TimeWindow")
	const unused = "without FailureRate, FailureCount, SlowCalls or TripWhen nothing looks at it"
	switch {
	case count && span:
		problems.Add("CountWindow(%d) and TimeWindow(%v, %d): only one window is possible", r.lastCalls, c.timeWindow, r.buckets)
	case count && !c.windowed():
		problems.Add("CountWindow(%d): "+unused, r.lastCalls)
	case span && !c.windowed():
		problems.Add("TimeWindow(%v, %d): "+unused, c.timeWindow, r.buckets)
	case count:
		c.checkCountWindow(problems)
	case span && (r.buckets < 1 || r.buckets > maximumParts):
		problems.Add("TimeWindow(%v, %d): there must be between 1 and %d buckets", c.timeWindow, r.buckets, maximumParts)
	case span && c.timeWindow/time.Duration(r.buckets) < minimumTime:
		problems.Add("TimeWindow(%v, %d): a bucket must be at least %v", c.timeWindow, r.buckets, minimumTime)
	}
}

func (c *config) checkCountWindow(problems *policy.ConfigError) {
	r, calls := &c.rules, c.rules.lastCalls
	if calls < 1 || calls > maximumCalls {
		problems.Add("CountWindow(%d): must be between 1 and %d", calls, maximumCalls)
		return
	}
	if least := r.failureRate.minimumCalls; least > int64(calls) {
		problems.Add("FailureRate with %d minimum calls and CountWindow(%d): can never trip", least, calls)
	}
	if least := r.slowRate.minimumCalls; least > int64(calls) {
		problems.Add("SlowCalls with %d minimum calls and CountWindow(%d): can never trip", least, calls)
	}
	if r.failureCount > calls {
		problems.Add("FailureCount(%d) and CountWindow(%d): can never trip", r.failureCount, calls)
	}
}

func (c *config) checkOpenTime(problems *policy.ConfigError) {
	o := &c.openTime
	checkLeast(c, problems, "OpenFor", o.base, minimumTime)
	checkLeast(c, problems, "RetryAfter", o.retryAfterLimit, minimumTime)
	if !(o.jitter >= 0 && o.jitter <= 1) {
		problems.Add("Jitter(%v): must be between 0 and 1", o.jitter)
	}
	if !(o.growth >= 1 && o.growth <= math.MaxFloat64) {
		problems.Add("Growth(%v): the factor must be a number of at least 1", o.growth)
	}
	if o.growthLimit < o.base {
		problems.Add("Growth up to %v: must not be below the open time %v", o.growthLimit, o.base)
	}
}

func (c *config) checkProbes(problems *policy.ConfigError) {
	r := &c.rules
	if r.probes < 1 || r.probes > maximumParts {
		problems.Add("Probes(%d): must be between 1 and %d", r.probes, maximumParts)
	}
	checkLeast(c, problems, "Successes", r.successes, 1)
	checkLeast(c, problems, "FailedProbes", r.failedProbes, 0)
	checkLeast(c, problems, "ProbeLease", r.lease, minimumTime)
	if c.given.Given("ProbeLease") && r.lease >= minimumTime && r.slowAfter >= r.lease {
		problems.Add("SlowCalls(%v) and ProbeLease(%v): a slow probe would lose its lease unseen", r.slowAfter, r.lease)
	}
	checkLeast(c, problems, "Ramp", r.ramp, minimumTime)
}

// checkLeast notes a value below the least that its option may be given.
func checkLeast[T int | time.Duration](c *config, problems *policy.ConfigError, option string, value, least T) {
	if c.given.Given(option) && value < least {
		problems.Add("%s(%v): must be at least %v", option, value, least)
	}
}

// complete fills in what follows from the options, once they are known to be right.
func (c *config) complete() {
	r := &c.rules
	if !c.given.Given("ConsecutiveFailures") && !c.windowed() {
		r.consecutive = 5
	}
	r.failureRate.share, r.slowRate.share = decimal.Of(r.failureRate.rate), decimal.Of(r.slowRate.rate)
	if c.windowed() && !c.given.Given("CountWindow") {
		r.bucketWidth = c.timeWindow / time.Duration(r.buckets)
	}
	r.openFor = c.openTime.base
	if !c.given.Given("ProbeLease") { // a probe that is found slow should not have lost its slot by then
		r.lease = max(r.openFor, time.Second, saturate.Add(r.slowAfter, r.slowAfter))
	}
	switch {
	case c.openTime.random != nil:
	case c.source != nil:
		c.openTime.random = random.Guard(c.source).Float64
	default:
		c.openTime.random = random.Shared().Float64
	}
}
