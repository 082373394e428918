package policyredis

import (
	"sync/atomic"
	"time"
)

// bucket is what this process keeps of one key.
type bucket struct {
	key    string   // in Redis
	keys   []string // as scripts take it
	shared bool     // by keys for which a [PerKey] has no place: nothing is kept that belongs to one key alone

	local   share // the process's own, for when the store does not answer
	account account
	lot     lot
}

func newBucket(key string) *bucket {
	return &bucket{key: key, keys: []string{key}}
}

// idle reports whether a new bucket would do the same.
func (b *bucket) idle(now time.Duration) bool {
	return b.local.at(now) == 0 && b.account.idle(now) && b.lot.empty()
}

// tokens returns how many tokens there are, at most, by what the store has said last, and false if it has said nothing.
func (b *bucket) tokens(cfg *config, now time.Duration) (tokens int64, known bool) {
	paid := b.account.known()
	return (cfg.capacity - max(0, int64(paid-now))) / cfg.unit, paid != 0
}

// share is the process's own bucket, as what is missing in it: a debt that falls by one nanosecond in each, kept as the moment at
// which it is 0.
type share struct{ until atomic.Int64 }

// at returns the amount at a moment.
func (s *share) at(now time.Duration) int64 { return max(0, s.until.Load()-int64(now)) }

// change lets f make a new amount of the present one.
func (s *share) change(now time.Duration, f func(amount int64) int64) {
	for {
		old := s.until.Load()
		amount := max(0, old-int64(now))
		changed := f(amount)
		if changed == amount || s.until.CompareAndSwap(old, int64(now)+changed) {
			return
		}
	}
}

// take adds amount if the debt then is at most capacity. An amount above the capacity, which would never fit, is added when
// there is no debt. Otherwise it returns how long to wait.
func (s *share) take(now time.Duration, amount, capacity int64) (wait int64) {
	s.change(now, func(present int64) int64 {
		if wait = max(0, present-max(0, capacity-amount)); wait > 0 {
			return present
		}
		return present + amount
	})
	return wait
}

// charge adds amount, up to capacity. It reports whether all of it was added.
func (s *share) charge(now time.Duration, amount, capacity int64) (whole bool) {
	s.change(now, func(present int64) int64 {
		whole = present <= capacity-amount
		return max(present, min(present+amount, capacity))
	})
	return whole
}

// remove takes out what an amount is worth that was added at start and not used: the amount less what would have been paid of
// it since had it been the only one. Several amounts that were added at the same time may be worth more; the share of a process
// need not be that exact.
func (s *share) remove(now, start time.Duration, amount int64) {
	worth := max(0, amount-int64(now-start))
	s.change(now, func(present int64) int64 { return max(0, present-worth) })
}
