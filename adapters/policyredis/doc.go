// Package policyredis is a rate limit that many processes share, through Redis 6.2 or later, Valkey, or a Redis Cluster.
//
//	api := policyredis.New(client, "partner-api", 100, 20, policyredis.FailLocal(10)) // 100 per second for all 10 processes
//	backend := resilience.Compose(retry.New(), breaker.New(), api)
//
//	clients := policyredis.NewPerKey(client, 10, 20, tenantOf) // 10 per second for each tenant
//
// client is what the application has already, of go-redis, rueidis or valkey-go; see [Scripter]. This package links none.
//
// # What it promises
//
//   - In each window of length w at most burst + rate·w of the attempts of all processes take their tokens, while the store
//     keeps what it was told: see [docs/redis.md] for what a failover can cost. The clock is the server's; those of the
//     processes do not matter.
//   - One round trip per decision, by a script that is atomic. When the server does not know the script, as after a restart,
//     a second one.
//   - A decision takes the [Deadline] at most, whatever the client's settings; see [TrustClient].
//   - A reply that is lost or makes no sense never admits. Tokens that the server has taken for it are lost.
//   - A rejection says exactly when to come back, by the server's clock. When coming back is of no use, it says no time.
//   - While the store does not answer, the failure mode decides: [FailLocal], the default, [FailOpen] or [FailClosed]. A
//     breaker keeps all attempts but one in each [Probe] interval from waiting for it. [Limiter.Report] says which mode is in
//     force and since when, and [OnChange] hears of each change.
//   - Tokens of attempts that were admitted and never made, because a layer inside has refused, go back.
//
// A limiter is no [policy.Gate]: that there is no token now says nothing about the health of the dependency.
//
// [docs/redis.md]: https://github.com/go-resilience/resilience/blob/main/docs/redis.md
package policyredis
