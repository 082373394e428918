package policyredis

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// step is what happened to a bucket: an amount that was taken after some time.
type step struct {
	passed, amount int64 // amount is 0 once it was given back
	number         uint64
	own            bool
	at             time.Duration
}

// debtOf returns what is owed after all of it, and now has come.
func debtOf(steps []step, passed int64) (debt int64) {
	for _, s := range steps {
		debt = max(0, debt-s.passed) + s.amount
	}
	return max(0, debt-passed)
}

// Whatever is taken by this process and by others, and given back, in whatever order: the debt in Redis less what is in the
// pocket is never less than if what was given back had never been taken, and no more than that as long as all of the debt is
// known and the moments to remember are few.
func TestFault283_AnAccountMintsNothing(t *testing.T) {
	exact, all := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		unit := rapid.SampledFrom([]int64{10, 1_000_003, 4_320_000_000_000}).Draw(r, "unit")
		alone := rapid.Bool().Draw(r, "alone")
		var a account
		now := time.Duration(rapid.Int64Range(0, 1<<50).Draw(r, "opened"))
		a.open(now, unit)
		var real, unmade []step // what the store was asked for, and that without what was given back
		var passed int64
		attempts := 0
		add := func(s step, inStore int64) {
			s.passed = passed
			passed = 0
			unmade = append(unmade, s)
			s.amount = inStore
			real = append(real, s)
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			wait := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 3), rapid.Int64Range(0, 2*unit)).Draw(r, "ns")
			passed += wait
			now += time.Duration(wait)
			known := a.known()
			switch what := rapid.IntRange(0, 9).Draw(r, "what"); {
			case what < 5:
				attempts++
				amount := unit * rapid.Int64Range(1, 5).Draw(r, "cost")
				found, number := a.spend(now, amount, 1<<60)
				if rest := amount - found; rest > 0 {
					before := debtOf(real, passed)
					if rapid.Bool().Draw(r, "refused") { // the answer tells of the debt all the same
						a.hear(now, now+time.Duration(before), known, false)
						a.giveBack(now, number, found)
						continue
					}
					a.hear(now, now+time.Duration(before+rest), known, false)
					number = a.take(rest)
				}
				add(step{amount: amount, number: number, own: true, at: now}, amount-found)
			case what < 6 && !alone: // somebody else takes
				amount := unit * rapid.Int64Range(1, 5).Draw(r, "others")
				add(step{amount: amount}, amount)
			case len(unmade) > 0:
				s := &unmade[rapid.IntRange(0, len(unmade)-1).Draw(r, "give back")]
				if s.own && s.amount > 0 {
					a.giveBack(now, s.number, s.amount)
					s.amount = 0
				}
			}
			want := debtOf(unmade, passed)
			a.mu.Lock()
			a.debt(now)
			got := debtOf(real, passed) - a.pocket
			a.mu.Unlock()
			all++
			if got < want {
				r.Fatalf("%d is owed, but %d if what was given back had never been taken", got, want)
			}
			if got == want {
				exact++
			} else if alone && attempts < 4 {
				r.Fatalf("%d is owed, but only %d if what was given back had never been taken", got, want)
			}
		}
	})
	t.Logf("exact in %d of %d steps", exact, all)
}
