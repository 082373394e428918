package policyredis

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// step is what happened to a bucket: an amount that was taken after some time.
type step struct {
	passed, amount amount // amount is 0 once it was given back
	by             int    // which process
	at             moment // by the process's clock
}

// debtOf returns what is owed after all of it, and now has come.
func debtOf(steps []step, passed amount) (debt amount) {
	for _, s := range steps {
		debt = max(0, debt-s.passed) + s.amount
	}
	return max(0, debt-passed)
}

// Whatever is taken by whomever, and given back, in whatever order: the debt in Redis less all that can still be spent of what
// was given back is never less than if that had never been taken.
func TestFault283_AccountsMintNothing(t *testing.T) {
	spent := amount(0)
	rapid.Check(t, func(r *rapid.T) {
		unit := rapid.SampledFrom([]amount{10, 1_000_003, 4_320_000_000_000}).Draw(r, "unit")
		accounts := make([]account, rapid.IntRange(1, 3).Draw(r, "processes"))
		now := moment(rapid.Int64Range(0, 1<<50).Draw(r, "began"))
		var real, unmade []step // what the store was asked for, and that without what was given back
		var passed amount
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			wait := amount(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 3), rapid.Int64Range(0, int64(unit))).Draw(r, "ns"))
			passed += wait
			now = now.plus(wait)
			if rapid.Bool().Draw(r, "take") {
				by := rapid.IntRange(0, len(accounts)-1).Draw(r, "by")
				cost := unit * amount(rapid.Int64Range(1, 5).Draw(r, "cost"))
				found := accounts[by].spend(now, cost, 0)
				if found < cost && rapid.Bool().Draw(r, "refused") {
					accounts[by].giveBack(now, now.plus(found), 0)
					continue
				}
				spent += found
				s := step{passed: passed, amount: cost, by: by, at: now}
				passed = 0
				unmade = append(unmade, s)
				s.amount -= found
				real = append(real, s)
			} else if len(unmade) > 0 {
				s := &unmade[rapid.IntRange(0, len(unmade)-1).Draw(r, "give back")]
				accounts[s.by].giveBack(now, s.at.plus(s.amount), 0)
				s.amount = 0
			}
			left := debtOf(real, passed)
			for i := range accounts {
				for _, until := range accounts[i].refunds {
					left -= now.until(until)
				}
			}
			if want := debtOf(unmade, passed); left < want {
				r.Fatalf("%d is owed, but %d if what was given back had never been taken", left, want)
			}
		}
	})
	require.Positive(t, spent)
}

// What goes back at once is worth what it was; afterwards less by the time that has passed, and the worth of the many is
// bounded.
func TestRefunds(t *testing.T) {
	var a account
	a.giveBack(0, 100, 0)
	require.EqualValues(t, 100, a.spend(0, 150, 0))
	require.Zero(t, a.spend(0, 1, 0), "once")
	a.giveBack(0, 100, 0)
	a.giveBack(0, 50, 0)
	require.EqualValues(t, 90, a.spend(30, 1000, 0))
	a.giveBack(30, 30, 0)
	require.Zero(t, a.spend(30, 1, 0), "worth nothing any more")
	require.True(t, a.idle(30))

	for i := range moment(100) {
		a.giveBack(0, 1000+i, 0)
	}
	require.Len(t, a.refunds, maxRefunds)
	require.EqualValues(t, 1099, a.refunds[maxRefunds-1])
	require.EqualValues(t, 10, a.spend(0, 10, 0))
	require.False(t, a.idle(0))
	require.Zero(t, a.spend(0, 1, 1), "of another configuration")
	a.giveBack(0, 100, 0)
	require.True(t, a.idle(0))
}
