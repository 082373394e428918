package policygrpc

import (
	"strings"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures [UnaryClient] and [StreamClient]. If an option is given twice, the later one counts.
type Option func(*config)

// config is what the options store, and what configure makes of it.
type config struct {
	idempotent      []string
	notIdempotent   []string
	tellConfigRetry func(error)
	given           setting.List

	idempotency       map[string]idempotency // by name, of idempotent and notIdempotent
	refuseConfigRetry bool                   // RefuseServiceConfigRetry was given: each call asks
}

// Idempotent says that calls of these methods may be made twice, even at the same time, which a hedge requires. Each is
// a full name, such as "/users.Users/Get", or that of a whole service, such as "/users.Users/". Another interceptor or
// the caller can mark a single call with [retry.Idempotent]. By default no method is marked: retries make another
// attempt, hedges do not.
func Idempotent(methods ...string) Option {
	return func(c *config) {
		c.idempotent = methods
		c.given.Data("Idempotent", setting.Arg("methods", methods))
	}
}

// NotIdempotent says that calls of these methods must not be made twice: another attempt is made only if the request
// has provably not left the process. Names are as for [Idempotent]; a method counts more than its service. By default
// there are none.
func NotIdempotent(methods ...string) Option {
	return func(c *config) {
		c.notIdempotent = methods
		c.given.Data("NotIdempotent", setting.Arg("methods", methods))
	}
}

// RefuseServiceConfigRetry keeps retries from multiplying. When the service config of the connection has a retry policy
// for a method, each attempt of the pipeline is up to five attempts of gRPC, which no policy sees. With this option the
// pipeline then makes one attempt and leaves retries to gRPC. tell, unless it is nil, is called once for each such
// method (the first 1000 of at most 256 bytes), with an error that matches [ErrServiceConfigRetry], on the goroutine of
// a call, under no lock.
//
// Use it for connections whose service config you do not control. Where you make the connection yourself,
// grpc.WithDisableRetry leaves retries to the pipeline, and [FromServiceConfig] takes over the config's policies. Do
// not use this option then, since it cannot see that gRPC's retries are disabled. By default service configs are
// ignored.
func RefuseServiceConfigRetry(tell func(error)) Option {
	return func(c *config) {
		c.tellConfigRetry = tell
		c.given.Code("RefuseServiceConfigRetry")
	}
}

// Validate returns the [*policy.ConfigError] that [UnaryClient] and [StreamClient] would panic with because of
// options, or nil.
func Validate(options ...Option) error {
	problems := policy.ConfigError{Policy: "policygrpc"}
	configure(options, &problems)
	return problems.Err()
}

func configure(options []Option, problems *policy.ConfigError) config {
	var c config
	option.Apply(&c, options, problems)
	c.refuseConfigRetry = c.given.Given("RefuseServiceConfigRetry")
	c.idempotency = make(map[string]idempotency, len(c.idempotent)+len(c.notIdempotent))
	c.mark("Idempotent", c.idempotent, idempotent, problems)
	c.mark("NotIdempotent", c.notIdempotent, notIdempotent, problems)
	return c
}

// mark notes what an option says of methods.
func (c *config) mark(option string, methods []string, says idempotency, problems *policy.ConfigError) {
	for _, method := range methods {
		if !isMethodOrService(method) {
			problems.Add("%s(%.80q): must be a method, such as \"/users.Users/Get\", or a service, such as \"/users.Users/\"",
				option, method)
		}
		name := strings.TrimPrefix(method, "/")
		if other := c.idempotency[name]; other != unmarked && other != says {
			problems.Add("%s(%.80q): is given to Idempotent too", option, method)
		}
		c.idempotency[name] = says
	}
}
