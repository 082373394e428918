package ratelimit

import (
	"context"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/keytable"
	"github.com/go-resilience/resilience/internal/keytype"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
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

	// MaxKeys is the most that [Keys] can be.
	MaxKeys = keytable.MaxKeys

	defaultMaxWaiters = 10_000
	defaultKeys       = 100_000
)

// Option configures a limiter. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a configuration. Once checked, it does not change.
type config struct {
	perSecond      float64
	burst          int
	name           string
	maxWait        time.Duration // 0: no attempt waits
	maxWaiters     int
	costOf         func(context.Context) int // nil: every attempt costs 1
	beginsInShadow bool
	keys           int // of a limiter per key

	given given

	once sync.Once // for list, which most of many limiters never show
	list []policy.Setting
}

// given is which options were given. A [setting.List] would make a limiter larger by a fifth and more, and there may be very
// many; so that is made of it when a report is asked for.
type given struct{ name, maxWait, maxWaiters, costOf, keys bool }

// Name names the limiter in its rejections, its [policy.Report] and its String. The default is no name.
func Name(name string) Option {
	return func(c *config) { c.given.name, c.name = true, name }
}

// MaxWait makes an attempt that finds no token wait for it, in the order in which they came, if the wait is at most
// wait, which must be positive, and ends before the deadline of the attempt's context. Otherwise the attempt is refused
// at once, and so is one whose context is a [policy.NoWait]. The default is that no attempt waits.
//
// The wait is known when the attempt comes, from the rate and from the attempts before it. It gets shorter when those
// leave. It gets longer only by [Limiter.Reconfigure], which refuses the attempts that would then wait too long.
func MaxWait(wait time.Duration) Option {
	return func(c *config) { c.given.maxWait, c.maxWait = true, wait }
}

// MaxWaiters bounds how many attempts may wait at a time; it must be positive, and needs [MaxWait]. The default is
// 10,000. MaxWait alone admits about rate times wait of them.
func MaxWaiters(n int) Option {
	return func(c *config) { c.given.maxWaiters, c.maxWaiters = true, n }
}

// CostOf sets how many tokens an attempt costs. cost is called once for each attempt, on its own goroutine and under no
// lock, with the attempt's context, which is where a caller says what the attempt costs; and by ReportFor. The default is 1
// for every attempt.
//
// An attempt with a cost of 0 takes nothing and never waits. One with a cost above the burst, or below 0, can never be
// admitted: it is refused at once with [ErrCost] and takes nothing.
func CostOf(cost func(ctx context.Context) int) Option {
	return func(c *config) { c.given.costOf, c.costOf = true, cost }
}

// Keys sets for how many keys a [PerKey] has room, from 1 to [MaxKeys]. The default is 100,000. It is an option of
// [NewPerKey] only.
//
// A key takes room as long as its bucket is not full. Memory grows with the keys that take room, up to 57 bytes for each of
// n, and to 8 KiB at least: 34 MB for a million. It is not given back. Where all room is taken, a key that finds none shares
// the bucket of all such keys with the same few bits of hash: it gets at most what a key of its own would get, and often
// less. The keys that have room do not notice.
func Keys(n int) Option {
	return func(c *config) { c.given.keys, c.keys = true, n }
}

// Shadow lets the limiter refuse nothing and make nothing wait, and count what it would have done; see
// [Limiter.Shadow]. The default is to enforce.
func Shadow() Option {
	return func(c *config) { c.beginsInShadow = true }
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(perSecond float64, burst int, options ...Option) error {
	_, err := configure(nil, perSecond, burst, options)
	return err
}

// ValidatePerKey returns the [*policy.ConfigError] that [NewPerKey] would panic with, or nil.
func ValidatePerKey[K comparable](perSecond float64, burst int, _ func(context.Context) K, options ...Option) error {
	_, err := configurePerKey[K](nil, perSecond, burst, options)
	return err
}

// configure returns the configuration of a [Limiter] that options make, in place of old, which is nil for a new limiter.
func configure(old *config, perSecond float64, burst int, options []Option) (*config, error) {
	problems := policy.ConfigError{Policy: "ratelimit"}
	c := parse(old, perSecond, burst, options, &problems)
	if c.given.maxWait && c.maxWait <= 0 {
		problems.Add("MaxWait %v: must be positive; without MaxWait no attempt waits", c.maxWait)
	}
	if c.given.maxWaiters && c.maxWaiters < 1 {
		problems.Add("MaxWaiters %d: must be positive", c.maxWaiters)
	}
	if c.given.maxWaiters && !c.given.maxWait {
		problems.Add("MaxWaiters %d: needs MaxWait; without it no attempt waits", c.maxWaiters)
	}
	if c.given.keys {
		problems.Add("Keys %d: is for NewPerKey; this limiter has one bucket", c.keys)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// configurePerKey is configure for a [PerKey].
func configurePerKey[K comparable](old *config, perSecond float64, burst int, options []Option) (*config, error) {
	problems := policy.ConfigError{Policy: "ratelimit"}
	c := parse(old, perSecond, burst, options, &problems)
	keytype.Check(reflect.TypeFor[K](), &problems)
	if c.given.maxWait {
		problems.Add("MaxWait %v: a limiter per key lets no attempt wait", c.maxWait)
	}
	if c.given.maxWaiters {
		problems.Add("MaxWaiters %d: a limiter per key lets no attempt wait", c.maxWaiters)
	}
	if c.keys < 1 || c.keys > MaxKeys {
		problems.Add("Keys %d: must be from 1 to %d", c.keys, MaxKeys)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// parse returns the configuration that options make, and notes what is wrong with what all limiters have in common.
func parse(old *config, perSecond float64, burst int, options []Option, problems *policy.ConfigError) *config {
	if perSecond == 0 {
		perSecond = 0 // and not −0, with which waits would be negative
	}
	c := &config{perSecond: perSecond, burst: burst, maxWaiters: defaultMaxWaiters, keys: defaultKeys}
	option.Apply(c, options, problems)
	c.checkQuota(problems)
	if c.given.costOf && c.costOf == nil {
		problems.Add("CostOf: the function is nil")
	}
	if old != nil && c.given.name && c.name != old.name {
		problems.Add("Name %.80q: the limiter is %.80q, and a name cannot be changed", c.name, old.name)
	}
	if old != nil { // what is not data stays
		c.name = old.name
		if !c.given.costOf {
			c.costOf = old.costOf
		}
	}
	return c
}

// checkQuota reports what is wrong with the rate and the burst. Both are needed to judge either: a burst of 0 is possible
// only without a limit.
func (c *config) checkQuota(problems *policy.ConfigError) {
	if !c.unlimited() && c.perSecond != 0 && !(c.perSecond >= MinRate && c.perSecond <= MaxRate) { // NaN too
		problems.Add("rate %v per second: must be 0, from %v to %v, or math.Inf(1) for no limit",
			c.perSecond, float64(MinRate), float64(MaxRate))
	}
	switch {
	case c.burst < 0 || c.burst > MaxBurst:
		problems.Add("burst %d: must be from 1 to %d", c.burst, MaxBurst)
	case c.burst == 0 && !c.unlimited():
		problems.Add("burst 0 with a rate of %v per second: nothing would ever be admitted", c.perSecond)
	}
}

// unlimited reports whether there is no limit.
func (c *config) unlimited() bool { return math.IsInf(c.perSecond, 1) }

// settings returns the options as they were given. All reports share the slice.
func (c *config) settings() []policy.Setting {
	c.once.Do(func() { c.list = c.collect() })
	return c.list
}

func (c *config) collect() []policy.Setting {
	var perSecond any = c.perSecond
	if c.unlimited() { // JSON has no such number
		perSecond = "+Inf"
	}
	var list setting.List
	list.Data("New", setting.Arg("perSecond", perSecond), setting.Arg("burst", c.burst))
	if c.name != "" {
		list.Data("Name", setting.Arg("name", c.name))
	}
	if c.given.maxWait {
		list.Data("MaxWait", setting.Arg("wait", c.maxWait))
	}
	if c.given.maxWaiters {
		list.Data("MaxWaiters", setting.Arg("n", c.maxWaiters))
	}
	if c.given.keys {
		list.Data("Keys", setting.Arg("n", c.keys))
	}
	if c.costOf != nil {
		list.Code("CostOf")
	}
	if c.beginsInShadow {
		list.Data("Shadow")
	}
	return list
}
