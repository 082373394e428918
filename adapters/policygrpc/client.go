package policygrpc

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// client is an interceptor: UnaryClient returns its method unary, StreamClient its method stream.
type client struct {
	config
	router router
	told   told[string] // the methods that RefuseServiceConfigRetry has told of
}

func newClient(name string, source resilience.Source, options []Option) *client {
	problems := policy.ConfigError{Policy: name}
	cl := &client{config: configure(options, &problems), router: newRouter(source, &problems)}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return cl
}

// routeOf returns the route of a call, nil if the call goes past the pipeline. The last of several options counts.
func (cl *client) routeOf(method string, opts []grpc.CallOption) *route {
	router := cl.router
	for _, opt := range opts {
		switch opt := opt.(type) {
		case off:
			router = nil
		case with:
			router = opt.router
		}
	}
	if router == nil {
		return nil
	}
	return router.routeOf(method)
}

// What is remembered is bounded: where calls are passed on, others choose the names of methods.
const (
	maxToldMethods = 1000
	maxToldLength  = 256
)

// leavesRetryToGRPC reports whether our retry stands back because gRPC itself retries the method, and tells of it the
// first time; see [RefuseServiceConfigRetry].
func (cl *client) leavesRetryToGRPC(connection *grpc.ClientConn, method string) bool {
	if !cl.refuseConfigRetry || !retriedByGRPC(connection, method) {
		return false
	}
	if cl.tellConfigRetry != nil && len(method) <= maxToldLength && cl.told.first(method, maxToldMethods) {
		cl.tellConfigRetry(fmt.Errorf("%s: %w", method, ErrServiceConfigRetry))
	}
	return true
}

// retriedByGRPC reports whether the service config of a connection retries a method: then one attempt of ours is
// several.
func retriedByGRPC(connection *grpc.ClientConn, method string) bool {
	//nolint:staticcheck // there is no other way to know
	return connection != nil && connection.GetMethodConfig(method).RetryPolicy != nil
}

// Method returns the full name of the method, such as "/users.Users/Get", that the attempt of ctx calls, or, on a
// server, that is called. It is the key for one policy per method within a pipeline:
//
//	keyed.By(policygrpc.Method, keyed.New(func(method string) *breaker.Breaker { … }))
//
// Outside of a call it is "".
func Method(ctx context.Context) string {
	if c := callOf(ctx); c != nil {
		return c.method
	}
	method, _ := grpc.Method(ctx)
	return method
}

// Service returns the service of [Method], such as "users.Users".
func Service(ctx context.Context) string { return serviceOf(Method(ctx)) }
