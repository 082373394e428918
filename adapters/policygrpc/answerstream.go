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

// answerStream is a stream of the server: one request, and a stream of messages as the answer. It is opened by SendMsg, on
// a goroutine of its own that ends when the headers have come or the context has ended, so that the caller need not wait
// for them.
type answerStream struct {
	call    *streamCall
	sent    chan struct{} // closed when the request was sent for the first time
	sending sync.Once     // close sent
	ready   chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	started bool
	request any

	// Set when ready is closed.
	attempt  *streamAttempt // the last one; nil if there was none
	err      error
	panicked any
	exited   bool
}

// defaultBuffer is how large a request is kept at most, in bytes, unless grpc.MaxRetryRPCBufferSize says otherwise. It is
// that of gRPC.
const defaultBuffer = 256 << 10

// SendMsg sends the request, and returns when that was done, or could not be done.
func (s *answerStream) SendMsg(m any) error {
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return status.Error(codes.Internal, "SendMsg called twice in a stream of the server")
	}
	s.started = true
	s.mu.Unlock()
	kept := s.keep(m)
	go s.run(kept)
	select {
	case <-s.sent:
		return nil
	case <-s.ready:
	}
	select {
	case <-s.sent:
		return nil // RecvMsg says what came of it
	default:
		return s.outcome()
	}
}

// keep sets the request to m, or to a copy that is there for another attempt, and reports whether there can be one.
func (s *answerStream) keep(m any) bool {
	s.request = m
	if !s.call.line.repeats {
		return true
	}
	message, ok := m.(proto.Message)
	if !ok {
		return true
	}
	most := defaultBuffer
	for _, opt := range s.call.opts {
		if opt, ok := opt.(grpc.MaxRetryRPCBufferSizeCallOption); ok {
			most = opt.MaxRetryRPCBufferSize
		}
	}
	if proto.Size(message) > most {
		return false
	}
	s.request = proto.Clone(message)
	return true
}

// run opens the stream.
func (s *answerStream) run(kept bool) {
	defer close(s.ready)
	returned := false
	defer func() {
		if !returned {
			s.panicked = recover() // on its way to the caller
			s.exited = s.panicked == nil
		}
	}()
	var tried atomic.Bool
	s.attempt, s.err = s.call.open(func(ctx context.Context) (*streamAttempt, error) {
		if tried.Swap(true) && !kept { // only a hedge comes so far
			return nil, &policy.Rejection{Kind: "stream", Reason: ErrCommitted}
		}
		a := s.call.newAttempt(ctx)
		defer a.cancelUnlessOpen()
		err := s.exchange(a)
		if err == nil {
			return a.opened(), nil
		}
		err = a.failed(a.ctx, err)
		if f, ok := err.(*failure); ok && !kept { //nolint:errorlint // what failed returns
			f.finally(ErrCommitted)
		}
		return a, err
	})
	returned = true
}

// exchange opens the stream, sends the request and waits for the headers.
func (s *answerStream) exchange(a *streamAttempt) error {
	if err := a.begin(); err != nil {
		return err
	}
	if err := a.ClientStream.SendMsg(s.request); err != nil && err != io.EOF { //nolint:errorlint // the very value
		return err
	}
	if err := a.ClientStream.CloseSend(); err != nil && err != io.EOF { //nolint:errorlint // the very value
		return err
	}
	s.sending.Do(func() { close(s.sent) })
	header, err := a.ClientStream.Header()
	if err != nil || header != nil {
		return err
	}
	// The stream has ended without headers, and RecvMsg knows how.
	switch err := a.ClientStream.RecvMsg(new(emptypb.Empty)); err {
	case nil:
		return status.Error(codes.Internal, "policygrpc: an interceptor has returned a stream with messages and no headers")
	case io.EOF:
		a.ended = io.EOF
		return nil
	default:
		return err
	}
}

// outcome returns how the opening has ended, on the goroutine of the caller.
func (s *answerStream) outcome() error {
	switch {
	case s.panicked != nil:
		panic(s.panicked)
	case s.exited:
		return status.Error(codes.Internal, "policygrpc: an interceptor has called runtime.Goexit")
	}
	return s.err
}

// wait waits until the stream is open, or cannot be opened.
func (s *answerStream) wait() error {
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if !started {
		return status.Error(codes.Internal, "a stream of the server is read before its request was sent")
	}
	<-s.ready // the goroutine ends with the context, too
	return s.outcome()
}

// RecvMsg receives a message.
func (s *answerStream) RecvMsg(m any) error {
	if err := s.wait(); err != nil {
		return err
	}
	if s.attempt.ended != nil {
		return s.attempt.ended
	}
	return s.attempt.RecvMsg(m)
}

// Header returns the headers of the answer. When there are none because the stream has ended, RecvMsg knows how.
func (s *answerStream) Header() (metadata.MD, error) {
	err := s.wait()
	switch {
	case s.attempt == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return nil, err
	case err != nil || s.attempt.ended != nil:
		return nil, nil
	}
	return s.attempt.Header()
}

// Trailer returns the trailers, once RecvMsg has returned an error.
func (s *answerStream) Trailer() metadata.MD {
	select {
	case <-s.ready:
	default:
		return nil
	}
	if s.attempt == nil || s.attempt.ClientStream == nil {
		return nil
	}
	return s.attempt.Trailer()
}

// CloseSend does nothing: the request is all that is sent.
func (s *answerStream) CloseSend() error { return nil }

// Context returns the context of the stream.
func (s *answerStream) Context() context.Context {
	select {
	case <-s.ready:
		if s.err == nil && s.attempt != nil {
			return s.attempt.Context()
		}
	default:
	}
	return s.call
}
