package policyhttp

import (
	"slices"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// The numbers of [Standard]. docs/http.md gives the reason for each.
const (
	standardTotal   = 30 * time.Second
	standardAttempt = 10 * time.Second
	standardSlots   = 1000
	standardRate    = 0.5
	standardCalls   = 20
	standardWindow  = 30 * time.Second
	standardBuckets = 10
	standardOpen    = 5 * time.Second
)

// Standard returns a pipeline for HTTP requests to one server, or one cluster, in the canonical order:
//
//   - a total timeout of 30 s, until the end of the body;
//   - a retry of up to 3 attempts, with delays of up to 100 ms and 200 ms, paid from a budget of 20 % of the calls and
//     10 per second;
//   - a breaker that opens for 5 s when half of at least 20 attempts in the last 30 s have failed;
//   - a bulkhead of 1000 requests at a time, without a queue;
//   - an attempt timeout of 10 s, until the headers; a third of the total timeout, if you give one below 30 s.
//
// name is the name of the pipeline and of the retry, the breaker and the bulkhead that it makes. A layer that is given takes
// the place of the one at its stage, and keeps a name of its own; a layer at another stage, and one without a place, is
// added:
//
//	policyhttp.Standard("users",
//		timeout.Total(6*time.Second), // so that an attempt has 2 s
//		retry.New(retry.Attempts(5)),
//		ratelimit.New(100, 10),
//		resilience.Observe(observer),
//	)
//
// With an attempt timeout of more than 10 s the breaker that Standard makes keeps the slot of a probe for that long, and its
// window is at least twice as long.
//
// Standard panics with a [*policy.ConfigError] when the name is empty or the layers do not fit together, as
// [resilience.Compose] does.
func Standard(name string, layers ...policy.Layer) *resilience.Pipeline {
	if name == "" {
		panic(&policy.ConfigError{Policy: "policyhttp.Standard", Problems: []string{"the name is empty"}})
	}
	given := resilience.Compose(layers...)
	limit, longest := attemptTimes(given)
	window := (2*longest + standardBuckets - 1).Truncate(standardBuckets) // a whole number of nanoseconds for each bucket
	all := []policy.Layer{resilience.Name(name)}
	for _, layer := range []policy.Layer{
		timeout.Total(standardTotal),
		retry.New(retry.Name(name)),
		StandardBreaker(name, breaker.TimeWindow(max(standardWindow, window), standardBuckets),
			breaker.ProbeLease(max(standardAttempt, longest))),
		bulkhead.New(standardSlots, bulkhead.Name(name)),
		timeout.PerAttempt(limit),
	} {
		taken := func(other policy.Layer) bool { return other.Stage() == layer.Stage() }
		if !slices.ContainsFunc(given.Layers(), taken) {
			all = append(all, layer)
		}
	}
	return resilience.Compose(append(all, given)...)
}

// attemptTimes returns the time limit of an attempt, unless one is given, and the longest that an attempt takes.
func attemptTimes(given *resilience.Pipeline) (limit, longest time.Duration) {
	// A total timeout that was moved to an attempt timeout, or further in, is one of each attempt: a third of it is no limit.
	inside := func(layer policy.Layer) bool { return layer.Stage() >= policy.StageAttemptTimeout }
	around := slices.DeleteFunc(given.Layers(), inside)
	limit = max(1, min(standardAttempt, limitAt(sources.Bare(around), policy.StageTotalTimeout)/3))
	if longest = limitAt(sources.Bare(given.Layers()), policy.StageAttemptTimeout); longest == noLimit {
		longest = limit
	}
	return limit, longest
}

// StandardBreaker returns the breaker of [Standard], with further options, such as a listener or another number:
//
//	policyhttp.Standard("users", policyhttp.StandardBreaker("users", breaker.OnChange(log.Change)))
//
// It panics with a [*policy.ConfigError] as [breaker.New] does.
func StandardBreaker(name string, options ...breaker.Option) *breaker.Breaker {
	return breaker.New(append([]breaker.Option{
		breaker.Name(name),
		breaker.FailureRate(standardRate, standardCalls),
		breaker.TimeWindow(standardWindow, standardBuckets),
		breaker.OpenFor(standardOpen),
		breaker.ProbeLease(standardAttempt),
	}, options...)...)
}
