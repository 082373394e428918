package timeout

import (
	"time"

	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Validate returns the [*policy.ConfigError] that [Total] and [PerAttempt] would panic with, or nil.
func Validate(limit time.Duration) error { return problemsOf("timeout", limit).Err() }

// problemsOf returns what is wrong with a fixed limit.
func problemsOf(constructor string, limit time.Duration) *policy.ConfigError {
	problems := &policy.ConfigError{Policy: constructor}
	if limit <= 0 {
		problems.Add("limit %v: must be positive", limit)
	}
	return problems
}

// ValidateFromLatency returns the [*policy.ConfigError] that [FromLatency] would panic with, or nil.
func ValidateFromLatency(q, factor float64, floor, most time.Duration) error {
	return problemsFromLatency("timeout.FromLatency", q, factor, floor, most).Err()
}

// problemsFromLatency returns what is wrong with the arguments of FromLatency.
func problemsFromLatency(constructor string, q, factor float64, floor, most time.Duration) *policy.ConfigError {
	problems := &policy.ConfigError{Policy: constructor}
	if !(q >= 0.5 && q <= 0.999) {
		problems.Add("quantile %v: must lie between 0.5 and 0.999", q)
	}
	if !(factor >= 1 && factor <= 100) {
		problems.Add("factor %v: must lie between 1 and 100", factor)
	}
	if floor <= 0 {
		problems.Add("floor %v: must be positive", floor)
	}
	if floor > most {
		problems.Add("floor %v: is above the most, %v", floor, most)
	}
	return problems
}

// config is how a [Timeout] is configured, and what follows from it at the moment. It never changes once it is in use.
type config struct {
	given     setting.List
	longest   time.Duration // limit: the fixed one, or the most of FromLatency
	q, factor float64       // of FromLatency; q is 0 for a fixed limit
	floor     time.Duration

	grant // to attempts that begin now
}

// grant is the time that an attempt gets.
type grant struct {
	limit  time.Duration
	expiry *Error // of an attempt that exceeds it
}

func newGrant(limit time.Duration, scope scope, by policy.Layer) grant {
	return grant{limit: limit, expiry: &Error{Limit: limit, scope: scope, by: by}}
}

// setting returns the constructor with its argument, as a report shows it.
func (s scope) setting(limit time.Duration) (list setting.List) {
	list.Data(s.constructor, setting.Arg("limit", limit))
	return list
}

// settingFromLatency returns FromLatency with its arguments.
func (c *config) settingFromLatency() (list setting.List) {
	list.Data("FromLatency",
		setting.Arg("q", c.q), setting.Arg("factor", c.factor), setting.Arg("floor", c.floor), setting.Arg("most", c.longest))
	return list
}
