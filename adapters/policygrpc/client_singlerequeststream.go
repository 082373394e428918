package policygrpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-resilience/resilience/policy"
)

// singleRequestStream is a server stream as its caller sees it: one request, and a stream of messages as the answer.
// SendMsg starts a goroutine that opens the stream through the pipeline, and ends when the headers of the answer have
// come, or there are none to come. So the caller need not wait for them; the methods that need them wait.
//
//	SendMsg            keeps the request, and starts
//	run                on the goroutine; it notes how the opening ends
//	  runPipeline      of the streamCall: delivers the stream, or ends the call
//	    attemptOnce    of the streamCall, for each attempt: judges it
//	      exchange     opens a stream, sends the request, waits for the headers
//	        openStream of the streamAttempt: calls gRPC
type singleRequestStream struct {
	call    *streamCall
	started atomic.Bool   // SendMsg was called
	request any           // set before the goroutine starts
	sent    chan struct{} // closed by closeSent when an attempt has sent the request
	opened  chan struct{} // closed when the goroutine has ended

	closeSent sync.Once

	// How the opening has ended, once opened is closed.
	attempt  *streamAttempt // that decided; nil if there was none
	err      error          // if it could not be opened
	panicked any            // what an interceptor has panicked with
	exited   bool           // an interceptor has called runtime.Goexit
}

func newSingleRequestStream(c *streamCall) *singleRequestStream {
	return &singleRequestStream{call: c, sent: make(chan struct{}), opened: make(chan struct{})}
}

// SendMsg sends the request, and returns when that was done, or could not be done.
func (s *singleRequestStream) SendMsg(m any) error {
	if s.started.Swap(true) {
		return status.Error(codes.Internal, "SendMsg called twice in a stream of the server")
	}
	s.keep(m)
	go s.run()
	select {
	case <-s.sent:
		return nil
	case <-s.opened:
	}
	select {
	case <-s.sent:
		return nil // RecvMsg says what came of it
	default:
		return s.outcome()
	}
}

// defaultBuffer is how large a request is kept at most, in bytes, unless grpc.MaxRetryRPCBufferSize says otherwise. It
// is that of gRPC.
const defaultBuffer = 256 << 10

// keep sets the request. If there can be another attempt, it is a copy: a caller that changes m after SendMsg, although
// gRPC forbids that, must not change what the next attempt sends. A request that is too large to be copied is sent once.
// One that is no protocol buffer cannot be copied: it is sent again as it is then.
func (s *singleRequestStream) keep(m any) {
	s.request = m
	message, ok := m.(proto.Message)
	if !ok || !s.call.route.repeats {
		return
	}
	largest := defaultBuffer
	for _, opt := range s.call.opts {
		if opt, ok := opt.(grpc.MaxRetryRPCBufferSizeCallOption); ok {
			largest = opt.MaxRetryRPCBufferSize
		}
	}
	if proto.Size(message) > largest {
		s.call.requestNotKept = true
		return
	}
	s.request = proto.Clone(message)
}

// run opens the stream through the pipeline, on its goroutine.
func (s *singleRequestStream) run() {
	defer close(s.opened)
	returned := false
	defer func() {
		if !returned {
			s.panicked = recover() // on its way to the caller
			s.exited = s.panicked == nil
		}
	}()
	var attempted atomic.Bool
	s.attempt, s.err = s.call.runPipeline(func(ctx context.Context) (*streamAttempt, error) {
		if attempted.Swap(true) && s.call.requestNotKept { // only a hedge comes so far
			return nil, &policy.Rejection{Kind: "stream", Reason: ErrCommitted}
		}
		return s.call.attemptOnce(ctx, s.exchange)
	})
	returned = true
	if !s.call.route.races {
		s.request = nil // a stream may live long
	}
}

// exchange opens the stream of an attempt, sends the request and waits for the headers.
func (s *singleRequestStream) exchange(a *streamAttempt) error {
	if err := a.openStream(); err != nil {
		return err
	}
	a.maybeSent = true
	request := s.request
	if s.call.route.races {
		request = copyOf(request)
	}
	if err := a.ClientStream.SendMsg(request); err != nil && err != io.EOF { //nolint:errorlint // the very value
		return err
	}
	if err := a.ClientStream.CloseSend(); err != nil && err != io.EOF { //nolint:errorlint // the very value
		return err
	}
	s.closeSent.Do(func() { close(s.sent) })
	header, err := a.ClientStream.Header()
	if err != nil || header != nil {
		return err
	}
	// The stream has ended without headers, and RecvMsg knows how.
	switch err := a.ClientStream.RecvMsg(new(emptypb.Empty)); err {
	case nil:
		return status.Error(codes.Internal, "policygrpc: an interceptor has returned a stream with messages and no headers")
	case io.EOF:
		a.empty = true
		return nil
	default:
		return err
	}
}

// outcome returns how the opening has ended, on the goroutine of the caller.
func (s *singleRequestStream) outcome() error {
	switch {
	case s.panicked != nil:
		panic(s.panicked)
	case s.exited:
		return status.Error(codes.Internal, "policygrpc: an interceptor has called runtime.Goexit")
	}
	return s.err
}

// wait waits until the stream is open, or cannot be opened. The attempt is that which decided, nil if there was none.
func (s *singleRequestStream) wait() (*streamAttempt, error) {
	if !s.started.Load() {
		return nil, status.Error(codes.Internal, "a stream of the server is read before its request was sent")
	}
	<-s.opened // the goroutine ends with the context, too
	return s.attempt, s.outcome()
}

// RecvMsg receives a message.
func (s *singleRequestStream) RecvMsg(m any) error {
	a, err := s.wait()
	switch {
	case err != nil:
		return err
	case a.empty:
		return io.EOF
	}
	return a.RecvMsg(m)
}

// Header returns the headers of the answer. It follows the rule of gRPC: for a stream that has ended without headers it
// returns nothing, and RecvMsg returns the error. It returns an error where no stream has ended: there was no attempt,
// or the caller has given up.
func (s *singleRequestStream) Header() (metadata.MD, error) {
	a, err := s.wait()
	switch {
	case err == nil && a.empty:
		return nil, nil
	case err == nil:
		return a.Header()
	case a == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	return nil, nil
}

// Trailer returns the trailers, once RecvMsg has returned an error.
func (s *singleRequestStream) Trailer() metadata.MD {
	if !s.isOpened() || s.attempt == nil || s.attempt.ClientStream == nil {
		return nil
	}
	return s.attempt.Trailer()
}

// CloseSend does nothing: the request is all that is sent.
func (s *singleRequestStream) CloseSend() error { return nil }

// Context returns the context of the stream.
func (s *singleRequestStream) Context() context.Context {
	if s.isOpened() && s.err == nil && s.attempt != nil {
		return s.attempt.Context()
	}
	return s.call
}

// isOpened reports whether the opening has ended.
func (s *singleRequestStream) isOpened() bool {
	select {
	case <-s.opened:
		return true
	default:
		return false
	}
}
