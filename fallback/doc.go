// Package fallback answers when a policy fails: with a fixed value ([Value]), with what a function makes of the error
// ([Func]), or with the last good result ([LastGood]).
//
// A fallback is typed, since it makes results, so it is not a layer of a pipeline but a [policy.Policy] around
// another one: around a whole pipeline, where it sees every way in which a call can fail. Inside a retry or a breaker
// it would turn failures into successes and so switch them off.
//
//	users := resilience.For[User](backend)
//	guest := fallback.Value(users, User{Name: "guest"})
//	user, err := guest.Do(ctx, fetchUser)
//
// A fallback does not run after a success, after a panic or [runtime.Goexit], which go on to the caller, and when the
// caller itself has cancelled, since the answer would not be used. It does run after the caller's deadline.
//
// [Policy.Open] is for results that outlive the operation, such as streams.
//
// Whether the call was refused by a policy, so that nothing was sent, or has failed at the dependency is in the error:
// errors.Is(err, policy.ErrRejected) tells. The error of a retry that a refusal has ended after failed attempts is both,
// and still unwraps to the last failure.
//
// Fallbacks are code that runs rarely, and then for all callers at once: keep them simple and local. One that calls
// another service needs a pipeline of its own.
package fallback
