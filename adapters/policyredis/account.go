package policyredis

import (
	"sync"
	"time"
)

// account is what this process knows of the debt in Redis, and its refunds. The lock is held for a few instructions only, and
// never while the store is asked.
type account struct {
	mu         sync.Mutex
	paidAt     moment // when the debt will be paid, at the earliest; 0 if the store has said nothing yet
	generation uint64 // of the configuration whose tokens the refunds are
	refunds    refunds
}

// debtPaidAt returns when the debt will be paid, at the earliest, and 0 if the store has said nothing yet.
func (a *account) debtPaidAt() moment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paidAt
}

// idle reports whether a new account would do the same.
func (a *account) idle(now moment) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refunds.expire(now)
	return a.paidAt <= now && len(a.refunds) == 0
}

// spend takes up to an amount out of the refunds.
func (a *account) spend(now moment, most amount, generation uint64) (spent amount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin(generation)
	if generation < a.generation {
		return 0
	}
	return a.refunds.spend(now, most)
}

// giveBack notes a refund that is worth something until a moment, if that is not past.
func (a *account) giveBack(now, until moment, generation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until <= now {
		return
	}
	a.begin(generation)
	if generation == a.generation {
		a.refunds.add(now, until)
	}
}

// begin drops the refunds if the generation is a newer one: they are tokens of another limit. It is called with the lock held.
func (a *account) begin(generation uint64) {
	if generation > a.generation {
		a.generation, a.refunds = generation, nil
	}
}

// hear notes an answer. It reports whether the store has forgotten something. The debt that the process knew of when it asked
// falls with time; if less of it is there, and by more than slack, the store has lost it.
//
// Say a token takes 100 ms, and slack is 11 ms. At t = 0 an attempt is admitted by a store without debt: the process knows of
// 100 ms. The next attempt asks at t = 30 ms, and the answer is here at t = 32 ms. The store has looked before that, so at
// least 100 - 32 - 11 = 57 ms must have been left:
//
//	the store says 69 ms    nothing is lost; known now: 69 + 100 ms of debt at t = 30 ms, so it is paid at t = 199 ms
//	the store says 0 ms     it has forgotten; known now: 0 + 100 ms of debt at t = 30 ms, so it is paid at t = 130 ms
func (a *account) hear(now moment, r request, heard answer, slack amount) (forgotten bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	paidAt := r.sent.plus(heard.debt + heard.taken)
	lost := heard.debt < now.until(r.knownPaidAt)-slack
	if lost && a.paidAt == r.knownPaidAt { // else another answer has told of it already
		a.paidAt, a.refunds = paidAt, nil
		return true
	}
	a.paidAt = max(a.paidAt, paidAt)
	return false
}

// returned notes that the rest of a lot goes back to the store.
func (a *account) returned(rest amount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paidAt = a.paidAt.plus(-rest)
}

// slack is how much of the known debt may be missing though nothing was lost: clocks of two machines differ a little in their
// pace, and lots of other processes go back.
func (c *config) slack() amount {
	paces := amount(10*time.Millisecond) + c.quota.capacity/1000
	switch {
	case c.lotSize == 0:
		return paces
	case c.failureMode == Local:
		return paces + c.quota.amountOf(c.lotSize).times(c.peers)
	}
	return c.quota.capacity // nobody has said how many processes there are
}
