package policyredis

import (
	"slices"
	"sync"
	"time"
)

// account is what this process knows of the debt in Redis, which the answers tell, and what it has taken there and not used.
// The lock is held for a few instructions only, and never while the store is asked.
//
// What was taken for an attempt that was not made pays for others. It is worth the amount less the time since it was taken. Say
// an attempt takes 100 ms at t = 0 and is not made, and at t = 30 ms another one costs 100 ms: the refund pays 70 ms of it, and
// 30 ms are taken in Redis. Then is owed there:
//
//	owed by others at t = 0             0 ms    20 ms    50 ms
//	owed after the second attempt     100 ms   120 ms   150 ms
//	had the first one never been      100 ms   100 ms   120 ms
//
// It is never less than in the last line. The two debts differ by 100 ms at first, and come closer only while the smaller one
// is 0, by a nanosecond in each: by t = 30 ms they differ by 70 ms at least, which is what the refund pays. That holds for each
// refund, whatever else was taken by whomever and was not used. So processes need not know of each other's refunds, and no
// window holds more than the limit.
type account struct {
	mu         sync.Mutex
	paid       time.Duration // when, by the process's clock, the debt will be paid, at the earliest
	generation uint64        // of the configuration for which the refunds are
	refunds    []time.Duration
}

// maxRefunds bounds the refunds of an account. Of more, those that are worth the most are kept.
const maxRefunds = 32

// known returns when the debt will be paid, at the earliest.
func (a *account) known() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paid
}

// idle reports whether nothing is known of.
func (a *account) idle(now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(now)
	return a.paid <= now && len(a.refunds) == 0
}

// expire drops the refunds that are worth nothing any more. A refund is the moment from which on that is so; they are in order.
// It is called with the lock held.
func (a *account) expire(now time.Duration) {
	n := 0
	for n < len(a.refunds) && a.refunds[n] <= now {
		n++
	}
	a.refunds = slices.Delete(a.refunds, 0, n)
}

// spend takes up to amount out of the refunds, those first that are worth the least. Refunds from before the configuration was
// changed are gone: they are worth so many tokens of another limit.
func (a *account) spend(now time.Duration, amount int64, generation uint64) (spent int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.reach(generation) {
		return 0
	}
	a.expire(now)
	for spent < amount && len(a.refunds) > 0 {
		worth := int64(a.refunds[0] - now)
		if rest := amount - spent; worth > rest {
			a.refunds[0] -= time.Duration(rest)
			return amount
		}
		spent += worth
		a.refunds = slices.Delete(a.refunds, 0, 1)
	}
	return spent
}

// reach reports whether a generation is the newest so far. A newer one begins without refunds. It is called with the lock held.
func (a *account) reach(generation uint64) bool {
	if generation > a.generation {
		a.generation, a.refunds = generation, nil
	}
	return generation == a.generation
}

// giveBack notes that something was not used that is worth something until then.
func (a *account) giveBack(now, until time.Duration, generation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until <= now || !a.reach(generation) {
		return
	}
	a.expire(now)
	if len(a.refunds) == maxRefunds {
		if until <= a.refunds[0] {
			return
		}
		a.refunds = slices.Delete(a.refunds, 0, 1)
	}
	i, _ := slices.BinarySearch(a.refunds, until)
	a.refunds = slices.Insert(a.refunds, i, until)
}

// observe notes an answer. paid is when the debt will be paid by it, at the earliest; known is what was known when it was
// asked; lost says that there was less debt than that. It returns whether the store has forgotten something.
func (a *account) observe(paid, known time.Duration, lost bool) (forgotten bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if lost && a.paid == known { // no other answer has noted it yet
		a.paid, a.refunds = paid, nil
		return true
	}
	a.paid = max(a.paid, paid)
	return false
}

// returned notes that amount goes back to the store.
func (a *account) returned(amount int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paid -= time.Duration(amount)
}
