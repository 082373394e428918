// Package breaker is a circuit breaker: it stops calling a dependency that is down, so that callers fail at once
// instead of waiting and the dependency gets room to recover.
//
//	db := breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second))
//	backend := resilience.Compose(retry.New(), db)
//	user, err := resilience.Do(ctx, backend, fetchUser)
//
// # States
//
// Closed: every attempt is admitted and its outcome counted. When a trip rule says so, the breaker opens. Open: every
// attempt is refused with an error that matches [ErrOpen], until the open time is over. Then the breaker is half-open:
// a few attempts, the probes, are admitted. A failed probe opens it again for a whole new period; enough successful
// ones close it. Open becomes half-open when an attempt comes, by the clock: there is no timer and no goroutine.
//
// Beside the state stands the mode: a breaker enforces, or it is in shadow ([Shadow]), refuses nothing, and counts what
// it would have refused.
//
// # Outcomes
//
// An attempt ends as a success, a failure or neutral ([policy.Outcome.Verdict]). Errors, panics, [runtime.Goexit] and
// exceeded deadlines are failures. Neutral, and in no count, are attempts that a policy inside refused and errors
// after the caller cancelled. The class of an error decides otherwise, see [policy.Class] and [Classify].
//
// Every attempt belongs to the generation it was admitted in. Whatever it ends with after the breaker has changed its
// state counts nowhere.
//
// # Cost
//
// While the breaker is closed, a success costs two atomic loads and one atomic addition: no lock and no allocation, and
// no clock reading unless there is a time window (one) or a slow-call rule (two). A success that is the first of a new
// bucket of a time window, and everything that is not a success, takes a lock for some ten nanoseconds. A refusal while
// open costs one clock reading and one atomic addition, and allocates nothing.
//
// A breaker has no goroutine and needs about 1.5 KiB, plus 24 bytes for each bucket of a time window, or 16 bytes for
// each call of a count window, plus 32 bytes for each probe in flight.
//
// # Inside
//
// A phase is the facts that hold from one change to the next. The core is the state machine, without lock or clock; half
// open is a part of it. Attempts that take no lock look at an era: a copy of the phase, and a count of successes. An era
// ends with any change of phase or configuration, a generation only when a state is entered.
//
// Everything else goes to the core, by update, under the lock: attempts that it must decide about, and settlements. A
// settlement says how an attempt ended. It is judged before the lock is taken, since that calls functions of the user. Only
// whether the attempt was slow is found out under the lock.
package breaker
