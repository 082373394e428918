// Package hedge makes slow calls fast: when an attempt takes too long, it starts another one, and the first success is
// the result of the call.
//
// A few percent of extra attempts cut the tail of the latency, as long as what makes an attempt slow does not make
// the next one slow too. The delay is fixed ([After]) or a live quantile of the latency ([Quantile]); extra attempts
// are bounded for each call ([Extra]) and for all calls together ([Limit]).
//
// # What may be hedged
//
// A hedged operation runs twice at the same time, so only idempotent work is hedged: calls whose context is marked
// with retry.Idempotent, or all calls of a Hedge that was made with [Idempotent]. Any other call passes through.
//
// # How a call ends
//
// The caller gets the first success at once. The attempts that lost are cancelled, with the cause [ErrLost], and are
// neutral for a breaker inside the hedge, which sees that their context was cancelled. They are not waited for: an
// attempt that ignores its context must not hold up the one that was started because of it. Those that are still on
// their way out are counted in [Snapshot], and bounded by [MaxRunning]. Their results go to [OnDiscard].
//
// When all attempts have failed, the caller gets their errors, see [Error]. When the caller's context ends, the
// attempts end with it; those that have not returned within 10 ms are left behind.
//
// A panic of any attempt, and [runtime.Goexit], reach the caller on its own goroutine: what it recovers is the very
// value, and a crash prints the stack of the attempt as well. After the call has ended, a panic is contained, counted
// and handed to [OnPanic].
package hedge
