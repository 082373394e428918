package policygrpc

import (
	"math"
	"strconv"
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

// pushbackKey is the trailer by which a server says when to retry; see gRPC proposal A6.
const pushbackKey = "grpc-retry-pushback-ms"

// pushback is what a server says in that trailer.
type pushback struct {
	given, stop bool
	wait        time.Duration
}

// parsePushback reads a trailer as gRPC proposal A6 says: one signed number of 32 bits, which must not be negative.
func parsePushback(trailer metadata.MD) pushback {
	values := trailer[pushbackKey]
	switch len(values) {
	case 0:
		return pushback{}
	case 1:
		if ms, err := strconv.ParseInt(values[0], 10, 32); err == nil && ms >= 0 {
			return pushback{given: true, wait: time.Duration(ms) * time.Millisecond}
		}
	}
	return pushback{given: true, stop: true}
}

// failure is an attempt that has failed, as the policies judge it. The caller gets cause.
type failure struct {
	cause    error
	marked   error // cause, or around it the mark of package retry
	status   *status.Status
	class    policy.Class
	pushback bool      // until is to be kept exactly
	until    time.Time // when to come back; zero if the server did not say
	notSent  bool      // the request has not left
	final    error     // why it must not be retried; nil if the policies decide
}

// newFailure returns the failure that err, the end of an attempt, stands for.
func newFailure(err error, trailer metadata.MD) *failure {
	f := &failure{cause: err, marked: err, class: policy.ClassOf(err), status: Status(err)}
	if f.class == policy.Unclassified {
		f.class = Classify(err)
	}
	pushed := parsePushback(trailer)
	wait, hinted := retryInfo(f.status)
	switch {
	case pushed.stop:
		f.finally(ErrPushback)
	case pushed.given:
		f.until, f.pushback = after(pushed.wait), true
	case hinted:
		f.until = after(wait)
	}
	return f
}

// after returns the moment that is wait from now, which is never the zero time.
func after(wait time.Duration) time.Time {
	const longest = math.MaxInt64 / 4 // far beyond what anybody waits for, and not too far to calculate with
	return time.Now().Add(min(wait, longest))
}

// finally says why there must be no further attempt.
func (f *failure) finally(reason error) {
	if f.final == nil {
		f.final, f.marked = reason, retry.Permanent(f.cause)
	}
}

func (f *failure) Error() string              { return f.cause.Error() }
func (f *failure) Unwrap() error              { return f.marked }
func (f *failure) GRPCStatus() *status.Status { return f.status }
func (f *failure) Class() policy.Class        { return f.class }
func (f *failure) Pushback() bool             { return f.pushback }
func (f *failure) NotSent() bool              { return f.notSent }

// RetryAfter returns how long from now the server asked to wait.
func (f *failure) RetryAfter() (time.Duration, bool) {
	if f.until.IsZero() {
		return 0, false
	}
	return max(0, time.Until(f.until)), true
}
