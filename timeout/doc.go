// Package timeout bounds how long a call, or each attempt of it, may take.
//
// [Total] bounds all attempts of a call and all waits between them; [PerAttempt] bounds one attempt. They are two
// constructors because they stand at two places: the first outside retry, the second around the operation alone, so
// that waiting for a token or a slot is not blamed on the dependency. [FromLatency] is a timeout for each attempt that
// follows the latency of the dependency.
//
// A timeout is cooperative: when it expires, the context of the operation ends, with the timeout's own error as its
// cause, and the timeout waits for the operation to return. An operation that ignores its context is not cut short,
// but neither is it left running behind the caller's back. When the operation returns an error after the expiry, the
// caller gets an error that matches [ErrTimeout] and [context.DeadlineExceeded] and still unwraps to the operation's
// error; a success stands. The caller's own cancellation or deadline passes through unchanged.
//
// # Results that outlive the operation
//
// With resilience.Do the derived context ends when the operation returns. What still needs it then, such as the body of
// an HTTP response, is opened with resilience.Open: the attempt timeout then bounds the operation and is lifted when it
// has returned, while the total timeout bounds the reading too.
//
// # Operations that ignore their context
//
// [Abandon] is for those that cannot be mended. It returns when the time is over, leaves the operation behind, and
// counts it. It stands outside the bulkhead, so that what is left behind keeps its slot.
package timeout
