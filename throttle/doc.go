// Package throttle rejects a growing share of attempts while a dependency accepts too few of them.
//
// It is the client-side adaptive throttling of the book "Site Reliability Engineering" (Google,
// 2016, chapter 21, "Handling Overload"), without a hard open state. Over a sliding window the
// throttle counts how many attempts were asked for (requests) and how many the dependency accepted
// (accepts), and rejects an attempt with the probability
//
//	max(0, (requests - K*accepts) / (requests + padding))
//
// The rejected attempts count as requests too, so the probability rises when callers insist. In the
// steady state the dependency gets K times as many attempts as it accepts, whatever is asked for:
// one that accepts 250 a second gets 500 with the default K of 2. One that accepts nothing still
// gets about [Padding] attempts per window, and so shows when it is well again. A window without
// attempts is empty: nothing of an outage is remembered after [Window].
//
// # What counts
//
// An attempt counts when it ends, by the class of its error. No error, and the classes
// [policy.Permanent] and [policy.Expected], mean accepted: the dependency did the work.
// [policy.Transient] and [policy.Throttled], a panic and [runtime.Goexit] mean not accepted. An
// error without a class is Transient. [policy.Ignored], the caller's own cancellation, and a
// refusal by a policy inside count as if the attempt had never been asked for. [Classify] judges
// for this throttle alone.
//
// For a result that stays open (resilience.Open) the success counts when the operation returns. If
// the work with the result fails later, that counts as one more request that was not accepted.
//
// An attempt in flight counts as a request that was not accepted once it is older than a bucket of
// the window; at the latest when it is older than two. So calls that hang do not stay unseen, and
// the first calls after a quiet time are not rejected only because none of them has ended yet.
//
// # Throttle or breaker
//
// A throttle suits a dependency that is overloaded: part of the load is what it can take, and the
// throttle finds that part. A breaker suits one that is down. A throttle comes back from an outage
// gradually, more slowly the more attempts are asked for. With the default options, after an outage
// of a minute, it rejects nothing any more after 65 seconds at 10 attempts a second, 103 at 100 and
// 149 at 1000. A shorter window makes that proportionally faster, and more [Padding] too. A
// pipeline should have a throttle or a breaker, not both.
package throttle
