// Package retry makes another attempt after a failed one, when there is reason to hope and time to wait.
//
//	backend := resilience.Compose(
//		retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, 2*time.Second)),
//		breaker.New(),
//	)
//	user, err := resilience.Do(ctx, backend, fetchUser)
//
// # What is retried
//
// Errors whose class is Transient or Throttled, or that have none; see [policy.Class]. [If] decides otherwise for one
// Retrier. Errors marked with [Permanent], and those of a retry inside that gave up, are final. Nothing is retried
// after the caller's context has ended, and no rejection is: the policy that refused has just said that an
// attempt is pointless. A [policy.Gate] inside, such as a breaker, is asked before every wait and after it; when
// it refuses, the call ends at once.
//
// # How long it waits
//
// Delays come from a source (exponential, constant, a function, or any backoff.BackOff) and are then spread by jitter,
// so that clients which failed together do not come back together. An error that knows when the server wants to be asked
// again raises the delay. A delay that does not fit the deadline of the context is not slept: the call ends at once, with
// the operation's error.
//
// For a limit on the whole time, what other libraries call MaxElapsedTime, compose a timeout.Total: the Retrier does not
// sleep into it, and unlike such a limit it also cuts the attempt that is running.
//
// # How much it adds
//
// The number of attempts bounds a call, a budget bounds all calls together: 20 % of them, and 10 per second, unless
// configured otherwise. When everything fails, a dependency gets a fifth more load, and not three times as much. There
// are three kinds: a share of calls ([NewBudget]), of attempts in flight ([NewConcurrencyBudget]), and gRPC's retry
// throttling ([NewTokenBudget]).
//
// # What the caller gets
//
// The first success, or a [*Error] that says how many attempts were made and why there is no further one, and that
// unwraps to both the reason and the last error of the operation. A call whose first attempt is its last by its own
// nature (an error that is not retried, a refusal, Attempts(1)) gets the bare error. The value beside the error is that
// of the last attempt that entered the operation; earlier ones go to [OnDiscard].
package retry
