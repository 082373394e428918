// Package keyed keeps one policy, or one pipeline, per key: per host, per shard, per tenant.
//
//	hosts := keyed.New(func(host string) *resilience.Pipeline {
//		return resilience.Compose(retry.New(), breaker.New(), bulkhead.New(16))
//	}, keyed.Max(1000), keyed.Idle(time.Hour))
//
//	user, err := resilience.Do(ctx, hosts.Get(host), fetchUser)
//
// [By] makes a single guard of a registry, which can be composed into a pipeline with others: a
// shared retry around a breaker per host.
//
// # Bounds
//
// Keys often come from outside, so everything about them is bounded. A registry holds at most [Max]
// keys, and a key at most [MaxKeyLength] bytes. When a registry is full, a new key takes the place
// of one that was not used lately and whose value is idle: a new one would do the same, see
// [policy.Idler]. An open breaker, an exhausted limiter and a bulkhead with calls in flight keep
// their places, however many new keys come. When there is no place, the key uses the overflow
// value, which is shared by all keys without a place. They are still protected, as strictly as a
// single key, and the keys that have a place do not notice.
//
// A key that finds a place only after it has used the overflow value can, for a while, have calls
// in flight on both. A key never gets more than its own value admits plus what it has got from the
// overflow value and not settled yet.
//
// There is no goroutine, no timer and no scan: each use does a bounded part of the cleaning.
//
// Keys are never formatted, and appear in no error, no event, no report, no Snapshot and no String
// of this package. A function that names a policy after its key decides to do so. Such a name
// should not become a label of a metric, since the number of series would be the number of keys.
package keyed
