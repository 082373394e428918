package policygrpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// classes is what each code says about the server.
var classes = [...]policy.Class{
	codes.OK:                 policy.Unclassified,
	codes.Canceled:           policy.Ignored,
	codes.Unknown:            policy.Permanent,
	codes.InvalidArgument:    policy.Expected,
	codes.DeadlineExceeded:   policy.Permanent, // unless a timeout of the pipeline made it
	codes.NotFound:           policy.Expected,
	codes.AlreadyExists:      policy.Expected,
	codes.PermissionDenied:   policy.Expected,
	codes.ResourceExhausted:  policy.Throttled, // retried only after a hint
	codes.FailedPrecondition: policy.Expected,
	codes.Aborted:            policy.Expected,
	codes.OutOfRange:         policy.Expected,
	codes.Unimplemented:      policy.Expected,
	codes.Internal:           policy.Permanent,
	codes.Unavailable:        policy.Transient,
	codes.DataLoss:           policy.Permanent,
	codes.Unauthenticated:    policy.Expected,
}

// classOfCode returns what a code says about the server. One that gRPC does not know is [codes.Unknown].
func classOfCode(code codes.Code) policy.Class {
	if code >= codes.Code(len(classes)) { // not as an int, which can be negative where it has 32 bits
		code = codes.Unknown
	}
	return classes[code]
}

// Classify returns what an error of a gRPC call says about the server, for calls without the interceptors of this
// package: resilience.Classify(policygrpc.Classify).
//
// An error that has a class keeps it, and a timeout of a pipeline is [policy.Transient]. Otherwise the code decides,
// as in the table of the package's documentation.
func Classify(err error) policy.Class {
	if err == nil {
		return policy.Unclassified
	}
	if class := policy.ClassOf(err); class != policy.Unclassified {
		return class
	}
	if errors.Is(err, timeout.ErrTimeout) {
		return policy.Transient
	}
	return classOfCode(statusOf(err).Code())
}

// statusOf returns the status of an error that no policy has made.
func statusOf(err error) *status.Status {
	if s, ok := status.FromError(err); ok {
		return s
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(contextError(err))
	}
	return status.New(codes.Unknown, err.Error())
}

// contextError returns the error of package context in err's tree.
func contextError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return context.Canceled
}
