package policyslog

import (
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Log]. If an option is given twice for the same thing, the last one counts.
type Option func(*config)

// config is what the options say.
type config struct {
	levels  map[policy.EventKind]slog.Level
	off     map[policy.EventKind]bool
	changes map[breaker.State]slog.Level
	group   string
	every   time.Duration
}

// Level sets the level of the lines of one kind of event. The defaults are
//
//	policy.EventAttempt   DEBUG, if the logger was enabled for that when New was called; otherwise off
//	policy.EventRejected  WARN, aggregated, see RefusalsEvery
//	policy.EventRetry     DEBUG
//	policy.EventWait      DEBUG
//	policy.EventStopped   WARN
//	policy.EventCall      off
//	policy.EventSettled   DEBUG
//
// Lines about something that the caller cancelled are never above DEBUG.
//
// With a level for EventAttempt or EventCall, every call is observed, including those that succeed and whatever level
// the logger is enabled for: it may be enabled later.
func Level(kind policy.EventKind, level slog.Level) Option {
	return func(c *config) {
		c.levels[kind] = level
		delete(c.off, kind)
	}
}

// Off leaves out kinds of event.
func Off(kinds ...policy.EventKind) Option {
	return func(c *config) {
		for _, kind := range kinds {
			c.off[kind] = true
		}
	}
}

// ChangeLevel sets the level of the line of a change to a state, for [Log.Change]. The default is WARN for breaker.Open
// and breaker.ForcedOpen, and INFO for the others. A change in shadow mode, in which the breaker refuses nothing, is
// never above INFO.
func ChangeLevel(to breaker.State, level slog.Level) Option {
	return func(c *config) { c.changes[to] = level }
}

// Group sets the name of the group that the attributes are in. The default is "resilience". With an empty name they are
// in no group.
func Group(name string) Option { return func(c *config) { c.group = name } }

// RefusalsEvery sets how often refusals are logged. The first refusal of a policy is logged at once. Those that follow
// within d are counted, and share one line when d is over. d must be between 1ms and 1h. The default is 1 s.
func RefusalsEvery(d time.Duration) Option { return func(c *config) { c.every = d } }

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
	return err
}

func configure(opts []Option) (*config, error) {
	c := &config{
		levels:  map[policy.EventKind]slog.Level{},
		off:     map[policy.EventKind]bool{},
		changes: map[breaker.State]slog.Level{breaker.Open: slog.LevelWarn, breaker.ForcedOpen: slog.LevelWarn},
		group:   "resilience",
		every:   time.Second,
	}
	problems := policy.ConfigError{Policy: "policyslog"}
	for i, opt := range opts {
		if opt == nil {
			problems.Add("option %d is nil", i+1)
			continue
		}
		opt(c)
	}
	for kind := range c.levels {
		checkKind(&problems, "Level", kind)
	}
	for kind := range c.off {
		checkKind(&problems, "Off", kind)
	}
	for state := range c.changes {
		if state > breaker.ForcedClosed {
			problems.Add("ChangeLevel: there is no %v", state)
		}
	}
	if c.every < time.Millisecond || c.every > time.Hour {
		problems.Add("RefusalsEvery(%v): must be between 1ms and 1h", c.every)
	}
	return c, problems.Err()
}

func checkKind(problems *policy.ConfigError, option string, kind policy.EventKind) {
	if kind < policy.EventAttempt || kind > policy.EventSettled {
		problems.Add("%s: there is no %v", option, kind)
	}
}
