// Package throttle refuses a growing share of attempts while a dependency accepts too few of them.
//
// It is the client-side adaptive throttling of the book "Site Reliability Engineering" (chapter 21, "Handling
// Overload"), for those who want no hard open state. Over a sliding window the throttle counts how many attempts were
// asked for (requests) and how many the dependency accepted (accepts), and refuses an attempt with the probability
//
//	max(0, (requests - K*accepts) / (requests + padding))
//
// The refused attempts count as requests too, so the probability rises when callers insist. In the steady state the
// dependency gets K times as many attempts as it accepts, whatever is asked for: one that accepts 250 a second gets 500
// with the default K of 2. One that accepts nothing still gets about [Padding] attempts per window, and so shows when
// it is well again. A window without attempts is empty: nothing of an outage is remembered after [Window].
//
// # What counts
//
// An attempt counts as accepted, or not, when it ends; see [policy.Outcome.Verdict]. By default every error means not
// accepted. Use [Classify] for errors that say nothing about load, such as "not found". Neutral outcomes (a refusal
// further in, the caller's own cancellation) count as if the attempt had never been asked for.
//
// An attempt in flight counts as a request that was not accepted once it is older than a bucket of the window; at the
// latest when it is older than two. So calls that hang do not stay unseen, and the first calls after a quiet time are
// not refused only because none of them has ended yet.
//
// # Throttle or breaker
//
// A throttle suits a dependency that is overloaded: part of the load is what it can take, and the throttle finds that
// part. A breaker suits one that is down. A throttle comes back from an outage gradually, more slowly the more attempts
// are asked for. With the default options, after an outage of a minute, it refuses nothing any more after 65 seconds at
// 10 attempts a second, 103 at 100 and 149 at 1000. A shorter window makes that proportionally faster, and more [Padding]
// too. A pipeline should have a throttle or a breaker, not both.
package throttle
