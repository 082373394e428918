package policygrpc

import (
	"math"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// The reasons why no attempt followed a failed one, in addition to those of package retry: see [Call].
var (
	// ErrPushback: the server asked not to retry, with a grpc-retry-pushback-ms that is negative or not a single
	// number.
	ErrPushback = policy.NewReason("grpc.pushback", "the server has asked not to retry")
	// ErrNoHint: the server is out of resources and did not say when to come back.
	ErrNoHint = policy.NewReason("grpc.no_hint", "the server is out of resources, and does not say for how long")
	// ErrCommitted: the server has begun to answer, or the request is too large to be kept for another attempt.
	ErrCommitted = policy.NewReason("grpc.committed", "the call cannot be begun anew")
	// ErrServiceConfigRetry: a service config already retries the method; see [RefuseServiceConfigRetry].
	ErrServiceConfigRetry = policy.NewReason("grpc.service_config_retry", "the service config of the connection retries")
)

// failure is an attempt, or a handler, that has failed, as the policies see it. They find what they ask for by its
// methods; the caller gets cause.
type failure struct {
	cause    error
	status   *status.Status
	class    policy.Class
	pushback pushback  // what the server orders
	until    time.Time // when to come back, as the server orders or hints; zero if it does not say
	notSent  bool      // it is proven that the request has not left
	noRetry  error     // the reason why no attempt may follow; nil if the policies decide
	unwraps  error     // the cause, marked as final if no attempt may follow: that is how the retry learns it
}

// newFailure returns the failure that err stands for: the end of an attempt with that trailer, or of a handler, which
// has none.
func newFailure(err error, trailer metadata.MD) *failure {
	f := &failure{cause: err, unwraps: err, class: Classify(err), status: Status(err)}
	order, wait := parsePushback(trailer)
	f.pushback = order
	switch order {
	case pushbackWait:
		f.until = fromNow(wait)
	case noPushback:
		if wait, ok := retryInfo(f.status); ok {
			f.until = fromNow(wait)
		}
	}
	return f
}

// fromNow returns the moment that is wait from now, which is never the zero time.
func fromNow(wait time.Duration) time.Time {
	const longest = math.MaxInt64 / 4 // far beyond what anybody waits for, and not too far to calculate with
	return time.Now().Add(min(wait, longest))
}

// forbidRetry says why no attempt may follow; nil if the policies decide.
func (f *failure) forbidRetry(reason error) {
	if reason != nil {
		f.noRetry, f.unwraps = reason, retry.Permanent(f.cause)
	}
}

func (f *failure) Error() string              { return f.cause.Error() }
func (f *failure) Unwrap() error              { return f.unwraps }
func (f *failure) GRPCStatus() *status.Status { return f.status }
func (f *failure) Class() policy.Class        { return f.class }
func (f *failure) NotSent() bool              { return f.notSent }

// Pushback reports whether RetryAfter is an order, which is kept exactly, and not a hint.
func (f *failure) Pushback() bool { return f.pushback == pushbackWait }

// RetryAfter returns how long from now the server asked to wait.
func (f *failure) RetryAfter() (time.Duration, bool) {
	if f.until.IsZero() {
		return 0, false
	}
	return max(0, time.Until(f.until)), true
}
