package policyhttp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"github.com/go-resilience/resilience/policy"
)

// What an attempt has come to gets its class here:
//
//	a response                                       its class     to the pipeline
//	1xx to 3xx                                       Unclassified  a success
//	408, 500, 502, 503, 504                          Transient     a failure, retried
//	429, and 413 with Retry-After                    Throttled     a failure, retried
//	any other 4xx, 501                               Expected      a success
//	505 and above                                    Permanent     a failure, not retried
//
//	with RetryStatuses, Throttled above: if listed   Throttled     a failure, retried
//	                                     otherwise   Throttled     a failure, not retried: final
//	                    any other listed one         Transient     a failure, retried
//	                    Transient above, not listed  Permanent     a failure, not retried
//	with ClassifyResponse, where that has an answer  that          what the class says
//
//	an error of the base transport                   its class
//	the request is invalid or canceled, or its body
//	could not be read: see attempt.errorOf           Ignored       not retried
//	it has a class                                   that          what the class says
//	an untrusted certificate, a server that does
//	not speak TLS, too many redirects                Permanent     a failure, not retried
//	any other                                        Unclassified  a failure, retried
//
// Retried means that a retry of the pipeline would, as far as the class goes. Whether this request may be sent again is the
// question of attempt.judge.

// classOfStatus returns what a status says about the server; Unclassified for one that is no failure at all.
func classOfStatus(status int, header http.Header) policy.Class {
	switch {
	case status < 400:
		return policy.Unclassified
	case status == http.StatusTooManyRequests:
		return policy.Throttled
	case status == http.StatusRequestEntityTooLarge && header.Get("Retry-After") != "":
		return policy.Throttled
	case status == http.StatusRequestTimeout, status == http.StatusInternalServerError, status == http.StatusBadGateway,
		status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return policy.Transient
	case status < 500, status == http.StatusNotImplemented:
		return policy.Expected
	}
	return policy.Permanent
}

// isFailure reports whether class is that of a response that means a failure.
func isFailure(class policy.Class) bool {
	return class != policy.Unclassified && class != policy.Expected
}

// failureOf returns a response as an error, nil if it means no failure. What there is to know of the request, judge adds.
func (c *transportConfig) failureOf(r *http.Response) *Error {
	class, final := c.classOfResponse(r)
	if !isFailure(class) {
		return nil
	}
	failure := newError(r, class)
	failure.verdict = verdict{notSent: c.notProcessed[r.StatusCode], final: final}
	return failure
}

// classOfResponse returns what a response means to the pipeline, Unclassified or Expected for a success, and whether it is not
// to be tried again although its class is.
func (c *transportConfig) classOfResponse(r *http.Response) (class policy.Class, final bool) {
	if c.classifyResponse != nil {
		if class := c.askClassifyResponse(r); class != policy.Unclassified {
			return class, false
		}
	}
	class = classOfStatus(r.StatusCode, r.Header)
	listed := c.retried[r.StatusCode]
	switch {
	case c.retried == nil:
		return class, false
	case class == policy.Throttled:
		return class, !listed
	case listed:
		return policy.Transient, false
	case class == policy.Transient:
		return policy.Permanent, false
	}
	return class, false
}

// askClassifyResponse asks the function given to ClassifyResponse. When that panics, or calls runtime.Goexit, nobody gets the
// response.
func (c *transportConfig) askClassifyResponse(r *http.Response) policy.Class {
	returned := false
	defer func() {
		if !returned {
			_ = r.Body.Close()
		}
	}()
	class := c.classifyResponse(r)
	returned = true
	return class
}

// isRetried reports whether a retry tries again, by default, what means class.
func isRetried(class policy.Class) bool {
	return class == policy.Unclassified || class == policy.Transient || class == policy.Throttled
}

// Classify returns what an error of an [http.Client] or [http.RoundTripper] says about the server, for round trips of
// your own: resilience.Classify(policyhttp.Classify).
//
// A certificate that is not trusted, a server that does not speak TLS, and too many redirects are [policy.Permanent]. An
// error that has a class, such as an [*Error], keeps it. Everything else is [policy.Unclassified], which a pipeline takes
// for [policy.Transient].
func Classify(err error) policy.Class {
	if class := policy.ClassOf(err); class != policy.Unclassified {
		return class
	}
	if isUntrusted(err) || errors.Is(err, http.ErrSchemeMismatch) || isRedirectLimit(err) {
		return policy.Permanent
	}
	return policy.Unclassified
}

// isUntrusted reports whether the server could not be authenticated, which another attempt does not change.
func isUntrusted(err error) bool {
	return is[*tls.CertificateVerificationError](err) || is[tls.RecordHeaderError](err) ||
		is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) || is[x509.CertificateInvalidError](err) ||
		is[x509.ConstraintViolationError](err) || is[x509.UnhandledCriticalExtension](err) ||
		is[x509.SystemRootsError](err) || is[*tls.ECHRejectionError](err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isRedirectLimit reports whether err is that of an http.Client after too many redirects, which has no type.
func isRedirectLimit(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.HasPrefix(text, "stopped after ") && strings.HasSuffix(text, " redirects") {
			return true
		}
	}
	return false
}
