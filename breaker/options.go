package breaker

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a breaker. Where an option is given twice the last one holds, except for [OnChange].
type Option func(*config)

// Name names the breaker, in errors, events and when it is printed. The default is no name.
func Name(name string) Option { return func(c *config) { c.name = name } }

// ConsecutiveFailures opens the breaker after n failures with no success in between; n must be at least 1. It is the
// default rule, with n = 5, when no other rule is given. Neutral outcomes neither count nor break the row.
//
// A short row cries wolf: at a healthy error rate p, a breaker with this rule opens for nothing once in
// (1-pⁿ)/((1-p)pⁿ) calls, which for n = 3 and p = 5 % is every 8,420 calls.
func ConsecutiveFailures(n int) Option {
	return func(c *config) { c.consecutive = &n }
}

// FailureRate opens the breaker when at least the share rate of the calls in the window failed, and the window holds
// at least minimumCalls. It is evaluated after each failure, with integers: 0.57 opens at 57 of 100. rate must be
// between 1e-9 and 1, minimumCalls at least 1, and not above the size of a count window.
func FailureRate(rate float64, minimumCalls int) Option {
	return func(c *config) { c.failureRate = &rateOption{rate, minimumCalls} }
}

// SlowCalls opens the breaker when at least the given share of the calls in the window took threshold or longer, and
// the window holds at least minimumCalls. A slow failure counts as slow and as failed. With this rule a probe that
// succeeds but is slow opens the breaker again. threshold must be at least 1µs, share and minimumCalls as for
// [FailureRate]. The rule costs each attempt two clock readings.
func SlowCalls(threshold time.Duration, share float64, minimumCalls int) Option {
	return func(c *config) { c.slowAfter, c.slowRate = threshold, &rateOption{share, minimumCalls} }
}

// CountWindow lets the rate rules look at the last n calls, however old, between 1 and 100,000. It reads no clock.
func CountWindow(n int) Option {
	return func(c *config) { c.countWindow = &n }
}

// TimeWindow lets the rate rules look at the calls of the last d, in buckets: the current bucket and those before it,
// so between d less one bucket, and d. It is the default, with 10 s and 10 buckets. There may be 1 to 10,000
// buckets, of at least 1ms each; d is rounded down to whole nanoseconds per bucket.
func TimeWindow(d time.Duration, buckets int) Option {
	return func(c *config) { c.timeWindow = &timeOption{d, buckets} }
}

// OpenFor sets the open time: for how long attempts are refused before the first probe. It must be at least 1ms; the
// default is 5 s. [Jitter] and [Growth] apply to it.
func OpenFor(d time.Duration) Option {
	return func(c *config) { c.openFor = &d }
}

// Jitter lengthens every open time by a random part of it, between 0 and share, so that many breakers that opened
// together do not probe together. share must be between 0 (no jitter) and 1; the default is 0.1.
func Jitter(share float64) Option {
	return func(c *config) { c.openTime.jitter = share }
}

// Growth multiplies the open time by factor with every opening in a row, up to limit (before jitter). A row ends when
// the breaker closes, with [Ramp] when the ramp is over. factor must be at least 1 and limit at least the open time. The
// default is no growth.
func Growth(factor float64, limit time.Duration) Option {
	return func(c *config) {
		c.growth = true
		c.openTime.factor, c.openTime.limit = factor, limit
	}
}

// GrowthFrom takes the open times from a source, instead of [OpenFor] and [Growth]: the nth opening in a row lasts as
// long as the nth delay of a fresh source says, before jitter. Delays of 0 or less, such as backoff.Stop, end the growth;
// so does the hundredth.
//
//	breaker.GrowthFrom(func() breaker.Delays { return backoff.NewExponentialBackOff() })
//
// The factory may be called often and by many goroutines at once. It must not return nil, and the first delay must be
// at least 1ms.
func GrowthFrom(factory func() Delays) Option {
	return func(c *config) { c.source = &factory }
}

// RetryAfter lets the error of the failure that opens the breaker ask for a longer open time, as [policy.RetryAfter]
// finds it, up to limit, which must be at least 1ms. The default is not to ask.
func RetryAfter(limit time.Duration) Option {
	return func(c *config) { c.hint = &limit }
}

// Probes sets how many attempts may be in flight at once while the breaker is half-open: 1 to 10,000, 1 by default.
func Probes(n int) Option { return func(c *config) { c.probes = n } }

// Successes sets how many probes must succeed, without a failure, to close the breaker: at least 1, the default. It is
// independent of [Probes]: they may run one after the other.
func Successes(n int) Option { return func(c *config) { c.successes = n } }

// ProbeLease sets for how long a probe keeps its slot. One that takes longer, because it hangs or was forgotten, loses
// the slot to another attempt, and its outcome is ignored. So it must be longer than the operation may take; composing
// checks it against an attempt timeout further in. It must be at least 1ms; the default is the open time, at least
// 1 s.
func ProbeLease(d time.Duration) Option {
	return func(c *config) { c.lease = &d }
}

// Ramp lets the load back in gradually over d after probes have closed the breaker: a share of the attempts that grows
// evenly from nothing to all is admitted, and apart from that as many at once as there may be probes. The rest is
// refused by chance. The trip rules are in force; a breaker that opens during the ramp counts as never recovered for
// [Growth]. d must be at least 1ms. The default is no ramp.
func Ramp(d time.Duration) Option {
	return func(c *config) { c.ramp = &d }
}

// Classify refines what errors mean: f is asked about every error that is not neutral anyway (see
// [policy.Outcome.Verdict]). The default is that each is a failure. f must be safe for concurrent use. If it panics, the
// attempt counts as a failure and the panic goes on to the caller.
func Classify(f func(error) policy.Class) Option {
	return func(c *config) { c.classify = f; c.refuse(f == nil, "Classify(nil)") }
}

// OnChange adds a subscriber to the changes of state. Every subscriber hears every change, in order, one at a time, on a
// goroutine of its own that the caller who is delivering waits for. That is one of those who changed the state; others
// leave their changes to it and go on, and whoever made a change while nobody was delivering delivers it before its
// call goes on. So f must be fast: a slow one holds up the call that delivers, and what that call holds, though no other.
// Nothing breaks if it calls the breaker, panics or calls [runtime.Goexit]. Of the changes that wait for a subscriber
// that hangs, the last 10,000 are kept (3 MB); a gap in [Change].Number shows the rest.
func OnChange(f func(Change)) Option {
	return func(c *config) { c.subscribers = append(c.subscribers, f); c.refuse(f == nil, "OnChange(nil)") }
}

// OnPanic is told of panics of subscribers, which go nowhere else but into [Snapshot].LostDeliveries. A panic in f is
// dropped.
func OnPanic(f func(recovered any)) Option {
	return func(c *config) { c.onPanic = f; c.refuse(f == nil, "OnPanic(nil)") }
}

// Rand sets the source of chance for [Jitter] and [Ramp], so that a run can be repeated. The default is the process's
// own. The breaker guards it: it is never used by two goroutines at once, unless it is given to something else too.
func Rand(source rand.Source) Option {
	return func(c *config) { c.openTime.random = guarded(source); c.refuse(source == nil, "Rand(nil)") }
}

// guarded returns numbers in [0, 1) from source, to one goroutine at a time.
func guarded(source rand.Source) func() float64 {
	var mu sync.Mutex
	random := rand.New(source)
	return func() float64 {
		mu.Lock()
		defer mu.Unlock() // also if a source of the user panics
		return random.Float64()
	}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
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

// config is what the options say; what is nil was not said.
type config struct {
	rules
	openTime openTime

	name        string
	classify    func(error) policy.Class
	subscribers []func(Change)
	onPanic     func(any)

	consecutive           *int
	failureRate, slowRate *rateOption
	countWindow           *int
	timeWindow            *timeOption
	openFor, lease, ramp  *time.Duration
	growth                bool
	source                *func() Delays
	hint                  *time.Duration
	nils                  []string
}

type rateOption struct {
	rate         float64
	minimumCalls int
}

type timeOption struct {
	length  time.Duration
	buckets int
}

// rules is what the core needs to know. It is immutable.
type rules struct {
	consecutive           int // 0: no such rule
	failureRate, slowRate rateRule
	slowAfter             time.Duration
	lastCalls             int           // the count window; 0: none
	bucket                time.Duration // the time window; 0: none
	buckets               int
	probes, successes     int
	lease, ramp           time.Duration
}

func (r *rules) newWindow(now time.Duration) window {
	switch {
	case r.lastCalls > 0:
		return &countWindow{size: int64(r.lastCalls), marks: make([]mark, r.lastCalls)}
	case r.bucket > 0:
		return &timeWindow{width: r.bucket, starts: make([]counts, r.buckets), start: now}
	}
	return nil
}

func (c *config) refuse(isNil bool, what string) {
	if isNil {
		c.nils = append(c.nils, what)
	}
}

// configure applies the options, checks everything, and fills in the defaults.
func configure(opts []Option) (*config, error) {
	c := &config{}
	c.rules.probes, c.rules.successes = 1, 1
	c.openTime = openTime{factor: 1, limit: math.MaxInt64, jitter: 0.1, random: rand.Float64}
	problems := &policy.ConfigError{Policy: "breaker"}
	for i, opt := range opts {
		if opt == nil {
			problems.Add("option %d is nil", i+1)
			continue
		}
		opt(c)
	}
	for _, what := range c.nils {
		problems.Add("%s: must not be nil", what)
	}
	c.configureRules(problems)
	c.configureWindow(problems)
	c.configureOpenTime(problems)
	c.configureProbes(problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	c.subscribers = slices.Clip(c.subscribers)
	return c, nil
}

func (c *config) configureRules(problems *policy.ConfigError) {
	if c.consecutive != nil {
		if *c.consecutive < 1 {
			problems.Add("ConsecutiveFailures(%d): must be at least 1", *c.consecutive)
		}
		c.rules.consecutive = *c.consecutive
	}
	c.rules.failureRate = c.failureRate.rule("FailureRate", problems)
	c.rules.slowRate = c.slowRate.rule("SlowCalls", problems)
	if c.slowRate != nil && c.slowAfter < minimumSlow {
		problems.Add("SlowCalls(%v): the threshold must be at least %v", c.slowAfter, minimumSlow)
	}
	if c.consecutive == nil && c.failureRate == nil && c.slowRate == nil {
		c.rules.consecutive = 5
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
	return rateRule{share: ratioOf(o.rate), minimumCalls: int64(o.minimumCalls)}
}

func (c *config) configureWindow(problems *policy.ConfigError) {
	rated := c.failureRate != nil || c.slowRate != nil
	switch {
	case c.countWindow != nil && c.timeWindow != nil:
		problems.Add("CountWindow(%d) and TimeWindow(%v, %d): only one window is possible",
			*c.countWindow, c.timeWindow.length, c.timeWindow.buckets)
	case !rated && c.countWindow != nil:
		problems.Add("CountWindow(%d): without FailureRate or SlowCalls nothing looks at it", *c.countWindow)
	case !rated && c.timeWindow != nil:
		problems.Add("TimeWindow(%v, %d): without FailureRate or SlowCalls nothing looks at it",
			c.timeWindow.length, c.timeWindow.buckets)
	case c.countWindow != nil:
		c.configureCountWindow(*c.countWindow, problems)
	case c.timeWindow != nil:
		c.configureTimeWindow(*c.timeWindow, problems)
	case rated:
		c.configureTimeWindow(timeOption{10 * time.Second, 10}, problems)
	}
}

func (c *config) configureCountWindow(calls int, problems *policy.ConfigError) {
	if calls < 1 || calls > maximumCalls {
		problems.Add("CountWindow(%d): must be between 1 and %d", calls, maximumCalls)
		return
	}
	if c.failureRate != nil && c.failureRate.minimumCalls > calls {
		problems.Add("FailureRate with %d minimum calls and CountWindow(%d): can never trip", c.failureRate.minimumCalls, calls)
	}
	if c.slowRate != nil && c.slowRate.minimumCalls > calls {
		problems.Add("SlowCalls with %d minimum calls and CountWindow(%d): can never trip", c.slowRate.minimumCalls, calls)
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
	o.base = atLeast(problems, "OpenFor", c.openFor, 5*time.Second)
	if !(o.jitter >= 0 && o.jitter <= 1) {
		problems.Add("Jitter(%v): must be between 0 and 1", o.jitter)
	}
	if c.growth {
		if !(o.factor >= 1 && o.factor <= math.MaxFloat64) {
			problems.Add("Growth(%v): the factor must be a number of at least 1", o.factor)
		}
		if o.limit < o.base {
			problems.Add("Growth up to %v: must not be below the open time %v", o.limit, o.base)
		}
	}
	if c.source != nil {
		c.configureSource(problems)
	}
	if c.hint != nil {
		o.hint = atLeast(problems, "RetryAfter", c.hint, 0)
	}
}

func (c *config) configureSource(problems *policy.ConfigError) {
	if c.growth {
		problems.Add("Growth and GrowthFrom: only one is possible")
	}
	if c.openFor != nil {
		problems.Add("OpenFor(%v) and GrowthFrom: only one is possible", *c.openFor)
	}
	factory := *c.source
	if factory == nil {
		problems.Add("GrowthFrom(nil): must not be nil")
		return
	}
	source := factory()
	if source == nil {
		problems.Add("GrowthFrom: the factory returned nil")
		return
	}
	first := source.NextBackOff()
	if first < minimumTime {
		problems.Add("GrowthFrom: the first delay is %v: must be at least %v", first, minimumTime)
	}
	c.openTime.source, c.openTime.base = factory, first
}

func (c *config) configureProbes(problems *policy.ConfigError) {
	if c.rules.probes < 1 || c.rules.probes > maximumParts {
		problems.Add("Probes(%d): must be between 1 and %d", c.rules.probes, maximumParts)
	}
	if c.rules.successes < 1 {
		problems.Add("Successes(%d): must be at least 1", c.rules.successes)
	}
	slow := c.rules.slowAfter // a probe that is found slow must not have lost its lease by then
	c.rules.lease = atLeast(problems, "ProbeLease", c.lease, max(c.openTime.base, time.Second, after(slow, slow)))
	if c.lease != nil && slow > 0 && slow >= c.rules.lease {
		problems.Add("SlowCalls(%v) and ProbeLease(%v): a slow probe would lose its lease unseen", slow, c.rules.lease)
	}
	if c.ramp != nil {
		c.rules.ramp = atLeast(problems, "Ramp", c.ramp, 0)
	}
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
