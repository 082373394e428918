// Package policy is the contract of the library: what a call policy is, what it may rely on, and what it must do.
// It imports nothing but the standard library and should hardly ever change.
//
// # Words
//
// A call is one use of a pipeline; an attempt is one try of the operation inside a call; the operation is the
// caller's function. A guard admits an attempt and later hears how it ended. A rejection is a guard's refusal: the
// operation was not entered. An outcome is what an admitted attempt ended with. A gate is a guard that can be asked,
// without consequence, whether it would refuse now.
//
// # State has no T; calls have T
//
// A breaker's state or a bulkhead's slots do not depend on what a call returns. So everything that can be composed is
// a [Layer] without type parameters, and the type of the result appears only in [Func] and [Policy]. One pipeline
// serves every method of a dependency.
//
// # Writing a policy
//
// Implement [Guard] if the policy admits or refuses ([Gate] too, if it judges the dependency to be down),
// [Repeater] if it decides about another attempt, [Wrapper] if it must run the attempts itself. The comments of these
// interfaces are the contract, rule by rule. No policy cleans up after itself with defer: the engine settles every
// admitted guard exactly once, whether the operation returns, panics, calls [runtime.Goexit], or is refused further in.
package policy
