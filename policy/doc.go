// Package policy is the contract of the library: what call policies are, what they promise, and what they must do. It
// imports nothing but the standard library and should hardly ever change.
//
// # For those who make calls
//
// [Func] is an operation and [Policy] something that runs operations. [Check] turns a result that means failure into an
// error.
//
// Errors answer four questions. [ErrRejected]: was the operation refused? [RetryAfter]: when is it worth trying again?
// [Code]: where in the pipeline did the call end? [ClassOf]: what does an error say about the dependency? A [Class] is the
// one judgement that all policies of a pipeline share; give it with resilience.Classify, or by a method Class of your
// errors.
//
// An error of yours can answer more, by methods that are looked for in its tree, NotSent through plain wrapping only:
//
//	Class() Class                       what it means to every policy                                    ClassOf
//	Code() string                       a short word for headers, logs and labels                        Code
//	RetryAfter() (time.Duration, bool)  how long a retry must wait at least                              RetryAfter
//	Pushback() bool                     that wait replaces the delay, even if it is shorter              retry.MaxRetryAfter
//	NotSent() bool                      nothing was done: also what is not idempotent may be tried again retry.NotSent
//	Live() bool                         there is something to be read still, such as the body of a 503   resilience.Open
//
// A [Permit] is an admission without a function: [Acquire] for a single guard, resilience.Open and Pipeline.Acquire for a
// pipeline. [NoWait] makes one call refuse where it would queue. [At] moves a layer to another place.
//
// An [Observer] is told of each [Event]; a [Report] says what a layer is and does now.
//
// # For those who write policies
//
// A call is one use of a pipeline; an attempt is one try of the operation inside a call. State has no type parameter, only
// calls have: everything that can be composed is a [Layer], and one pipeline serves every method of a dependency.
//
// Implement [Guard] if the policy admits or refuses, [Repeater] if it decides about another attempt, and [Wrapper] if it
// must run the attempts itself. The comments of these interfaces are the contract, rule by rule, and package policytest
// checks them. No policy cleans up after itself with defer: the engine settles every admitted guard exactly once, whether
// the operation returns, panics, calls [runtime.Goexit], or is refused by a layer inside.
//
// What a layer implements in addition is found by type assertion (optional.go):
//
//	Gate, Notifier      it can be asked whether it would refuse now; retries ask before they sleep
//	Returner, Lifter    it counts, or bounds, up to the moment the operation returns (resilience.Open)
//	Opener, Discarder   a wrapper whose winner's result stays open; that releases the results that lost
//	Budget, BudgetUser  it pays for extra attempts
//	Checker             it knows whether it fits the layers around it
//	Idler               a registry may forget it only while it is idle
//	TimeLimiter         it bounds time
//	Composite           it is made of layers, as a pipeline is
//	Reporter            it says what it is and does; see report.go, also for StateReporter
package policy
