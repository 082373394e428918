package policyredis

import (
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/peaks"
)

// account is what this process knows of the debt in Redis, which the answers tell, and of what it has taken there and not
// used. The lock is held for a few instructions only, and never while the store is asked.
//
// What was taken for attempts that were not made is in the pocket, and pays for others. If all of the debt is known, then the
// debt less the pocket is what would be there had those attempts never been: what an attempt finds in the pocket it adds to
// that, and what goes into the pocket is what the tokens are worth. Of the debt a part may not be known. That errs on the
// safe side: tokens are worth more where there is more debt. So no window ever holds more than the limit.
type account struct {
	mu     sync.Mutex
	paid   time.Duration // when, by the process's clock, the debt will be paid, at the earliest
	pocket int64         // of that debt; never more than it
	peaks  peaks.Peaks   // of the debt less the pocket
}

// open makes a, which must be new, the account of somebody who knows nothing yet. What was taken before, by an account of
// this key that has been forgotten, is worth nothing, since its debt was paid. Numbers of takes tell it: they grow by less than
// one in each nanosecond.
func (a *account) open(now time.Duration, unit int64) {
	a.peaks.Little = float64(unit) / 100
	a.peaks.Takes = uint64(now)
	a.peaks.Take(1)
	a.peaks.See(0)
}

// debt returns what is owed, at least. It is called with the lock held.
func (a *account) debt(now time.Duration) int64 {
	debt := max(0, int64(a.paid-now))
	a.pocket = min(a.pocket, debt)
	return debt
}

// see notes the debt less the pocket as of now, before it becomes more. It is called with the lock held.
func (a *account) see(now time.Duration) { a.peaks.See(float64(a.debt(now) - a.pocket)) }

// known returns when the debt will be paid, at the earliest.
func (a *account) known() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paid
}

// idle reports whether no debt is known of.
func (a *account) idle(now time.Duration) bool { return a.known() <= now }

// spend takes up to amount out of the pocket, as long as the debt less the pocket stays within the capacity: it can be more
// when the limit was another one before. number is that of the take.
func (a *account) spend(now time.Duration, amount, capacity int64) (spent int64, number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.see(now)
	room := capacity - (a.debt(now) - a.pocket)
	if spent = min(a.pocket, amount, room); spent <= 0 {
		spent = 0
	} else {
		a.pocket -= spent
		a.peaks.Take(float64(spent))
	}
	return spent, a.peaks.Takes
}

// hear notes an answer. paid is when the debt will be paid by it, at the earliest; known is what was known when it was asked;
// lost says that there was less debt than that. It returns whether the store has forgotten something.
func (a *account) hear(now, paid, known time.Duration, lost bool) (forgotten bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case lost && a.paid == known: // nobody else has noted it yet
		a.paid = 0
		a.see(now)
		a.paid = paid
		return true
	case paid > a.paid:
		a.see(now)
		a.paid = paid
	}
	return false
}

// take notes that the debt is more by amount, of which an answer has told, and returns the number of the take.
func (a *account) take(amount int64) (number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peaks.Take(float64(amount))
	return a.peaks.Takes
}

// giveBack puts what an amount is worth into the pocket.
func (a *account) giveBack(now time.Duration, number uint64, amount int64) {
	if amount <= 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	debt := a.debt(now)
	a.pocket = min(a.pocket+int64(a.peaks.GiveBack(number, float64(amount))), debt)
}

// returned notes that amount goes back to the store.
func (a *account) returned(amount int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paid -= time.Duration(amount)
}
