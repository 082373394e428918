package keyed

import (
	"reflect"
	"time"

	"github.com/go-resilience/resilience/internal/keytype"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Registry]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is what the options store.
type config struct {
	given       setting.List
	max         int
	expireAfter time.Duration // of Idle: how long a key may be unused; 0: for ever
	maxLength   int
	idleIf      any // what IdleIf was given, a func(V) bool; nil: V is a policy.Idler
}

// registryConfig is the configuration of a Registry, checked. It does not change: Reconfigure puts
// another one in its place.
type registryConfig[V any] struct {
	config
	isIdle func(V) bool // that of idleIf, or the method of V
}

const (
	maxKeys          = 1 << 30
	defaultMax       = 10_000
	defaultMaxLength = 256
)

// configure returns what opts say. before is the configuration that they change, whose function of
// IdleIf stays; nil for a new Registry.
func configure[K comparable, V any](makeValue func(K) V, before *registryConfig[V], opts []Option) (*registryConfig[V], error) {
	c := &registryConfig[V]{config: config{max: defaultMax, maxLength: defaultMaxLength}}
	problems := policy.ConfigError{Policy: "keyed"}
	c.given.Code("New")
	if before != nil && before.given.Given("IdleIf") {
		IdleIf(before.isIdle)(&c.config)
	}
	option.Apply(&c.config, opts, &problems)
	c.check(&problems)
	if makeValue == nil {
		problems.Add("make is nil")
	}
	c.isIdle = isIdleOf[V](c.idleIf, &problems)
	keytype.Check(reflect.TypeFor[K](), &problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// check notes what is wrong.
func (c *config) check(problems *policy.ConfigError) {
	if c.max < 1 || c.max > maxKeys {
		problems.Add("Max(%d): must be from 1 to %d", c.max, maxKeys)
	}
	if c.given.Given("Idle") && c.expireAfter <= 0 {
		problems.Add("Idle(%v): must be positive; without Idle keys stay until their place is needed", c.expireAfter)
	}
	if c.maxLength < 1 {
		problems.Add("MaxKeyLength(%d): must be at least 1", c.maxLength)
	}
}

// isIdleOf returns the function that says whether a value is idle: the one given to IdleIf, if any,
// otherwise the value's method.
func isIdleOf[V any](idleIf any, problems *policy.ConfigError) func(V) bool {
	values := reflect.TypeFor[V]()
	switch f, ok := idleIf.(func(V) bool); {
	case ok && f != nil:
		return f
	case ok:
		problems.Add("IdleIf: the function is nil")
	case idleIf != nil:
		problems.Add("IdleIf: the function is a %T, but the values are of type %v", idleIf, values)
	case values.Implements(reflect.TypeFor[policy.Idler]()):
		return func(value V) bool { return any(value).(policy.Idler).Idle() }
	default:
		problems.Add("value type %v: has no method Idle() bool, without which a value that matters could be evicted: "+
			"add it, or give the option IdleIf", values)
	}
	return nil
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil. It does not call
// make.
func Validate[K comparable, V any](make func(K) V, opts ...Option) error {
	_, err := configure(make, nil, opts)
	return err
}

// Max sets how many keys the registry holds at most, from 1 to 2³⁰ (1,073,741,824). It should be
// well above the number of keys that are in use at a time; memory is only used for keys that are
// there. The default is 10,000.
func Max(keys int) Option {
	return func(c *config) {
		c.max = keys
		c.given.Data("Max", setting.Arg("keys", keys))
	}
}

// Idle evicts idle keys that were not used for d, even when the registry is not full. It must be
// positive. By default keys stay until their place is needed.
//
// Keys are looked through little by little as the registry is used, at such a pace that an unused
// key is gone after about 2d at most. A registry that is not used at all keeps what it has. With
// Idle, [Registry.Get] reads the clock once.
func Idle(d time.Duration) Option {
	return func(c *config) {
		c.expireAfter = d
		c.given.Data("Idle", setting.Arg("d", d))
	}
}

// MaxKeyLength sets how many bytes the strings in a key may have together, at least 1. A longer key
// is not stored: it gets the overflow value. Where keys are long, let the caller hash them. The
// default is 256.
func MaxKeyLength(bytes int) Option {
	return func(c *config) {
		c.maxLength = bytes
		c.given.Data("MaxKeyLength", setting.Arg("bytes", bytes))
	}
}

// IdleIf sets the function that says whether a value may be evicted, for values that do not say so
// themselves by a method Idle() bool ([policy.Idler], whose rules apply). V must be the type of the
// registry's values. By default the method is asked.
//
// idle is called under no lock. Where values hold nothing that matters, it can always say true.
func IdleIf[V any](idle func(V) bool) Option {
	return func(c *config) {
		c.idleIf = idle
		c.given.Code("IdleIf")
	}
}
