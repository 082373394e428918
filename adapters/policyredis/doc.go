// Package policyredis is a rate limit that many processes share, through Redis 6.2 or later, Valkey, or a Redis Cluster.
//
//	api := policyredis.New(client, "partner-api", 100, 20, policyredis.FailLocal(10)) // 100 per second for all 10 processes
//	backend := resilience.Compose(retry.New(), breaker.New(), api)
//
//	clients := policyredis.NewPerKey(client, 10, 20, tenantOf) // 10 per second for each tenant
//
// client is the one that the application already has, from go-redis, rueidis or valkey-go; see [Scripter]. This package
// links none of them.
//
// # What it promises
//
//   - In each window of length w, the attempts of all processes together take at most burst + rate·w tokens, as long as
//     the store keeps its data: see [docs/redis.md] for what a failover can cost. The server's clock counts; those of
//     the processes do not matter.
//   - Each decision takes one round trip, with an atomic script, and a second one if the server does not know the
//     script, as after a restart.
//   - A decision takes at most the [Deadline], whatever the client's settings; see [TrustClient].
//   - A lost or malformed reply never admits an attempt. Tokens that the server took for it are lost.
//   - A rejection says exactly when to come back, by the server's clock. If coming back is of no use, it names no time.
//   - While the store does not answer, the failure mode decides: [FailLocal], the default, [FailOpen] or [FailClosed].
//     A breaker lets only one attempt in each [Probe] interval wait for the store. [Limiter.Report] says which mode is
//     in force and since when, and [OnChange] reports each change.
//   - Attempts that were admitted but never made, because an inner layer refused them, give their tokens back.
//
// A limiter is not a [policy.Gate]: a lack of tokens says nothing about the health of the dependency.
//
// [docs/redis.md]: https://github.com/go-resilience/resilience/blob/main/docs/redis.md
package policyredis
