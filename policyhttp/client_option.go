package policyhttp

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Transport]. Of the same option given twice, the later one counts.
type Option func(*transportConfig)

// transportConfig is what the options store, and what configureTransport makes of it.
type transportConfig struct {
	retryStatuses    []int
	classifyResponse func(*http.Response) policy.Class
	unprocessed      []int // of RetryNotIdempotent
	buffer           int64
	deadlineHeader   string
	route            func(context.Context, *http.Request) *url.URL
	given            setting.List

	retried      map[int]bool // of retryStatuses; nil if they were not given
	notProcessed map[int]bool // of unprocessed
}

// RetryStatuses replaces the statuses after which a request is tried again. Each must be from 400 to 599. The default is
// 408, 429, 500, 502, 503 and 504, and 413 if it comes with a Retry-After.
//
// A status that is added is a failure to the whole pipeline, of class [policy.Transient]. One that is left out is no
// longer retried; to a breaker it still counts as before. To decide by anything else than the status, use [ClassifyResponse].
func RetryStatuses(statuses ...int) Option {
	return func(c *transportConfig) {
		c.retryStatuses = statuses
		c.given.Data("RetryStatuses", setting.Arg("statuses", statuses))
	}
}

// ClassifyResponse lets classify say what a response means, to every policy of the pipeline. For [policy.Unclassified] the
// status decides, as by default; [policy.Expected] is a success. classify must not touch the body. It is called once for
// each response, under no lock.
//
//	policyhttp.ClassifyResponse(func(r *http.Response) policy.Class {
//		if r.StatusCode == http.StatusForbidden && r.Header.Get("Retry-After") != "" {
//			return policy.Throttled // GitHub
//		}
//		return policy.Unclassified
//	})
func ClassifyResponse(classify func(*http.Response) policy.Class) Option {
	return func(c *transportConfig) {
		c.classifyResponse = classify
		c.given.Code("ClassifyResponse")
	}
}

// RetryNotIdempotent says that the server has done nothing when it answers with one of statuses, such as 429 or 503 of a
// gateway that refuses. After these, a request is also tried again if it is not idempotent, such as a POST. Each must be
// from 400 to 599. By default there are none.
func RetryNotIdempotent(statuses ...int) Option {
	return func(c *transportConfig) {
		c.unprocessed = statuses
		c.given.Data("RetryNotIdempotent", setting.Arg("statuses", statuses))
	}
}

// Buffer keeps up to most bytes of a body that could be sent only once, one without a GetBody, in memory, so that it can
// be sent again. Nothing waits for it: it is recorded while it is sent. A body that turns out longer is sent once; so a hedge
// does not race for one of unknown length. most must be positive; 64 KiB is a usual choice. By default nothing is kept.
func Buffer(most int64) Option {
	return func(c *transportConfig) {
		c.buffer = most
		c.given.Data("Buffer", setting.Arg("most", most))
	}
}

// DeadlineHeader lets each attempt tell the server, in the field of that name, how many milliseconds are left for it: until
// the deadline of the caller or of the total timeout, and no more than an attempt timeout of the pipeline. There is no
// standard; Envoy calls it X-Envoy-Expected-Rq-Timeout-Ms. Where there is no limit, or the request has the field already,
// nothing is set. By default no field is.
func DeadlineHeader(name string) Option {
	return func(c *transportConfig) {
		c.deadlineHeader = name
		c.given.Data("DeadlineHeader", setting.Arg("name", name))
	}
}

// Route lets route say where an attempt goes: to another replica when one has failed, for instance. It is given the
// request as the caller made it, which it must not change, and a context that retry.Attempt and hedge.Attempt tell the
// number from; it returns a URL that is its own, never nil. It is asked when an attempt is about to be admitted, by [Host],
// and what it says last is where the attempt goes. So it may look whether a breaker is ready. It is called under no lock. By
// default every attempt goes where the request says.
//
// The field Host goes along with the URL, unless the request has one of its own. All other fields are sent as they are,
// credentials included: route only to hosts that may see them.
//
// [PerHost] chooses by the request, not by the route. For a breaker per host, compose keyed.By([Host], breakers).
func Route(route func(ctx context.Context, request *http.Request) *url.URL) Option {
	return func(c *transportConfig) {
		c.route = route
		c.given.Code("Route")
	}
}

// Validate returns the [*policy.ConfigError] that [NewTransport] would panic with because of options, or nil.
func Validate(options ...Option) error {
	problems := policy.ConfigError{Policy: "policyhttp.NewTransport"}
	configureTransport(options, &problems)
	return problems.Err()
}

func configureTransport(options []Option, problems *policy.ConfigError) transportConfig {
	var c transportConfig
	option.Apply(&c, options, problems)
	if c.given.Given("RetryStatuses") {
		c.retried = setOf("RetryStatuses", c.retryStatuses, problems)
	}
	c.notProcessed = setOf("RetryNotIdempotent", c.unprocessed, problems)
	checkFunction(c.given, "ClassifyResponse", c.classifyResponse == nil, problems)
	checkFunction(c.given, "Route", c.route == nil, problems)
	if c.given.Given("Buffer") && c.buffer <= 0 {
		problems.Add("Buffer(%d): must be positive", c.buffer)
	}
	checkField(c.given, "DeadlineHeader", c.deadlineHeader, problems)
	c.deadlineHeader = http.CanonicalHeaderKey(c.deadlineHeader)
	return c
}

// setOf returns statuses as a set.
func setOf(name string, statuses []int, problems *policy.ConfigError) map[int]bool {
	set := make(map[int]bool, len(statuses))
	for _, status := range statuses {
		if status < 400 || status > 599 {
			problems.Add("%s(%d): must be from 400 to 599", name, status)
		}
		set[status] = true
	}
	return set
}
