package policyredis

import (
	"sync"
	"sync/atomic"
	"time"
)

// bucket is what this process keeps of one key.
type bucket struct {
	key    string   // in Redis
	keys   []string // as scripts take it
	shared bool     // by keys for which a [PerKey] has no place: nothing is kept that belongs to one key alone

	local  debt         // the process's own share, for when the store does not answer
	own    debt         // what this process has taken from the store, which owes at least as much
	pocket debt         // what was taken for attempts that were not made: part of that debt
	known  atomic.Int64 // when, by the process's clock, the debt in Redis will at the earliest be paid
	lot    lot
}

func newBucket(key string) *bucket { return &bucket{key: key, keys: []string{key}} }

// idle reports whether a new bucket would do the same.
func (b *bucket) idle(now time.Duration) bool {
	return b.local.at(now) == 0 && b.pocket.at(now) == 0 && b.lot.empty()
}

// debt is an amount, in nanoseconds, that falls by one in each nanosecond: the moment at which it is 0.
type debt struct{ until atomic.Int64 }

// at returns the amount at a moment.
func (d *debt) at(now time.Duration) int64 { return max(0, d.until.Load()-int64(now)) }

// change lets f make a new amount of the present one, and returns the moment at which that will be 0.
func (d *debt) change(now time.Duration, f func(amount int64) int64) (until time.Duration) {
	for {
		old := d.until.Load()
		amount := max(0, old-int64(now))
		changed := f(amount)
		if changed == amount {
			return time.Duration(max(old, int64(now)))
		}
		if d.until.CompareAndSwap(old, int64(now)+changed) {
			return now + time.Duration(changed)
		}
	}
}

// add adds amount.
func (d *debt) add(now time.Duration, amount int64) (until time.Duration) {
	return d.change(now, func(present int64) int64 { return present + amount })
}

// take adds amount if the debt then is at most capacity. An amount above the capacity, which would never fit, is added when
// there is no debt. Otherwise it returns how long to wait.
func (d *debt) take(now time.Duration, amount, capacity int64) (wait int64, until time.Duration) {
	until = d.change(now, func(present int64) int64 {
		if wait = max(0, present-max(0, capacity-amount)); wait > 0 {
			return present
		}
		return present + amount
	})
	return wait, until
}

// charge adds amount, up to capacity. It returns 0 when not all of it was added.
func (d *debt) charge(now time.Duration, amount, capacity int64) (until time.Duration) {
	whole := false
	until = d.change(now, func(present int64) int64 {
		whole = present+amount <= capacity
		return max(present, min(present+amount, capacity))
	})
	if !whole {
		return 0
	}
	return until
}

// remove takes out what an amount is worth that was added and not used.
func (d *debt) remove(now, until time.Duration, amount int64) {
	d.change(now, func(present int64) int64 { return max(0, present-worth(now, until, amount)) })
}

// spend takes up to amount out, and returns how much.
func (d *debt) spend(now time.Duration, amount int64) (spent int64) {
	d.change(now, func(present int64) int64 {
		spent = min(present, amount)
		return present - spent
	})
	return spent
}

// worth is what is there because an amount that was added to a debt was not used after all. until is when the debt, as of right
// after that, is paid. Had the amount never been added, the debt would be less by the smallest that it has been since, and it
// falls by one nanosecond in each. So all of it is worth something up to then; of several amounts the latest are worth
// most; and together they are never worth more than the debt.
func worth(now, until time.Duration, amount int64) int64 {
	return max(0, min(amount, int64(until-now)))
}

// lot is tokens that were taken from Redis at once, for attempts to come.
type lot struct {
	mu      sync.Mutex
	tokens  int64
	filling bool        // somebody asks for more
	timer   *time.Timer // that looks after it; nil when there is none

	refused     int64         // a cost that was refused, 0 for none
	refusedTill time.Duration // until when it would be refused again
}

func (l *lot) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tokens == 0 && l.timer == nil && !l.filling
}
