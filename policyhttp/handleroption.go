package policyhttp

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/policy"
)

// HandlerOption configures a [Handler]. Of the same option given twice, the later one counts.
type HandlerOption func(*handlerConfig)

// handlerName is what is configured, in errors.
const handlerName = "policyhttp.Handler"

// handlerConfig is what the options store.
type handlerConfig struct {
	keying         bool
	keyBy          func(*http.Request) string
	refusing       bool
	refuseWith     func(http.ResponseWriter, *http.Request, Refusal)
	observing      bool
	onRefusal      func(*http.Request, Refusal)
	problem        bool
	format         RateLimitFormat
	formatting     bool
	least, most    time.Duration // of Retry-After
	deadline       bool
	deadlineHeader string
	coding         bool
	codeHeader     string
	hearing        bool
	onConfigError  func(error)
	random         *rand.Rand
	source         *rand.Source // of Jitter; nil: not given
	problems       policy.ConfigError
}

const (
	defaultLeast = time.Second
	defaultMost  = 24 * time.Hour
	maxDeadline  = 24 * time.Hour // a longer one that a client asks for is none
)

// configureHandler applies options to the defaults and checks the result.
func configureHandler(options []HandlerOption) handlerConfig {
	c := handlerConfig{least: defaultLeast, most: defaultMost}
	c.problems.Policy = handlerName
	option.Apply(&c, options, &c.problems)
	if c.keying && c.keyBy == nil {
		c.problems.Add("KeyBy: the function is nil")
	}
	if c.refusing && c.refuseWith == nil {
		c.problems.Add("RefuseWith: the function is nil")
	}
	if c.observing && c.onRefusal == nil {
		c.problems.Add("OnRefusal: the function is nil")
	}
	if c.refusing && c.problem {
		c.problems.Add("ProblemDetails: RefuseWith writes the answer")
	}
	if c.hearing && c.onConfigError == nil {
		c.problems.Add("OnConfigError: the function is nil")
	}
	if c.formatting && (c.format < Legacy || c.format > Draft10) {
		c.problems.Add("RateLimitHeaders(%d): must be Legacy or Draft10", c.format)
	}
	if c.least < time.Second || c.most < c.least {
		c.problems.Add("RetryAfterBounds(%v, %v): must be at least 1s, and the second at least the first", c.least, c.most)
	}
	c.checkField("DeadlineFrom", c.deadline, c.deadlineHeader)
	c.checkField("CodeHeader", c.coding, c.codeHeader)
	switch {
	case c.source == nil:
		c.random = random.Shared()
	case *c.source == nil:
		c.problems.Add("HandlerRand: the source is nil")
	default:
		c.random = random.Guard(*c.source)
	}
	return c
}

// checkField notes a name that no header field can have.
func (c *handlerConfig) checkField(option string, given bool, name string) {
	if given && !isToken(name) {
		c.problems.Add("%s(%.80q): must be the name of a header field", option, name)
	}
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
	return func(c *handlerConfig) { c.keying, c.keyBy = true, key }
}

// RefuseWith sets the function that writes the answer to a request that is refused, or whose handler did not answer in
// time. It gets a writer with the fields that are known, Retry-After among them; an answer for which it names no status has
// refusal.Status. [Key] works with the context of r. What refusal.Err says is for logs: it must not be sent. A client that
// has gone gets no answer, and answer is not called. By default the answer is the text of the status.
//
// RefuseWith and [ProblemDetails] exclude each other.
func RefuseWith(answer func(w http.ResponseWriter, r *http.Request, refusal Refusal)) HandlerOption {
	return func(c *handlerConfig) { c.refusing, c.refuseWith = true, answer }
}

// OnRefusal sets a function that is called for every request that is refused, or whose handler did not answer in time. It
// does not change the answer; use it to log which client it was. [Key] works with the context of r. It is called before the
// answer is written, on the goroutine of the request, under no lock; it must not keep r. It is not called when the client
// has left. By default there is none.
func OnRefusal(observe func(r *http.Request, refusal Refusal)) HandlerOption {
	return func(c *handlerConfig) { c.observing, c.onRefusal = true, observe }
}

// ProblemDetails makes the answer to a request that is refused a problem in the format of RFC 9457, with the types that
// the draft for rate limit fields defines: quota-exceeded with 429, temporary-reduced-capacity with 503. By default the
// answer is plain text. ProblemDetails and [RefuseWith] exclude each other.
func ProblemDetails() HandlerOption {
	return func(c *handlerConfig) { c.problem = true }
}

// RetryAfterBounds sets the least and the most that Retry-After says. least must be at least 1 s; it is also used when
// the time to come back is not known, as with a full bulkhead. Times above most become most. The defaults are 1
// second and 24 hours.
//
// The time is rounded up to a whole second; then a random number of whole seconds is added, from 0 to a quarter of it, or
// from 0 to 1 where a quarter is less, so that clients that were refused together do not come back together. It is never
// earlier than the policy said, up to most.
func RetryAfterBounds(least, most time.Duration) HandlerOption {
	return func(c *handlerConfig) { c.least, c.most = least, most }
}

// RateLimitHeaders tells clients how much of their quota is left, in every answer: see [Legacy] and [Draft10]. By
// default there are no such fields.
//
// If the pipeline has a limit per key, made by ratelimit.NewPerKey or keyed.By, the fields describe only that one, for the
// key of the request: clients need not know how busy the server is with others. Otherwise they describe all its rate limits.
// Limits in shadow mode are left out. So is a limit whose CostOf returns 0 for the request: it is meant for other clients.
func RateLimitHeaders(format RateLimitFormat) HandlerOption {
	return func(c *handlerConfig) { c.formatting, c.format = true, format }
}

// DeadlineFrom makes the handler respect a deadline that the client sends in the header field name, as a number of
// milliseconds, such as X-Envoy-Expected-Rq-Timeout-Ms: the context of the request ends then, in a queue too. By default
// no such field is read.
//
// The field can only shorten the time. Anything but a number from 1 to 86,400,000 (a day) is ignored. A request that
// ends this way is neutral to the policies: a client must not be able to open a breaker with a short deadline.
func DeadlineFrom(name string) HandlerOption {
	return func(c *handlerConfig) { c.deadline, c.deadlineHeader = true, name }
}

// CodeHeader adds a header field to the answer of a request that is refused, with the code of the refusal, such as
// "bulkhead.full"; see [policy.Code]. By default there is none: it tells strangers what protects the server.
func CodeHeader(name string) HandlerOption {
	return func(c *handlerConfig) { c.coding, c.codeHeader = true, name }
}

// OnConfigError sets a function that is called when source comes to a pipeline that cannot be used: because it repeats
// or wraps, is nil, or was not made with [resilience.Compose]. It is called once for each such pipeline in a row, on the
// goroutine of a request, under no lock. By default there is none; the last good pipeline stays in force in any case.
func OnConfigError(f func(error)) HandlerOption {
	return func(c *handlerConfig) { c.hearing, c.onConfigError = true, f }
}

// HandlerRand sets the source of the random part of Retry-After, so that it can be reproduced. The default is the
// source of the process.
func HandlerRand(source rand.Source) HandlerOption {
	return func(c *handlerConfig) { c.source = &source }
}

// withDeadline returns the context of a request with the deadline that its client has asked for, if any.
func (h *handler) withDeadline(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	if !h.deadline {
		return ctx, func() {}
	}
	limit, ok := parseMilliseconds(r.Header.Get(h.deadlineHeader))
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// parseMilliseconds parses what a client sends as a deadline.
func parseMilliseconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || n == 0 || n > uint64(maxDeadline/time.Millisecond) {
		return 0, false
	}
	return time.Duration(n) * time.Millisecond, true
}

// ceilSeconds returns d in seconds, rounded up, at least 0.
func ceilSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(math.Ceil(d.Seconds()))
}
