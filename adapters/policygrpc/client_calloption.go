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
	router := newRouter(source, &problems)
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return with{router: router}
}

type with struct {
	grpc.EmptyCallOption
	router router
}
