package policyredis

// target is what an attempt takes its tokens from: a key in Redis, and what this process keeps of it. Keys in the overflow have
// one bucket in common.
type target struct {
	keys   []string // what the key is called in Redis, as the script takes it
	bucket *bucket
}

// bucket is what this process keeps of one key.
type bucket struct {
	keys     []string // of a target
	overflow bool     // it is that of all keys for which a [PerKey] has no place; account and lot stay empty

	share   share
	account account
	lot     lot
}

func newBucket(key string) *bucket { return &bucket{keys: []string{key}} }

func (b *bucket) target() target { return target{keys: b.keys, bucket: b} }

// idle reports whether a new bucket would do the same.
func (b *bucket) idle(now moment) bool {
	return b.share.debt(now) == 0 && b.account.idle(now) && b.lot.idle()
}
