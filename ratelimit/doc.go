// Package ratelimit bounds how many attempts begin per second, with a token bucket, as a dependency's quota or fair
// share asks for.
//
//	api := ratelimit.New(100, 10)                                 // 100 per second, 10 at once; the next is refused
//	api := ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)) // or waits for its token, at most one second
//	api := ratelimit.Per(5000, time.Hour, 100)                    // 5000 per hour, 100 at once
//	api := ratelimit.New(100, 10, ratelimit.Shadow())             // refuses nothing, counts what it would refuse
//
// A quota for each of very many clients, tenants or addresses is a [PerKey]:
//
//	clients := ratelimit.NewPerKey(10, 20, clientOf, ratelimit.Keys(1_000_000)) // 10 per second, 20 at once, for each
//
// A rate limit bounds attempts per time, whatever they take; package bulkhead bounds attempts at the same time. When
// latency doubles, a rate limit lets twice as many pile up, and a bulkhead lets half as many through.
//
// # What it promises
//
//   - In every window of length w, at most burst + rate·w of the attempts that are made begin, exact to the rounding
//     of a float64. A clock that goes back hands out nothing.
//   - Attempts that wait are served in the order in which they came.
//   - An attempt whose wait cannot fit [MaxWait], or the deadline of its context, is refused at once and takes nothing.
//   - An attempt that leaves the queue costs nothing, and those behind it move up. The token of an attempt that was
//     admitted here and then refused by a layer inside, so that the operation was never entered, goes back and can be
//     used at once. It is worth what would be there had it never been taken.
//   - A rejection says why ([ErrMaxWait], [ErrDeadline], …) and exactly when to come back: a call just before that
//     moment would be refused too, one at that moment would not, if no other comes. (Behind others that wait it is exact
//     to a nanosecond for each of them.) When coming back is of no use, it says no time.
//   - Admission takes one reading of the clock and allocates nothing.
//
// # Per key
//
// A [PerKey] is the generic cell rate algorithm (GCRA, ITU-T I.371) in integers: one word for each key, which says when its
// bucket will be full again. A key whose bucket is full is the same as one that was never seen, so it forgets without a
// goroutine, a timer or a scan. For each key, at most burst + rate·w attempts that are made begin in every window of length
// w, to the nanosecond, also in a flood of new keys: those that find no room share buckets, and no key gets more by
// going from such a bucket to one of its own or back. Two keys with the same 64 bits of hash, of which there are some among a
// million keys with a probability of 3 in 100 million, share one bucket.
//
// A limiter is no [policy.Gate]: that there is no token now says nothing about the health of the dependency.
package ratelimit

// Files: a [Limiter] is in ratelimit.go, its bucket in bucket.go, tokens.go and turn.go, those that wait in queue.go and
// waiting.go, its state in snapshot.go. A [PerKey] is in perkey.go, all but its keys in hashlimiter.go, its arithmetic in
// quota.go, its state in perkeysnapshot.go, and its words are in package keytable. Options and errors are common to both.
