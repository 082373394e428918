package retry

import (
	"context"
	"errors"

	"github.com/go-resilience/resilience/internal/idempotence"
)

// Idempotent returns a context that says that its operation may be done more than once, even at the same time. It
// takes back a [NotIdempotent] set outside it. A Retrier also repeats operations whose context says nothing: to compose
// one is to say so. A hedge does not.
func Idempotent(ctx context.Context) context.Context {
	return idempotence.With(ctx, idempotence.AtOnce)
}

// NotIdempotent returns a context that says that its operation must not be done twice, such as a payment without a
// key that makes it recognisable. An attempt that entered the operation is then not retried, even if it timed out or
// lost its connection: nobody can know how far it came. The exception is an error that says that nothing was sent;
// see [NotSent]. An attempt that a policy refused did not enter the operation, and is not affected.
//
// The mark holds for everything that is called with the context: an operation that makes further calls, which may be
// repeated, takes it back with [Idempotent].
func NotIdempotent(ctx context.Context) context.Context {
	return idempotence.With(ctx, idempotence.No)
}

// NotSent marks err as the failure of an attempt that has had no effect, because the request never left: the name was
// not resolved, the connection was refused. Only then may a [NotIdempotent] operation be repeated. An error from
// elsewhere says the same with a method NotSent() bool.
//
// The mark is found through plain wrapping only. Of two errors that are joined, one may have been sent. NotSent(nil)
// is nil.
func NotSent(err error) error {
	if err == nil {
		return nil
	}
	return &notSent{err}
}

type notSent struct{ err error }

func (n *notSent) Error() string { return n.err.Error() }
func (n *notSent) Unwrap() error { return n.err }
func (n *notSent) NotSent() bool { return true }

// repeatable reports whether the operation of ctx may be done again after an attempt that failed with err.
func repeatable(ctx context.Context, err error) bool {
	mark, marked := idempotence.Of(ctx)
	return !marked || mark != idempotence.No || saysNotSent(err)
}

// saysNotSent reports whether err is marked as NotSent says.
func saysNotSent(err error) (is bool) {
	defer func() {
		if recover() != nil { // a method of the error has panicked: it says nothing
			is = false
		}
	}()
	for ; err != nil; err = errors.Unwrap(err) {
		if marked, ok := err.(interface{ NotSent() bool }); ok && marked.NotSent() {
			return true
		}
	}
	return false
}
