package policyhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// responseBody is the body of a response as the caller gets it. It settles the permit when it is done with.
type responseBody struct {
	inner   io.ReadCloser
	attempt *attempt       // nil until the response is delivered
	permit  *policy.Permit // nil if there is nothing to settle
	closed  atomic.Bool
}

// Read implements [io.Reader].
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.inner.Read(p)
	if err != nil {
		err = b.afterRead(err)
	}
	return n, err
}

// afterRead settles the permit after a Read that was the last one, and returns its error.
func (b *responseBody) afterRead(err error) error {
	switch {
	case err == io.EOF: //nolint:errorlint // a Reader returns the very value
		b.settle(nil)
		return err
	case b.closed.Load(): // the caller has closed it meanwhile
		return err
	}
	err = b.withCause(err)
	b.settle(err)
	return err
}

// withCause returns err so that it says which timeout of the pipeline ended the body, if one did.
func (b *responseBody) withCause(err error) error {
	ctx := b.permit.Context()
	if ctx.Err() == nil || b.attempt.call.Context.Err() != nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, cause) || !errors.Is(cause, context.DeadlineExceeded) {
		return err
	}
	return &bodyError{cause: cause, err: err}
}

// settle settles the permit, once.
func (b *responseBody) settle(err error) { b.permit.Done(err) }

// Close implements [io.Closer].
func (b *responseBody) Close() error {
	b.closed.Store(true)
	defer b.attempt.closeRequestBodies()
	defer b.settle(nil)
	return b.inner.Close()
}

// face returns the body as what it is to the caller: one that can be written to if the connection was handed over.
func (b *responseBody) face() io.ReadCloser {
	writer, ok := b.inner.(io.Writer)
	if !ok {
		return b
	}
	w := writableBody{b, writer}
	if _, ok := b.inner.(interface{ CloseWrite() error }); ok {
		return halfClosableBody{w}
	}
	return w
}

// bodyOf returns what a body was made of, nil if it is not one of this package.
func bodyOf(body io.ReadCloser) *responseBody {
	switch body := body.(type) {
	case *responseBody:
		return body
	case writableBody:
		return body.responseBody
	case halfClosableBody:
		return body.responseBody
	}
	return nil
}

// writableBody is a connection that was handed over, after 101 Switching Protocols. It is in use until it is closed:
// when nothing more can be read, there may still be something to write.
type writableBody struct {
	*responseBody
	writer io.Writer
}

// Read implements [io.Reader].
func (b writableBody) Read(p []byte) (int, error) { return b.inner.Read(p) }

// Write implements [io.Writer].
func (b writableBody) Write(p []byte) (int, error) { return b.writer.Write(p) }

// halfClosableBody is one whose direction to the server can be closed alone.
type halfClosableBody struct{ writableBody }

// CloseWrite closes the direction to the server.
func (b halfClosableBody) CloseWrite() error {
	return b.inner.(interface{ CloseWrite() error }).CloseWrite()
}

// bodyError is an error of reading a body that a timeout of the pipeline has ended.
type bodyError struct{ cause, err error }

func (e *bodyError) Error() string   { return fmt.Sprintf("%v: %v", e.cause, e.err) }
func (e *bodyError) Unwrap() []error { return []error{e.cause, e.err} }
func (e *bodyError) Timeout() bool   { return true }
func (e *bodyError) Temporary() bool { return true }
