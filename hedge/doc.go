// Package hedge makes slow calls fast: when an attempt takes too long, it starts another one, and the first success is
// the result of the call.
//
// A few percent of extra attempts cut the tail of the latency, as long as what makes an attempt slow does not make
// the next one slow too. The delay is fixed ([After]) or a live quantile of the latency ([Quantile]); extra attempts
// are bounded for each call ([Extra]) and for all calls together ([Limit], [WithBudget]).
//
// # What may be hedged
//
// A hedged operation runs twice at the same time, so only idempotent work is hedged: calls whose context is marked
// with retry.Idempotent, or all calls of a Hedge that was made with [Idempotent]. Any other call passes through.
//
// # How a call ends
//
// The caller gets the first success at once. The attempts that lost are cancelled, with the cause [ErrLost], and are
// neutral for a breaker inside the hedge. They are not waited for: an attempt that ignores its context must not hold up
// the one that was started because of it. Those that still run are counted in [Snapshot], and bounded by [MaxRunning].
// Their results go to [OnDiscard].
//
// An error decides the call when another attempt would get the same: when its class is [policy.Permanent],
// [policy.Expected] or [policy.Ignored]. The caller gets it at once, and the other attempts have lost. A failure that is
// [policy.Transient] or [policy.Throttled], and a refusal, leave the decision to the attempts that still run. When all
// attempts have failed, the caller gets their errors, see [Error]. When the caller's context ends, the attempts end with
// it; those that have not returned within 10 ms are left behind.
//
// A panic of any attempt, and [runtime.Goexit], reach the caller on its own goroutine: what it recovers is the very
// value, and a crash prints the stack of the attempt as well. After the call has ended, a panic is contained, counted
// and handed to [OnPanic].
//
// # Results that outlive the operation
//
// With resilience.Open the context of the attempt that won lives until the permit is settled. The others end as with
// resilience.Do.
package hedge
