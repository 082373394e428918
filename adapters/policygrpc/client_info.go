package policygrpc

import (
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/go-resilience/resilience/internal/callinfo"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// Info returns an option for one call that reports how the call went: *call is set when the call has ended, before a
// unary call returns, and before RecvMsg of a stream returns its last error. It is not set for a call with [Off].
//
//	var call policygrpc.Call
//	user, err := users.Get(ctx, request, policygrpc.Info(&call))
//	log.Info("answered", "call", call)
//
// If a call has several of these options, all are set. A nil call is ignored.
func Info(call *Call) grpc.CallOption { return info{call: call} }

type info struct {
	grpc.EmptyCallOption
	call *Call
}

// Call says how a call went. [Info] fills it in.
type Call struct {
	// Attempts is how often the call was sent: 0 if a policy refused it at once.
	Attempts int
	// Waits are the times between a failed attempt and the next one, including time in queues; the last 16 if there
	// were more. There are none between concurrent attempts, such as those of a hedge.
	Waits []time.Duration
	// Reason is why no attempt followed a failure: a reason of this package or of package retry, or the rejection of
	// the policy that refused. It is nil if the call succeeded, and if there was never a reason to try again, as after
	// a NOT_FOUND.
	Reason error
	// Err is the error that the pipeline ended with, nil for success.
	Err error
}

// Code returns the [policy.Code] of Reason, such as "retry.exhausted" or "breaker.open", or that of Err if there is no
// Reason. It is "" for success.
func (c Call) Code() string { return callinfo.Call(c).Code() }

// LogValue returns the fields as a group.
func (c Call) LogValue() slog.Value { return callinfo.Call(c).LogValue() }

// reasonOf returns why err was not followed by another attempt.
func reasonOf(err error) error {
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		if !errors.Is(gaveUp.Reason, retry.ErrFinal) {
			return gaveUp.Reason
		}
		err = gaveUp.Last
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.noRetry
	}
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return rejection
	}
	return nil
}
