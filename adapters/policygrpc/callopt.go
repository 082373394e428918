package policygrpc

import (
	"google.golang.org/grpc"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Off returns an option for one call, which then bypasses the pipeline.
func Off() grpc.CallOption { return off{} }

type off struct{ grpc.EmptyCallOption }

// With returns an option for one call, which then goes through the pipeline of source instead of the interceptor's.
// Make the option once, where the pipeline is made. With panics with a [*policy.ConfigError] when source is nil.
func With(source resilience.Source) grpc.CallOption {
	problems := policy.ConfigError{Policy: "policygrpc.With"}
	l := newLines(source, &problems)
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return with{lines: l}
}

type with struct {
	grpc.EmptyCallOption
	lines *lines
}

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
