package policygrpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// client is an interceptor: UnaryClient returns its method unary, StreamClient its method stream.
type client struct {
	config
	router router
	told   oncePerKey[string] // the methods that RefuseServiceConfigRetry has told of
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
