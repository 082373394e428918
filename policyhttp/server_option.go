package policyhttp

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// HandlerOption configures a [Handler]. Of the same option given twice, the later one counts.
type HandlerOption func(*handlerConfig)

// handlerName is what is configured, in errors.
const handlerName = "policyhttp.Handler"

// handlerConfig is what the options store, and what configureHandler makes of it.
type handlerConfig struct {
	keyBy          func(*http.Request) string
	refuseWith     func(http.ResponseWriter, *http.Request, Refusal)
	onRefusal      func(*http.Request, Refusal)
	problemDetails bool
	format         RateLimitFormat // 0: no fields
	least, most    time.Duration   // of Retry-After
	deadlineHeader string          // "": none
	codeHeader     string          // "": none
	onConfigError  func(error)
	randSource     rand.Source
	given          setting.List

	random   *rand.Rand // from randSource, if it was given
	problems policy.ConfigError
}

const (
	defaultLeast = time.Second
	defaultMost  = 24 * time.Hour
)

// configureHandler applies options to the defaults and checks the result.
func configureHandler(options []HandlerOption) handlerConfig {
	c := handlerConfig{least: defaultLeast, most: defaultMost, random: random.Shared()}
	problems := &c.problems
	problems.Policy = handlerName
	option.Apply(&c, options, problems)
	checkFunction(c.given, "KeyBy", c.keyBy == nil, problems)
	checkFunction(c.given, "RefuseWith", c.refuseWith == nil, problems)
	checkFunction(c.given, "OnRefusal", c.onRefusal == nil, problems)
	checkFunction(c.given, "OnConfigError", c.onConfigError == nil, problems)
	if c.problemDetails && c.given.Given("RefuseWith") {
		problems.Add("ProblemDetails: RefuseWith writes the answer")
	}
	if c.given.Given("RateLimitHeaders") && (c.format < Legacy || c.format > Draft10) {
		problems.Add("RateLimitHeaders(%d): must be Legacy or Draft10", c.format)
	}
	if c.least < time.Second || c.most < c.least {
		problems.Add("RetryAfterBounds(%v, %v): must be at least 1s, and the second at least the first", c.least, c.most)
	}
	checkField(c.given, "DeadlineFrom", c.deadlineHeader, problems)
	checkField(c.given, "CodeHeader", c.codeHeader, problems)
	if c.given.Given("HandlerRand") {
		if c.randSource == nil {
			problems.Add("HandlerRand: the source is nil")
		} else {
			c.random = random.Guard(c.randSource)
		}
	}
	return c
}

// KeyBy sets what tells clients apart, for [Key]. By default it is [RemoteAddr], and also for a request for which key
// returns "".
//
// key is called at most once for each request, on the goroutine of the request or of what it started, under no lock. It
// must only return what was authenticated, or what a proxy that you trust has set: a client that can choose its key has
// a new quota whenever it likes, and can use up another client's. Behind a proxy that appends the address of its
// peer to X-Forwarded-For, that is the last address of the last field, never the first, and only if the request comes from
// that proxy.
func KeyBy(key func(*http.Request) string) HandlerOption {
	return func(c *handlerConfig) {
		c.keyBy = key
		c.given.Code("KeyBy")
	}
}

// RefuseWith sets the function that writes the answer to a request that is refused, or whose handler did not answer in
// time. It gets a writer with the fields that are known, Retry-After among them; an answer for which it names no status has
// refusal.Status. [Key] works with the context of r. What refusal.Err says is for logs: it must not be sent. A client that
// has gone gets no answer, and answer is not called. By default the answer is the text of the status.
//
// RefuseWith and [ProblemDetails] exclude each other.
func RefuseWith(answer func(w http.ResponseWriter, r *http.Request, refusal Refusal)) HandlerOption {
	return func(c *handlerConfig) {
		c.refuseWith = answer
		c.given.Code("RefuseWith")
	}
}

// OnRefusal sets a function that is called for every request that is refused, or whose handler did not answer in time. It
// does not change the answer; use it to log which client it was. [Key] works with the context of r. It is called before the
// answer is written, on the goroutine of the request, under no lock; it must not keep r. It is not called when the client
// has left. By default there is none.
func OnRefusal(observe func(r *http.Request, refusal Refusal)) HandlerOption {
	return func(c *handlerConfig) {
		c.onRefusal = observe
		c.given.Code("OnRefusal")
	}
}

// ProblemDetails makes the answer to a request that is refused a problem in the format of RFC 9457, with the types that
// the draft for rate limit fields defines: quota-exceeded with 429, temporary-reduced-capacity with 503. By default the
// answer is plain text. ProblemDetails and [RefuseWith] exclude each other.
func ProblemDetails() HandlerOption {
	return func(c *handlerConfig) {
		c.problemDetails = true
		c.given.Data("ProblemDetails")
	}
}

// RetryAfterBounds sets the least and the most that Retry-After says. least must be at least 1 s; it is also used when
// the time to come back is not known, as with a full bulkhead. Times above most become most. The defaults are 1
// second and 24 hours.
//
// The time is rounded up to a whole second; then a random number of whole seconds is added, from 0 to a quarter of it, or
// from 0 to 1 where a quarter is less, so that clients that were refused together do not come back together. It is never
// earlier than the policy said, up to most.
func RetryAfterBounds(least, most time.Duration) HandlerOption {
	return func(c *handlerConfig) {
		c.least, c.most = least, most
		c.given.Data("RetryAfterBounds", setting.Arg("least", least), setting.Arg("most", most))
	}
}

// RateLimitHeaders tells clients how much of their quota is left: see [Legacy] and [Draft10]. By default there are no such
// fields. With it they are in every answer, except where no limit is to be told: those below, and one of keyed.By that has
// no place for the key of the request.
//
// If the pipeline has a limit per key, made by ratelimit.NewPerKey or keyed.By, the fields describe only that one, for the
// key of the request: clients need not know how busy the server is with others. Otherwise they describe all its rate limits.
// Limits in shadow mode are left out. So is a limit whose CostOf returns 0 for the request: it is meant for other clients.
func RateLimitHeaders(format RateLimitFormat) HandlerOption {
	return func(c *handlerConfig) {
		c.format = format
		c.given.Data("RateLimitHeaders", setting.Arg("format", format))
	}
}

// DeadlineFrom makes the handler respect a deadline that the client sends in the header field name, as a number of
// milliseconds, such as X-Envoy-Expected-Rq-Timeout-Ms: the context of the request ends then, in a queue too. By default
// no such field is read.
//
// The field can only shorten the time. Anything but a number from 1 to 86,400,000 (a day) is ignored. A request that
// ends this way is neutral to the policies: a client must not be able to open a breaker with a short deadline.
func DeadlineFrom(name string) HandlerOption {
	return func(c *handlerConfig) {
		c.deadlineHeader = name
		c.given.Data("DeadlineFrom", setting.Arg("name", name))
	}
}

// CodeHeader adds a header field to the answer of a request that is refused, with the code of the refusal, such as
// "bulkhead.full"; see [policy.Code]. By default there is none: it tells strangers what protects the server.
func CodeHeader(name string) HandlerOption {
	return func(c *handlerConfig) {
		c.codeHeader = name
		c.given.Data("CodeHeader", setting.Arg("name", name))
	}
}

// OnConfigError sets a function that is called when source comes to a pipeline that cannot be used: because it repeats
// or wraps, is nil, or was not made with [resilience.Compose]. It is called once for each such pipeline in a row, on the
// goroutine of a request, under no lock. By default there is none; the last good pipeline stays in force in any case.
func OnConfigError(f func(error)) HandlerOption {
	return func(c *handlerConfig) {
		c.onConfigError = f
		c.given.Code("OnConfigError")
	}
}

// HandlerRand sets the source of the random part of Retry-After, so that it can be reproduced. The default is the
// source of the process.
func HandlerRand(source rand.Source) HandlerOption {
	return func(c *handlerConfig) {
		c.randSource = source
		c.given.Code("HandlerRand")
	}
}
