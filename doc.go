// Package resilience composes call policies into one pipeline, so that a service survives a sick dependency without
// making it sicker.
//
//	backend := resilience.Compose(
//		timeout.Total(2*time.Second),
//		retry.New(retry.Attempts(4)),
//		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20)),
//		ratelimit.New(100, 10),
//		bulkhead.New(16),
//		timeout.PerAttempt(300*time.Millisecond),
//	)
//	user, err := resilience.Do(ctx, backend, fetchUser)
//
// [Compose] puts the layers in their canonical order, whatever the order of its arguments: retries stand outside the
// breaker and consult it before they sleep and again after, so an open breaker ends a call at once. [Do] infers the
// type of the result from the operation, so one pipeline, made once, serves every call to a dependency.
//
// # Calls
//
// [Do] runs an operation that has a result, [Run] one that has none, and [Open] one whose result is used after it has
// returned, such as the body of a response: its slot stays taken and its context lives until the permit is settled.
// [Pipeline.Acquire] is for work that is no function. [For] is the typed face of a pipeline, for injection.
//
// # What errors mean
//
// [Classify] says once, for all policies of a pipeline, what the errors of its operations mean. Every refusal matches
// [policy.ErrRejected]; [policy.RetryAfter] and [policy.Code] say more.
//
// # What happens
//
// [Name] names a pipeline in its events and reports, [Observe] hands its events to observers, and [Pipeline.Report]
// says what each of its layers is and does now. A [Source] is a pipeline that may be replaced while it is in use.
//
// # Policies
//
// The policies are in packages of their own: breaker, retry, ratelimit, bulkhead, timeout, hedge, throttle and fallback;
// keyed keeps one for each key. The contract that they implement, and that a policy of yours can implement, is package
// policy; package policytest checks it.
package resilience
