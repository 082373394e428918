package policyhttp

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// RateLimitFormat is how [RateLimitHeaders] tells clients about their quota.
type RateLimitFormat uint8

const (
	// Legacy is the fields X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset, of the limit that has least
	// left: the burst, the tokens that are there, and the whole seconds after which the bucket is full again.
	Legacy RateLimitFormat = iota + 1
	// Draft10 is the structured fields RateLimit-Policy and RateLimit of the tenth draft of the IETF, which has expired
	// without becoming a standard:
	//
	//	RateLimit-Policy: "client";q=20;w=2
	//	RateLimit: "client";r=12;t=1
	//
	// q is the burst and w the whole seconds in which it comes in again; r is the tokens that are there and t the whole
	// seconds after which the bucket is full again. A limit without a name is "default". The t of a refused request is not
	// later than its Retry-After, after which there are new tokens, if not all.
	Draft10
)

// maxQuotas bounds how many limits are told, of those that the request has to do with.
const maxQuotas = 8

// quotaSource returns the report of a rate limit as it is for a request, false if that has nothing to do with it.
type quotaSource func(context.Context) (policy.Report, bool)

// What is asked of the reports of other packages, by name. TestRateLimitHeaders and TestReadinessRefusesNonsense fail when one of
// them has another name.
const (
	kindLimiter  = "rate limiter" // of a ratelimit.Limiter
	kindKeyed    = "keyed"        // of a keyed.Registry
	valueTokens  = "tokens"       // of a limit: what is there, and the burst
	argumentRate = "perSecond"    // of a limit: its rate
)

// requestReporter is a layer whose report depends on the request, such as a rate limit or a breaker per key.
type requestReporter interface {
	ReportFor(ctx context.Context) (policy.Report, bool)
}

// quotaSources returns those of the layers whose limits are told: the limits per key, or else all that make reports. Those
// of them that are no limits are left out by quotaOf, since a report may change.
func quotaSources(layers []policy.Layer) []quotaSource {
	var keyed, all []quotaSource
	for _, layer := range layers {
		reporter, ok := layer.(policy.Reporter)
		if !ok {
			continue
		}
		byRequest, ok := layer.(requestReporter)
		switch {
		case !ok || layer.Stage() != policy.StageRateLimit: // a breaker per key, for instance
			all = append(all, func(context.Context) (policy.Report, bool) { return reporter.Report(), true })
		case reporter.Report().Kind == kindLimiter: // one limit for all
			all = append(all, byRequest.ReportFor)
		default:
			keyed = append(keyed, byRequest.ReportFor)
		}
	}
	if len(keyed) > 0 {
		return keyed
	}
	return all
}

// quota is what a client is told about a limit.
type quota struct {
	name             string
	limit, remaining int64
	window, reset    int64 // in seconds; 0: not known
}

// quotaOf returns the quota in a report, false if it is not that of a rate limit that refuses.
func quotaOf(report policy.Report) (quota, bool) {
	tokens, ok := report.Value(valueTokens, "")
	if !ok || tokens.Unknown || tokens.Limit < 1 || report.Shadow {
		return quota{}, false
	}
	q := quota{
		name:      report.Name,
		limit:     int64(min(tokens.Limit, math.MaxInt32)),
		remaining: int64(min(max(tokens.Number, 0), math.MaxInt32)),
	}
	if q.name == "" {
		q.name = "default"
	}
	if rate := perSecond(report); rate > 0 {
		q.window = wholeSeconds(tokens.Limit / rate)
		q.reset = wholeSeconds(max(0, tokens.Limit-tokens.Number) / rate)
	}
	return q, true
}

// perSecond returns the rate of a limit, 0 if the report does not say it.
func perSecond(report policy.Report) float64 {
	for _, setting := range report.Settings {
		for _, argument := range setting.Args {
			if rate, ok := argument.Value.(float64); ok && argument.Name == argumentRate && !math.IsInf(rate, 0) && !math.IsNaN(rate) {
				return rate
			}
		}
	}
	return 0
}

// wholeSeconds rounds up, to at most the largest number of 32 bits.
func wholeSeconds(seconds float64) int64 { return int64(min(math.Ceil(seconds), math.MaxInt32)) }

// announce sets the fields about quotas. retryAfter is what the answer says, in seconds.
func (e *exchange) announce(header http.Header, retryAfter int64) {
	if e.handler.format == 0 {
		return
	}
	quotas := e.quotas(retryAfter)
	if len(quotas) == 0 {
		return
	}
	if e.handler.format == Legacy {
		setLegacy(header, quotas)
	} else {
		setDraft10(header, quotas)
	}
}

// quotas returns what the client is told.
func (e *exchange) quotas(retryAfter int64) []quota {
	var quotas []quota
	for _, source := range e.pipeline.quotas {
		if len(quotas) == maxQuotas {
			break
		}
		report, ok := source(e.admission)
		if !ok {
			continue
		}
		if q, ok := quotaOf(report); ok {
			if retryAfter != noRetryAfter {
				q.reset = min(q.reset, retryAfter)
			}
			quotas = append(quotas, q)
		}
	}
	return quotas
}

func setLegacy(header http.Header, quotas []quota) {
	least := quotas[0]
	for _, q := range quotas[1:] {
		if q.remaining < least.remaining {
			least = q
		}
	}
	header.Set("X-Ratelimit-Limit", strconv.FormatInt(least.limit, 10))
	header.Set("X-Ratelimit-Remaining", strconv.FormatInt(least.remaining, 10))
	header.Set("X-Ratelimit-Reset", strconv.FormatInt(least.reset, 10))
}

func setDraft10(header http.Header, quotas []quota) {
	var policies, states strings.Builder
	for i, q := range quotas {
		if i > 0 {
			policies.WriteString(", ")
			states.WriteString(", ")
		}
		name := field.Quoted(q.name)
		policies.WriteString(name + ";q=" + strconv.FormatInt(q.limit, 10))
		states.WriteString(name + ";r=" + strconv.FormatInt(q.remaining, 10))
		if q.window > 0 {
			policies.WriteString(";w=" + strconv.FormatInt(q.window, 10))
			states.WriteString(";t=" + strconv.FormatInt(q.reset, 10))
		}
	}
	header.Set("Ratelimit-Policy", policies.String())
	header.Set("Ratelimit", states.String())
}
