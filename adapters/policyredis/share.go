package policyredis

import "sync/atomic"

// share is the process's own bucket, for when the store does not answer: a debt, kept as the moment at which it is paid. Its
// methods are given amounts of the shared bucket.
type share struct{ paidAt atomic.Int64 }

// debt returns what is missing at a moment.
func (s *share) debt(now moment) amount { return now.until(moment(s.paidAt.Load())) }

// change lets f make a new debt of the present one.
func (s *share) change(now moment, f func(debt amount) amount) {
	for {
		old := s.paidAt.Load()
		debt := now.until(moment(old))
		changed := f(debt)
		if changed == debt || s.paidAt.CompareAndSwap(old, int64(now.plus(changed))) {
			return
		}
	}
}

// take takes an amount if it is there, and otherwise returns how long that will take. What is more than the share ever holds
// counts as there when the share is full.
func (s *share) take(now moment, shared amount, p portion) (wait amount) {
	a := p.inShare(shared)
	s.change(now, func(debt amount) amount {
		fits := max(0, p.capacity-a) // beside so much debt; what is more than the share holds, beside none
		if wait = max(0, debt-fits); wait > 0 {
			return debt
		}
		return debt + a
	})
	return wait
}

// charge takes an amount that the store has admitted, as far as it is there. It reports whether all of it was.
func (s *share) charge(now moment, shared amount, p portion) (whole bool) {
	a := p.inShare(shared)
	s.change(now, func(debt amount) amount {
		whole = debt+a <= p.capacity
		return max(debt, min(debt+a, p.capacity))
	})
	return whole
}

// giveBack takes an amount back that was taken at a moment and not used. It is worth the amount less the time since, or more if
// others were taken at the same time; the share of a process need not be that exact.
func (s *share) giveBack(now, takenAt moment, shared amount, p portion) {
	worth := max(0, p.inShare(shared)-takenAt.until(now))
	s.change(now, func(debt amount) amount { return max(0, debt-worth) })
}
