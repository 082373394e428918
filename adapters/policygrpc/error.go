package policygrpc

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// Error is the error of a call that a policy ended: it was refused, timed out, or was tried several times. It matches
// the policies' errors, such as [policy.ErrRejected], breaker.ErrOpen or a [*retry.Error]. To gRPC it is a status: a
// server whose handler returns it answers with that status. If no policy intervened, the server's error is returned as
// it is.
type Error struct {
	err    error
	status *status.Status
}

// Error returns the text of the error that the call ended with.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the error that the call ended with.
func (e *Error) Unwrap() error { return e.err }

// GRPCStatus returns what [Status] does.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// LogValue returns code, the [policy.Code] and the text, as a group.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(slog.String("status", e.status.Code().String()),
		slog.String("code", policy.Code(e.err)), slog.String("error", e.Error()))
}

// Status returns the status that an error of a pipeline stands for, for gRPC:
//
//	a rate limiter that refused     codes.ResourceExhausted
//	any other refusal               codes.Unavailable
//	a timeout of the pipeline       codes.DeadlineExceeded
//	a *retry.Error                  the status of its last error, unless a context has ended the waiting
//	a *hedge.Error                  the status of its gravest error, unless the caller has cancelled
//	a status                        that status
//	the end of a context            codes.Canceled, codes.DeadlineExceeded
//	anything else                   codes.Unknown
//
// The status of a refusal that says when to come back carries a RetryInfo of at most 30 s, unless a breaker was opened
// by hand. The status of nil is OK.
func Status(err error) *status.Status {
	if err == nil {
		return nil
	}
	switch e := err.(type) { //nolint:errorlint // the error itself, not what it wraps
	case *Error:
		return e.status
	case *failure:
		return e.status
	}
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		if endedByContext(gaveUp.Reason) {
			return Status(gaveUp.Reason)
		}
		return Status(gaveUp.Last)
	}
	if several, ok := errors.AsType[*hedge.Error](err); ok {
		if errors.Is(several, context.Canceled) {
			return status.New(codes.Canceled, err.Error())
		}
		return Status(gravest(several))
	}
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return refusalStatus(rejection)
	}
	if errors.Is(err, timeout.ErrTimeout) {
		return status.New(codes.DeadlineExceeded, err.Error())
	}
	if errors.Is(err, policy.ErrRejected) {
		return status.New(codes.Unavailable, err.Error())
	}
	return statusOf(err)
}

// endedByContext reports whether a retry gave up because of the end of its context, not because there was no use in
// waiting for it.
func endedByContext(reason error) bool {
	if errors.Is(reason, retry.ErrDeadline) || errors.Is(reason, policy.ErrRejected) {
		return false
	}
	return errors.Is(reason, context.Canceled) || errors.Is(reason, context.DeadlineExceeded)
}

// gravest returns the first error of the gravest class.
func gravest(several *hedge.Error) error {
	class := several.Class()
	for _, err := range several.Errs {
		if Classify(err) == class {
			return err
		}
	}
	return several.Errs[0]
}

// forCaller returns err, the end of a pipeline, as the caller gets it.
func forCaller(err error) error {
	switch e := err.(type) { //nolint:errorlint // the error itself, not what it wraps
	case nil:
		return nil
	case *Error:
		return e
	case *failure:
		return asStatus(e.cause)
	}
	return &Error{err, Status(err)}
}

// asStatus returns an error that comes from beyond the pipeline. It is unchanged, unless gRPC would not see the status
// that it stands for: that of a policy there.
func asStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if s := Status(err); s.Code() != codes.Unknown {
		return &Error{err, s}
	}
	return err
}
