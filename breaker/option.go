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
	"github.com/go-resilience/resilience/policy"
)

// Option configures a breaker. Where an option is given twice the last one holds, except for [OnChange].
type Option func(*config)

// Name names the breaker, in errors, events, reports and when it is printed. The default is no name.
func Name(name string) Option { return func(c *config) { c.said.name = &name } }

// ConsecutiveFailures opens the breaker after n failures with no success in between; n must be at least 1. It is the
// default rule, with n = 5, when no other rule is given. Neutral outcomes neither count nor break the row.
//
// A short row cries wolf: at a healthy error rate p, a breaker with this rule opens for nothing once in
// (1-pⁿ)/((1-p)pⁿ) calls, which for n = 3 and p = 5 % is every 8,420 calls.
func ConsecutiveFailures(n int) Option { return func(c *config) { c.said.consecutive = &n } }

// FailureRate opens the breaker when at least the share rate of the calls in the window failed, and the window holds
// at least minimumCalls. It is evaluated after each failure, with integers: 0.57 opens at 57 of 100. rate must be
// between 1e-9 and 1, minimumCalls at least 1, and not above the size of a count window.
func FailureRate(rate float64, minimumCalls int) Option {
	return func(c *config) { c.said.failureRate = &rateOption{rate, minimumCalls} }
}

// FailureCount opens the breaker when n calls in the window failed, however many succeeded. n must be at least 1, and not
// above the size of a count window.
func FailureCount(n int) Option { return func(c *config) { c.said.failureCount = &n } }

// SlowCalls opens the breaker when at least the given share of the calls in the window took threshold or longer, and
// the window holds at least minimumCalls. A slow failure counts as slow and as failed. With this rule a probe that
// succeeds but is slow counts as one that failed. threshold must be at least 1µs, share and minimumCalls as for
// [FailureRate]. The rule costs each attempt two clock readings.
func SlowCalls(threshold time.Duration, share float64, minimumCalls int) Option {
	return func(c *config) { c.said.slowCalls = &slowOption{threshold, rateOption{share, minimumCalls}} }
}

// TripWhen opens the breaker when f says so. f is asked after each failure, and each slow call, that has left the breaker
// closed. It is given what the breaker knew right after that outcome, and its answer counts only if the breaker has not
// changed its state meanwhile. There is no lock: f may take its time, which its caller spends, and use the breaker. It
// must be safe for concurrent use. f sees the window, by default the one of [TimeWindow]. Let it look at Calls and
// CallsFailed, which are those in the window, or at Current, which begins anew with each state; Requests and Failures never
// fall:
//
//	breaker.TripWhen(func(s breaker.Snapshot) bool { // a ratio since the breaker closed, without a window
//		return s.Current.Requests >= 3 && float64(s.Current.Failures) >= 0.6*float64(s.Current.Requests)
//	})
func TripWhen(f func(Snapshot) bool) Option { return func(c *config) { c.said.tripWhen = &f } }

// CountWindow lets the rules look at the last n calls, however old, between 1 and 100,000. It reads no clock.
func CountWindow(n int) Option { return func(c *config) { c.said.countWindow = &n } }

// TimeWindow lets the rules look at the calls of the last d, in buckets: the current bucket and those before it, so
// between d less one bucket, and d. It is the default, with 10 s and 10 buckets. There may be 1 to 10,000 buckets, of at
// least 1ms each; d is rounded down to whole nanoseconds per bucket.
func TimeWindow(d time.Duration, buckets int) Option {
	return func(c *config) { c.said.timeWindow = &timeOption{d, buckets} }
}

// OpenFor sets the open time: for how long attempts are refused before the first probe. It must be at least 1ms. The
// default is 5 s. [Jitter] and [Growth] apply to it.
func OpenFor(d time.Duration) Option { return func(c *config) { c.said.openFor = &d } }

// Jitter lengthens every open time by a random part of it, between 0 and share, so that many breakers that opened
// together do not probe together. share must be between 0 (no jitter) and 1. The default is 0.1.
func Jitter(share float64) Option { return func(c *config) { c.said.jitter = &share } }

// Growth multiplies the open time by factor with every opening in a row, up to limit (before jitter). A row ends when
// the breaker closes, with [Ramp] when the ramp is over. factor must be at least 1 and limit at least the open time. The
// default is no growth.
func Growth(factor float64, limit time.Duration) Option {
	return func(c *config) { c.said.growth = &growthOption{factor, limit} }
}

// RetryAfter lets the error of the failure that opens the breaker ask for a longer open time, as [policy.RetryAfter]
// finds it, up to limit, which must be at least 1ms. The default is not to ask.
//
// A probe that is throttled keeps its slot for as long as its error asks for, and at least for the open time. For these
// the same limit holds. Its default is a minute.
func RetryAfter(limit time.Duration) Option { return func(c *config) { c.said.hint = &limit } }

// Probes sets how many attempts may be in flight at once while the breaker is half-open: 1 to 10,000. The default is 1.
// There are never more than successes are still needed.
func Probes(n int) Option { return func(c *config) { c.said.probes = &n } }

// Successes sets how many probes must succeed to close the breaker: at least 1. The default is 1. It is independent of
// [Probes]: they may run one after the other.
func Successes(n int) Option { return func(c *config) { c.said.successes = &n } }

// FailedProbes lets n probes fail until the next failure opens the breaker again; n must be at least 0. The default is 0:
// one failed probe is enough. As many probes must succeed as without this option.
//
// At a healthy error rate p a breaker that needs m successes opens again for nothing in 1-(1-p)ᵐ of all recoveries: for
// p = 5 % and m = 4 in 19 %, with FailedProbes(1) in 2.3 %.
func FailedProbes(n int) Option { return func(c *config) { c.said.failedProbes = &n } }

// ProbeLease sets for how long a probe keeps its slot from others. A probe that takes longer, because it hangs or was
// forgotten, can lose the slot to another attempt; then its outcome is ignored. So the lease should be longer than the
// operation may take; composing checks it against an attempt timeout inside the breaker. It must be at least 1ms. The
// default is the open time, at least 1 s.
func ProbeLease(d time.Duration) Option { return func(c *config) { c.said.lease = &d } }

// Ramp lets the load back in gradually over d after probes have closed the breaker: a share of the attempts that grows
// evenly from nothing to all is admitted, and apart from that as many at once as there may be probes. The rest is
// refused by chance. The trip rules are in force; a breaker that opens during the ramp counts as never recovered for
// [Growth]. d must be at least 1ms. The default is no ramp.
func Ramp(d time.Duration) Option { return func(c *config) { c.said.ramp = &d } }

// Classify says what errors mean to this breaker; its answer goes before the pipeline's, unless it is
// [policy.Unclassified]. f is asked about every error that is not neutral anyway (see [policy.Outcome.Verdict]). It must
// be safe for concurrent use. If it panics, the attempt counts as a failure and the panic goes on to the caller.
func Classify(f func(error) policy.Class) Option { return func(c *config) { c.said.classify = &f } }

// Shadow makes a breaker that refuses nothing and counts as if it did, as [Breaker.Shadow] does. The default is to
// enforce.
func Shadow() Option { return func(c *config) { c.shadow = true } }

// OnChange adds a subscriber to the changes of state. Every subscriber is told of every change, in order, one at a time.
// f runs on a goroutine made for it. One of the calls that caused a change waits for it, the others go on. So f should be
// fast: a slow one holds up the call that waits, and what that call holds. f may use the
// breaker, panic, and call [runtime.Goexit]. Of the changes that wait for a subscriber that hangs, the last 10,000 are
// kept (4 MB); a gap in [Change].Number shows the rest, and [Snapshot].LostDeliveries counts them.
func OnChange(f func(Change)) Option {
	return func(c *config) { c.said.onChange = append(c.said.onChange, f) }
}

// Rand sets the source of chance for [Jitter] and [Ramp], so that a run can be repeated. The default is the process's
// own. The breaker guards it: it is never used by two goroutines at once, unless it is given to something else too.
func Rand(source rand.Source) Option { return func(c *config) { c.said.source = &source } }

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(nil, opts)
	return err
}

// The limits of what can be configured. Shorter times than minimumTime are mistaken units.
const (
	minimumTime  = time.Millisecond
	minimumSlow  = time.Microsecond
	minimumRate  = 1e-9
	maximumCalls = 100_000
	maximumParts = 10_000
)

// config is a configuration: what the options say, and what follows.
type config struct {
	said   said
	shadow bool

	rules    rules
	openTime openTime
	settings []policy.Setting
	changed  bool // by Reconfigure
	seeded   bool // with a source of its own

	name        string
	classify    func(error) policy.Class
	tripWhen    func(Snapshot) bool
	subscribers []func(Change)
}

// said is what the options say; what is nil was not said.
type said struct {
	name                            *string
	consecutive, failureCount       *int
	failureRate                     *rateOption
	slowCalls                       *slowOption
	countWindow                     *int
	timeWindow                      *timeOption
	openFor, lease, ramp, hint      *time.Duration
	jitter                          *float64
	growth                          *growthOption
	probes, successes, failedProbes *int
	classify                        *func(error) policy.Class
	tripWhen                        *func(Snapshot) bool
	onChange                        []func(Change)
	source                          *rand.Source
}

type rateOption struct {
	rate         float64
	minimumCalls int
}

type slowOption struct {
	threshold time.Duration
	rateOption
}

type timeOption struct {
	length  time.Duration
	buckets int
}

type growthOption struct {
	factor float64
	limit  time.Duration
}

// configure applies the options, checks what results, and fills in the defaults. What is code or the name, and was not
// said, comes from before, unless that is nil.
func configure(before *config, opts []Option) (*config, error) {
	c := &config{changed: before != nil}
	problems := &policy.ConfigError{Policy: "breaker"}
	option.Apply(c, opts, problems)
	if before == nil {
		before = &config{openTime: openTime{random: random.Shared().Float64}}
	} else if name := c.said.name; name != nil && *name != before.name {
		problems.Add("Name(%q): the breaker keeps its name, which is %q", *name, before.name)
	}
	c.name = value(c.said.name, before.name)
	c.configureCode(before, problems)
	c.configureRules(problems)
	c.configureWindow(problems)
	c.configureOpenTime(problems)
	c.configureProbes(problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	c.settings = c.describe()
	return c, nil
}

// value returns what was said, or the default.
func value[T any](said *T, otherwise T) T {
	if said == nil {
		return otherwise
	}
	return *said
}

func (c *config) configureCode(before *config, problems *policy.ConfigError) {
	notNil := func(isNil bool, option string) {
		if isNil {
			problems.Add("%s(nil): must not be nil", option)
		}
	}
	c.classify = value(c.said.classify, before.classify)
	notNil(c.said.classify != nil && c.classify == nil, "Classify")
	c.tripWhen = value(c.said.tripWhen, before.tripWhen)
	notNil(c.said.tripWhen != nil && c.tripWhen == nil, "TripWhen")
	c.subscribers = before.subscribers
	if c.said.onChange != nil {
		c.subscribers = slices.Clip(c.said.onChange)
	}
	notNil(slices.ContainsFunc(c.said.onChange, func(f func(Change)) bool { return f == nil }), "OnChange")
	c.openTime.random, c.seeded = before.openTime.random, before.seeded
	if source := c.said.source; source != nil {
		notNil(option.IsNil(*source), "Rand")
		c.openTime.random, c.seeded = random.Guard(*source).Float64, true
	}
}

func (c *config) configureRules(problems *policy.ConfigError) {
	s, r := &c.said, &c.rules
	atLeastOne := func(said *int, option string) int {
		if said != nil && *said < 1 {
			problems.Add("%s(%d): must be at least 1", option, *said)
		}
		return value(said, 0)
	}
	r.consecutive = atLeastOne(s.consecutive, "ConsecutiveFailures")
	r.failureCount = atLeastOne(s.failureCount, "FailureCount")
	r.failureRate = s.failureRate.rule("FailureRate", problems)
	if slow := s.slowCalls; slow != nil {
		r.slowAfter, r.slowRate = slow.threshold, slow.rule("SlowCalls", problems)
		if r.slowAfter < minimumSlow {
			problems.Add("SlowCalls(%v): the threshold must be at least %v", r.slowAfter, minimumSlow)
		}
	}
	if s.consecutive == nil && !c.windowed() {
		r.consecutive = 5
	}
}

func (o *rateOption) rule(option string, problems *policy.ConfigError) rateRule {
	if o == nil {
		return rateRule{}
	}
	sound := true
	if !(o.rate >= minimumRate && o.rate <= 1) { // also refuses NaN
		problems.Add("%s(%v): the rate must be between %v and 1", option, o.rate, minimumRate)
		sound = false
	}
	if o.minimumCalls < 1 {
		problems.Add("%s with %d minimum calls: must be at least 1", option, o.minimumCalls)
		sound = false
	}
	if !sound {
		return rateRule{}
	}
	return rateRule{share: decimal.Of(o.rate), minimumCalls: int64(o.minimumCalls)}
}

// windowed reports whether there is a rule that looks at a window.
func (c *config) windowed() bool {
	return c.said.failureRate != nil || c.said.slowCalls != nil || c.said.failureCount != nil || c.tripWhen != nil
}

func (c *config) configureWindow(problems *policy.ConfigError) {
	count, span := c.said.countWindow, c.said.timeWindow
	const unused = "without FailureRate, FailureCount, SlowCalls or TripWhen nothing looks at it"
	switch {
	case count != nil && span != nil:
		problems.Add("CountWindow(%d) and TimeWindow(%v, %d): only one window is possible", *count, span.length, span.buckets)
	case !c.windowed() && count != nil:
		problems.Add("CountWindow(%d): "+unused, *count)
	case !c.windowed() && span != nil:
		problems.Add("TimeWindow(%v, %d): "+unused, span.length, span.buckets)
	case count != nil:
		c.configureCountWindow(*count, problems)
	case c.windowed():
		c.configureTimeWindow(value(span, timeOption{10 * time.Second, 10}), problems)
	}
}

func (c *config) configureCountWindow(calls int, problems *policy.ConfigError) {
	if calls < 1 || calls > maximumCalls {
		problems.Add("CountWindow(%d): must be between 1 and %d", calls, maximumCalls)
		return
	}
	s := &c.said
	if s.failureRate != nil && s.failureRate.minimumCalls > calls {
		problems.Add("FailureRate with %d minimum calls and CountWindow(%d): can never trip", s.failureRate.minimumCalls, calls)
	}
	if s.slowCalls != nil && s.slowCalls.minimumCalls > calls {
		problems.Add("SlowCalls with %d minimum calls and CountWindow(%d): can never trip", s.slowCalls.minimumCalls, calls)
	}
	if s.failureCount != nil && *s.failureCount > calls {
		problems.Add("FailureCount(%d) and CountWindow(%d): can never trip", *s.failureCount, calls)
	}
	c.rules.lastCalls = calls
}

func (c *config) configureTimeWindow(o timeOption, problems *policy.ConfigError) {
	if o.buckets < 1 || o.buckets > maximumParts {
		problems.Add("TimeWindow(%v, %d): there must be between 1 and %d buckets", o.length, o.buckets, maximumParts)
		return
	}
	c.rules.bucket, c.rules.buckets = o.length/time.Duration(o.buckets), o.buckets
	if c.rules.bucket < minimumTime {
		problems.Add("TimeWindow(%v, %d): a bucket must be at least %v", o.length, o.buckets, minimumTime)
	}
}

func (c *config) configureOpenTime(problems *policy.ConfigError) {
	o := &c.openTime
	o.base = atLeast(problems, "OpenFor", c.said.openFor, 5*time.Second)
	o.jitter = value(c.said.jitter, 0.1)
	if !(o.jitter >= 0 && o.jitter <= 1) {
		problems.Add("Jitter(%v): must be between 0 and 1", o.jitter)
	}
	o.factor, o.limit = 1, saturate.Max
	if growth := c.said.growth; growth != nil {
		o.factor, o.limit = growth.factor, growth.limit
		if !(o.factor >= 1 && o.factor <= math.MaxFloat64) {
			problems.Add("Growth(%v): the factor must be a number of at least 1", o.factor)
		}
		if o.limit < o.base {
			problems.Add("Growth up to %v: must not be below the open time %v", o.limit, o.base)
		}
	}
	o.hint = atLeast(problems, "RetryAfter", c.said.hint, 0)
	c.rules.openFor = o.base
}

func (c *config) configureProbes(problems *policy.ConfigError) {
	s, r := &c.said, &c.rules
	r.probes, r.successes, r.failedProbes = value(s.probes, 1), value(s.successes, 1), value(s.failedProbes, 0)
	if r.probes < 1 || r.probes > maximumParts {
		problems.Add("Probes(%d): must be between 1 and %d", r.probes, maximumParts)
	}
	if r.successes < 1 {
		problems.Add("Successes(%d): must be at least 1", r.successes)
	}
	if r.failedProbes < 0 {
		problems.Add("FailedProbes(%d): must be at least 0", r.failedProbes)
	}
	slow := r.slowAfter // a probe that is found slow should not have lost its slot by then
	r.lease = atLeast(problems, "ProbeLease", s.lease, max(c.openTime.base, time.Second, after(slow, max(slow, 0))))
	if s.lease != nil && slow > 0 && slow >= r.lease {
		problems.Add("SlowCalls(%v) and ProbeLease(%v): a slow probe would lose its lease unseen", slow, r.lease)
	}
	r.ramp = atLeast(problems, "Ramp", s.ramp, 0)
}

// atLeast returns what was said, if it is at least minimumTime, and otherwise the default.
func atLeast(problems *policy.ConfigError, option string, said *time.Duration, otherwise time.Duration) time.Duration {
	if said == nil {
		return otherwise
	}
	if *said < minimumTime {
		problems.Add("%s(%v): must be at least %v", option, *said, minimumTime)
		return otherwise
	}
	return *said
}

// describe returns the options that were given, and those of code that stayed, for reports.
func (c *config) describe() (settings []policy.Setting) {
	s := &c.said
	add := func(name string, args ...policy.Argument) {
		settings = append(settings, policy.Setting{Name: name, Args: args})
	}
	if c.name != "" {
		add("Name", policy.Argument{Name: "name", Value: c.name})
	}
	number := func(name, argument string, said *int) {
		if said != nil {
			add(name, policy.Argument{Name: argument, Value: *said})
		}
	}
	duration := func(name, argument string, said *time.Duration) {
		if said != nil {
			add(name, policy.Argument{Name: argument, Value: *said})
		}
	}
	number("ConsecutiveFailures", "n", s.consecutive)
	if o := s.failureRate; o != nil {
		add("FailureRate", policy.Argument{Name: "rate", Value: o.rate}, policy.Argument{Name: "minimumCalls", Value: o.minimumCalls})
	}
	number("FailureCount", "n", s.failureCount)
	if o := s.slowCalls; o != nil {
		add("SlowCalls", policy.Argument{Name: "threshold", Value: o.threshold}, policy.Argument{Name: "share", Value: o.rate},
			policy.Argument{Name: "minimumCalls", Value: o.minimumCalls})
	}
	number("CountWindow", "n", s.countWindow)
	if o := s.timeWindow; o != nil {
		add("TimeWindow", policy.Argument{Name: "d", Value: o.length}, policy.Argument{Name: "buckets", Value: o.buckets})
	}
	duration("OpenFor", "d", s.openFor)
	if s.jitter != nil {
		add("Jitter", policy.Argument{Name: "share", Value: *s.jitter})
	}
	if o := s.growth; o != nil {
		add("Growth", policy.Argument{Name: "factor", Value: o.factor}, policy.Argument{Name: "limit", Value: o.limit})
	}
	duration("RetryAfter", "limit", s.hint)
	number("Probes", "n", s.probes)
	number("Successes", "n", s.successes)
	number("FailedProbes", "n", s.failedProbes)
	duration("ProbeLease", "d", s.lease)
	duration("Ramp", "d", s.ramp)
	if c.shadow {
		add("Shadow")
	}
	code := func(name string, given bool) {
		if given {
			settings = append(settings, policy.Setting{Name: name, Code: true})
		}
	}
	code("TripWhen", c.tripWhen != nil)
	code("Classify", c.classify != nil)
	for range c.subscribers {
		code("OnChange", true)
	}
	code("Rand", c.seeded)
	return settings
}
