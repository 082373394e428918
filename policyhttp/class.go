package policyhttp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
)

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

// failureOf returns a response as an error, nil if it means no failure, and whether it is not to be tried again although its
// class is.
func (c *config) failureOf(r *http.Response) (failure *Error, final bool) {
	class, final := c.judge(r)
	if !isFailure(class) {
		return nil, false
	}
	failure = newError(r, class)
	failure.notSent = c.notProcessed[r.StatusCode]
	return failure, final
}

// judge returns what a response means to the pipeline, Unclassified or Expected for a success, and whether it is not to be
// tried again although its class is.
func (c *config) judge(r *http.Response) (class policy.Class, final bool) {
	if c.classify != nil {
		if class := c.classified(r); class != policy.Unclassified {
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

// classified asks the function given to ClassifyResponse. When that panics, or calls runtime.Goexit, nobody gets the response.
func (c *config) classified(r *http.Response) policy.Class {
	returned := false
	defer func() {
		if !returned {
			_ = r.Body.Close()
		}
	}()
	class := c.classify(r)
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

// isInvalid reports whether r, which has failed with err, is a request that no server could be sent.
func isInvalid(r *http.Request, err error) bool {
	switch {
	case r.URL == nil, r.Header == nil, r.Method != "" && !isToken(r.Method), r.Body == nil && r.ContentLength > 0:
		return true
	case r.URL.Scheme == "http", r.URL.Scheme == "https":
		return r.URL.Host == "" || areInvalid(r.Header) || areInvalid(r.Trailer)
	}
	// Base transports may know other schemes. This error has no type.
	return strings.HasPrefix(err.Error(), "unsupported protocol scheme")
}

// isCanceled reports whether the caller of r has closed its channel Cancel, and not because a deadline is over, which
// http.Client tells in both ways.
func isCanceled(r *http.Request) bool {
	//lint:ignore SA1019 that callers may still use
	left := r.Cancel
	select {
	case <-left:
	default:
		return false
	}
	deadline, ok := r.Context().Deadline()
	return !ok || time.Now().Before(deadline)
}

// areInvalid reports whether there is a field that cannot be sent.
func areInvalid(fields http.Header) bool {
	for name, values := range fields {
		if !isToken(name) {
			return true
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return true
			}
		}
	}
	return false
}

// isToken reports whether s is a token of RFC 9110: the name of a field, a method.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s can be the value of a field.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
