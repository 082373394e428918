package policygrpc

import (
	"context"
	"reflect"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/go-resilience/resilience"
)

// unaryCall is a unary call.
type unaryCall struct {
	call
	request, reply any
	invoker        grpc.UnaryInvoker

	first attempt // used again and again, unless attempts can run at the same time
	room  [4]grpc.CallOption
}

// unaryAttempt is an attempt that has a reply of its own.
type unaryAttempt struct {
	attempt
	reply any
}

// unary is the interceptor.
func (cl *client) unary(
	ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoker grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	chosen := cl.choose(method, opts)
	if chosen.line == nil {
		return invoker(ctx, method, request, reply, connection, opts...)
	}
	c := &unaryCall{request: request, reply: reply, invoker: invoker}
	cl.newCall(&c.call, ctx, chosen.line, method, connection, opts, chosen.infos)
	if chosen.line.races {
		return c.race()
	}
	a := &c.first
	a.call = &c.call
	if chosen.other > 0 || chosen.line.strict {
		a.isolate(opts)
	} else {
		a.opts = append(append(c.room[:0], opts...), grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
	}
	_, err := resilience.Do(c, chosen.line.pipeline, invoke)
	if chosen.other > 0 {
		a.publish()
	}
	return c.end(err)
}

// end returns the error of a call whose pipeline has ended with err.
func (c *unaryCall) end(err error) error {
	c.tell(err)
	err = result(err)
	c.finished(err)
	return err
}

// Value returns the call to the operation.
func (c *unaryCall) Value(key any) any {
	if key == (unaryKey{}) {
		return c
	}
	return c.call.Value(key)
}

type unaryKey struct{}

// invoke is the operation: it makes one attempt of the call that ctx belongs to. Attempts follow each other.
func invoke(ctx context.Context) (struct{}, error) {
	c := ctx.Value(unaryKey{}).(*unaryCall)
	a := &c.first
	a.header, a.trailer, a.peer.Addr = nil, nil, nil
	return struct{}{}, c.attempt(ctx, a, c.request, c.reply)
}

func (c *unaryCall) attempt(ctx context.Context, a *attempt, request, reply any) error {
	if err := c.invoker(a.outgoing(ctx), c.method, request, reply, c.connection, a.opts...); err != nil {
		return a.failed(ctx, err)
	}
	a.succeeded()
	return nil
}

// race makes the call where attempts can run at the same time. One that has lost may still be on its way when the caller
// goes on, and so none has anything that is the caller's.
func (c *unaryCall) race() error {
	if message, ok := c.request.(proto.Message); ok {
		c.request = proto.Clone(message)
	}
	c.opts = slices.Clone(c.opts)
	reply, request, empty := c.reply, c.request, emptyLike(c.reply)
	won, err := resilience.Do(c, c.line.pipeline, func(ctx context.Context) (*unaryAttempt, error) {
		a := &unaryAttempt{reply: empty()}
		a.call = &c.call
		a.isolate(c.opts)
		return a, c.attempt(ctx, &a.attempt, request, a.reply)
	})
	if won != nil {
		won.publish()
		if err == nil {
			copyReply(reply, won.reply)
		}
	}
	return c.end(err)
}

// emptyLike returns what makes empty messages of the type of reply.
func emptyLike(reply any) func() any {
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

// copyReply makes to what from is, which emptyLike has made for it.
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
