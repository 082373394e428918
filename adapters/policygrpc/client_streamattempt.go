package policygrpc

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// streamAttempt is one attempt to open a stream. If it is the result of the pipeline, it is also the stream that the
// caller reads: it was delivered with a permit, which it settles when it ends; see streamEnd.
type streamAttempt struct {
	grpc.ClientStream
	attempt
	stream *streamCall
	ctx    context.Context
	cancel context.CancelFunc
	empty  bool // of a server stream: it has ended well, without headers and messages
	end    streamEnd
}

func newStreamAttempt(ctx context.Context, c *streamCall) *streamAttempt {
	a := &streamAttempt{stream: c}
	a.call = &c.call
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.setOptions(nil, grpc.OnFinish(a.finish))
	return a
}

// openStream begins the attempt and opens its stream.
func (a *streamAttempt) openStream() (err error) {
	c := a.stream
	a.ClientStream, err = c.streamer(a.begin(a.ctx), c.desc, c.connection, c.method, a.opts...)
	if err == nil && a.ClientStream == nil {
		err = status.Error(codes.Internal, "policygrpc: an interceptor has returned neither a stream nor an error")
	}
	return err
}

// callInner calls a method of the stream further in, and settles the stream if the method does not return.
func (a *streamAttempt) callInner(method func() error) error {
	returned := false
	defer func() {
		if !returned {
			a.end.onFinishCalled.Store(true)
			err, _ := a.noteEnd(errPanicked)
			a.settle(err)
		}
	}()
	err := method()
	returned = true
	return err
}

// RecvMsg receives a message. Its error, or in a stream of the client its only message, is the end.
func (a *streamAttempt) RecvMsg(m any) error {
	err := a.callInner(func() error { return a.ClientStream.RecvMsg(m) })
	if err == nil && a.stream.desc.ServerStreams {
		return nil
	}
	a.finish(err)
	return a.nameTimeout(err)
}

// SendMsg sends a message. io.EOF means that the stream has ended, and that RecvMsg knows how.
func (a *streamAttempt) SendMsg(m any) error {
	err := a.callInner(func() error { return a.ClientStream.SendMsg(m) })
	if err == nil || err == io.EOF { //nolint:errorlint // the very value
		return err
	}
	a.finish(err)
	return a.nameTimeout(err)
}

// Header waits for the headers of the answer. An error is the end.
func (a *streamAttempt) Header() (header metadata.MD, err error) {
	err = a.callInner(func() (err error) {
		header, err = a.ClientStream.Header()
		return err
	})
	if err == nil {
		return header, nil
	}
	a.finish(err)
	return header, a.nameTimeout(err)
}
