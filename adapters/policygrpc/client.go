package policygrpc

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// client is what the interceptors of a client share.
type client struct {
	config
	lines *lines

	mu   sync.Mutex
	told map[string]bool // methods that RefuseServiceConfigRetry has told of
}

// What is remembered is bounded: where calls are passed on, others choose the names of methods.
const (
	maxToldMethods = 1000
	maxToldLength  = 256
)

func newClient(name string, source resilience.Source, options []Option) *client {
	problems := policy.ConfigError{Policy: name}
	cl := &client{config: configure(options, &problems), lines: newLines(source, &problems)}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return cl
}

// UnaryClient returns an interceptor that sends unary calls through the pipeline of source, which is a
// [*resilience.Pipeline], a [MethodSource], such as [PerMethod] or [FromServiceConfig] returns, or another
// [resilience.Source] whose pipeline can be replaced while it is in use.
//
//	connection, err := grpc.NewClient(target,
//		grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(backend)),
//		grpc.WithChainStreamInterceptor(policygrpc.StreamClient(backend)),
//		grpc.WithDisableRetry(),
//	)
//
// Interceptors before it see one call, interceptors after it see each attempt. The error is that of the last attempt,
// unless a policy ended the call: then it is an [*Error]. The package's documentation says which calls are retried, and
// how the policies judge a status.
//
// Where attempts can run concurrently, as in a hedge, each has its own copy of the request and its own reply. The
// caller's reply is written once, by the winning attempt. Messages must then be protocol buffers, or replies must be
// pointers to something that can be copied by assignment. grpc.Header, grpc.Trailer and grpc.Peer get their values from
// the attempt that decided, and a function given to grpc.OnFinish is called once.
//
// UnaryClient panics with a [*policy.ConfigError] that lists every problem: a nil source or pipeline, a pipeline that
// was not made with [resilience.Compose], an option out of its range.
func UnaryClient(source resilience.Source, options ...Option) grpc.UnaryClientInterceptor {
	return newClient("policygrpc.UnaryClient", source, options).unary
}

// chosen is what the options of a call say to us.
type chosen struct {
	line  *line // nil: Off
	infos int   // how many Infos there are
	other int   // how many options there are of gRPC that a single attempt must not have
}

// choose reads the options of a call.
func (cl *client) choose(method string, opts []grpc.CallOption) (c chosen) {
	lines := cl.lines
	for _, opt := range opts {
		switch opt := opt.(type) {
		case off:
			lines = nil
		case with:
			lines = opt.lines
		case info:
			c.infos++
		case grpc.OnFinishCallOption, grpc.HeaderCallOption, grpc.TrailerCallOption, grpc.PeerCallOption:
			c.other++
		}
	}
	if lines != nil {
		c.line = lines.of(method)
	}
	return c
}

// beneath reports whether a service config retries the calls of c, and tells of it.
func (cl *client) beneath(c *call) bool {
	if !cl.refuses || !retriesBeneath(c.connection, c.method) {
		return false
	}
	if cl.tell != nil && cl.isNew(c.method) {
		cl.tell(fmt.Errorf("%s: %w", c.method, ErrServiceConfigRetry))
	}
	return true
}

// isNew reports whether nobody was told of method, and notes that somebody is now.
func (cl *client) isNew(method string) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.told[method] || len(cl.told) == maxToldMethods || len(method) > maxToldLength {
		return false
	}
	if cl.told == nil {
		cl.told = map[string]bool{}
	}
	cl.told[method] = true
	return true
}

// retriesBeneath reports whether the service config of a connection retries a method.
func retriesBeneath(connection *grpc.ClientConn, method string) bool {
	//nolint:staticcheck // there is no other way to know
	return connection != nil && connection.GetMethodConfig(method).RetryPolicy != nil
}

// Method returns the full name of the method, such as "/users.Users/Get", that the attempt of ctx calls, or, on a server,
// that is called. It is the key for one policy per method within a pipeline:
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
