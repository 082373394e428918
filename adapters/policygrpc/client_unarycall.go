package policygrpc

import (
	"context"
	"reflect"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/go-resilience/resilience"
)

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

// unary is the interceptor.
func (cl *client) unary(
	ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoker grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	route := cl.routeOf(method, opts)
	if route == nil {
		return invoker(ctx, method, request, reply, connection, opts...)
	}
	c := &unaryCall{
		call: call{
			Context: ctx, client: cl, route: route, method: method, connection: connection, opts: opts,
		},
		request: request, reply: reply, invoker: invoker,
	}
	c.setIdempotency()
	if route.races {
		return c.end(c.race())
	}
	return c.end(c.inTurn())
}

// unaryCall is a unary call.
type unaryCall struct {
	call
	request, reply any
	invoker        grpc.UnaryInvoker

	// Of attempts in turn, the memory is used again and again.
	attempt  attempt
	optsRoom [4]grpc.CallOption
}

// inTurn makes attempts one after the other, and returns the error of the pipeline.
func (c *unaryCall) inTurn() error {
	a := &c.attempt
	a.call = &c.call
	a.setOptions(c.optsRoom[:0])
	_, err := resilience.Do(c, c.route.pipeline, nextAttempt)
	a.publish()
	return err
}

// nextAttempt makes the next attempt of the call that ctx belongs to, in the memory of the last. It is no closure,
// since that would be an allocation for each call.
func nextAttempt(ctx context.Context) (struct{}, error) {
	c := ctx.Value(unaryKey{}).(*unaryCall)
	a := &c.attempt
	a.reset()
	return struct{}{}, c.invoke(ctx, a, c.request, c.reply)
}

type unaryKey struct{}

// Value returns the call to nextAttempt.
func (c *unaryCall) Value(key any) any {
	if key == (unaryKey{}) {
		return c
	}
	return c.call.Value(key)
}

// invoke makes an attempt.
func (c *unaryCall) invoke(ctx context.Context, a *attempt, request, reply any) error {
	if err := c.invoker(a.begin(ctx), c.method, request, reply, c.connection, a.opts...); err != nil {
		return a.judge(ctx, err)
	}
	a.succeeded()
	return nil
}

// racer is an attempt that has a reply of its own.
type racer struct {
	attempt
	reply any
}

// race makes attempts that can run at the same time, and returns the error of the pipeline. An attempt that has lost may
// still be on its way when the caller goes on, and so none has anything that is the caller's.
func (c *unaryCall) race() error {
	request, newReply := copyOf(c.request), replyMaker(c.reply)
	c.opts = slices.Clone(c.opts)
	winner, err := resilience.Do(c, c.route.pipeline, func(ctx context.Context) (*racer, error) {
		a := &racer{reply: newReply()}
		a.call = &c.call
		a.setOptions(nil)
		return a, c.invoke(ctx, &a.attempt, copyOf(request), a.reply)
	})
	if winner == nil {
		return err
	}
	winner.publish() // also if it has failed: its is the error
	if err == nil {
		copyReply(c.reply, winner.reply)
	}
	return err
}

// copyOf returns a copy of a request, or the request itself if it is no protocol buffer.
func copyOf(request any) any {
	if message, ok := request.(proto.Message); ok {
		return proto.Clone(message)
	}
	return request
}

// replyMaker returns what makes empty messages of the type of reply.
func replyMaker(reply any) func() any {
	if message, ok := reply.(proto.Message); ok {
		kind := message.ProtoReflect().Type()
		return func() any { return kind.New().Interface() }
	}
	if v := reflect.ValueOf(reply); v.Kind() == reflect.Pointer && !v.IsNil() {
		kind := v.Type().Elem()
		return func() any { return reflect.New(kind).Interface() }
	}
	return func() any { return reply }
}

// copyReply makes to what from is, which a replyMaker has made for it.
func copyReply(to, from any) {
	if message, ok := to.(proto.Message); ok {
		proto.Reset(message)
		proto.Merge(message, from.(proto.Message))
		return
	}
	if v := reflect.ValueOf(to); v.Kind() == reflect.Pointer && !v.IsNil() {
		v.Elem().Set(reflect.ValueOf(from).Elem())
	}
}
