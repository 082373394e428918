package policygrpc

import (
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// ServerOption configures [UnaryServer] and [StreamServer]. If an option is given twice, the later one counts.
type ServerOption func(*serverConfig)

// serverConfig is what the options store, and what configureServer makes of it.
type serverConfig struct {
	allMethods             bool
	usualWait, longestWait time.Duration
	onConfigError          func(error)
	randSource             rand.Source
	given                  setting.List

	random *rand.Rand // from randSource, if it was given
}

const defaultUsualWait = time.Second

// AllMethods makes the pipeline guard gRPC's health and reflection services too. By default it does not, so that a
// server that is overloaded, or whose dependency is down, does not look dead.
func AllMethods() ServerOption {
	return func(c *serverConfig) {
		c.allMethods = true
		c.given.Data("AllMethods")
	}
}

// PushbackBounds sets what a refusal says about when to come back: usual is the wait if the refusing policy cannot
// know, as with a bulkhead, and most is the longest wait. Up to a quarter is added to each wait at random, so that
// clients do not come back together. Both must be from a millisecond to 24 hours, and usual not above most. The
// defaults are 1 s and 30 s.
//
// There is no wait where waiting is of no use: for a breaker that was opened by hand, or a call that costs more than
// its rate limit ever holds. Then the trailer is -1, which stops gRPC's own retries.
func PushbackBounds(usual, most time.Duration) ServerOption {
	return func(c *serverConfig) {
		c.usualWait, c.longestWait = usual, most
		c.given.Data("PushbackBounds", setting.Arg("usual", usual), setting.Arg("most", most))
	}
}

// OnConfigError sets a function that is called once for each pipeline of source (the first 100) that cannot guard a
// handler. The last good one then stays in force, or, for a method, the first one of source.Current. The function is
// called on the goroutine of a call, under no lock. By default there is none.
func OnConfigError(tell func(error)) ServerOption {
	return func(c *serverConfig) {
		c.onConfigError = tell
		c.given.Code("OnConfigError")
	}
}

// ServerRand sets the random source for the waits of [PushbackBounds], so that a run can be repeated. The interceptor
// never uses it from two goroutines at once. The default is the random source of the process.
func ServerRand(source rand.Source) ServerOption {
	return func(c *serverConfig) {
		c.randSource = source
		c.given.Code("ServerRand")
	}
}

func configureServer(options []ServerOption, problems *policy.ConfigError) serverConfig {
	c := serverConfig{usualWait: defaultUsualWait, longestWait: defaultLongestWait, random: random.Shared()}
	option.Apply(&c, options, problems)
	const longest = 24 * time.Hour // far below what the trailer can say: math.MaxInt32 milliseconds
	if c.usualWait < time.Millisecond || c.longestWait > longest || c.usualWait > c.longestWait {
		problems.Add("PushbackBounds(%v, %v): must be from 1ms to 24h, and the second at least the first",
			c.usualWait, c.longestWait)
	}
	if c.given.Given("OnConfigError") && c.onConfigError == nil {
		problems.Add("OnConfigError: the function is nil")
	}
	if c.given.Given("ServerRand") {
		if c.randSource == nil {
			problems.Add("ServerRand: the source is nil")
		} else {
			c.random = random.Guard(c.randSource)
		}
	}
	return c
}
