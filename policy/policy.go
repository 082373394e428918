package policy

import "context"

// Func is an operation: the function whose calls are protected.
//
// An operation should return soon after its context has ended; policies that bound time rely on it. It may be called
// several times, one after the other (retry) or at the same time (hedge), if such a layer is in the pipeline.
type Func[T any] func(ctx context.Context) (T, error)

// Policy runs operations whose result is a T, under whatever protection it stands for.
//
// Implementations must be safe for concurrent use. Do must not be called with a nil context or a nil operation:
// the policies of this library panic, naming the argument.
type Policy[T any] interface {
	// Do runs op and returns its result, or the zero T and an error when op was refused.
	Do(ctx context.Context, op Func[T]) (T, error)
}

// OpenPolicy is a [Policy] whose results can stay open: what resilience.For returns is one.
type OpenPolicy[T any] interface {
	Policy[T]

	// Open is Do for a result that outlives the operation. The permit, which is nil when there is an error, must be
	// settled when the result is done with.
	Open(ctx context.Context, op Func[T]) (T, *Permit, error)
}

// Check returns an operation that runs op and, when op succeeds, lets check look at the result. A non-nil error of
// check becomes the error of the operation, beside the value. It is the way to say that a result means failure, at
// the place where the call is written:
//
//	resp, permit, err := resilience.Open(ctx, backend, policy.Check(send, func(r *http.Response) error {
//		if r.StatusCode >= 500 {
//			r.Body.Close() // nobody else will see this response
//			return fmt.Errorf("status %d", r.StatusCode)
//		}
//		return nil
//	}))
//
// A check that fails should release what the value holds, such as the body of a response: if there is another attempt,
// the caller never gets it. Check panics when op or check is nil.
func Check[T any](op Func[T], check func(T) error) Func[T] {
	if op == nil {
		panic("policy: Check with a nil operation")
	}
	if check == nil {
		panic("policy: Check with a nil check")
	}
	return func(ctx context.Context) (T, error) {
		value, err := op(ctx)
		if err == nil {
			err = check(value)
		}
		return value, err
	}
}
