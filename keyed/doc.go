// Package keyed keeps one policy, or one pipeline, per key: per host, per shard, per tenant.
//
//	hosts := keyed.New(func(host string) *resilience.Pipeline {
//		return resilience.Compose(retry.New(), breaker.New(), bulkhead.New(16))
//	}, keyed.Max(1000), keyed.Idle(time.Hour))
//
//	user, err := resilience.Do(ctx, hosts.Get(host), fetchUser)
//
// [By] makes a single guard of a registry, which can be composed into a pipeline with others: a shared retry around a
// breaker per host.
//
// # Bounds
//
// Keys often come from outside, so everything about them is bounded. A registry never holds more than [Max] keys, a key
// never more than [MaxKeyLength] bytes. When a registry is full, a new key takes the place of one that was not used lately,
// but only of a value that is idle: one that nobody would miss, because a new one would do the same (see [Idler]). An open
// breaker, an exhausted limiter and a bulkhead with calls in flight keep their place, whatever flood of new keys comes.
// When no place can be had, the key is refused: it gets the overflow value, which all refused keys share. They are still
// protected, as strictly as a single key, and those that have a place do not notice.
//
// There is no goroutine, no timer and no scan: each use does a bounded part of the cleaning.
//
// Keys are never formatted, and appear in no error, no event, no Snapshot and no String of this package. A function that
// names a policy after its key decides to do so; such a name should not become a label of a metric, since the number
// of series would be the number of keys.
package keyed
