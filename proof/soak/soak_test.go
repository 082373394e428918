package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSoak(t *testing.T) {
	var missing []string
	for length := 2 * time.Second; length < 2*time.Minute; length *= 2 { // a busy machine mixes less in the same time
		d, problems := soak(length, 64)
		require.Empty(t, problems)
		if missing = unmixed(d); len(missing) == 0 {
			t.Logf("\n%v", d)
			break
		}
	}
	require.Empty(t, missing, "the soak does not mix")
}

// unmixed returns what has not happened in a soak.
func unmixed(d *dependency) (missing []string) {
	for f := range fates {
		if d.ledger.calls.ended[f].Load()+d.apart.ledger.calls.ended[f].Load() == 0 {
			missing = append(missing, fateNames[f])
		}
	}
	if d.apart.discarded.Load() == 0 {
		missing = append(missing, "hedges that lost, calls that were abandoned")
	}
	if d.apart.throttle.Snapshot().Rejected == 0 {
		missing = append(missing, "refusals of the throttle")
	}
	return missing
}

func TestALedgerThatDoesNotBalance(t *testing.T) {
	balanced := func() *ledger {
		l := &ledger{}
		for _, a := range []*account{&l.calls, &l.attempts, &l.toldCalls, &l.toldAttempts} {
			a.begun.Store(2)
			a.end(succeeded)
			a.end(panicked)
		}
		return l
	}
	require.Empty(t, balanced().balance())
	for name, spoil := range map[string]func(*ledger){
		"a call is lost":               func(l *ledger) { l.calls.begun.Add(1) },
		"an attempt ends twice":        func(l *ledger) { l.attempts.end(failed) },
		"an event too many":            func(l *ledger) { l.toldCalls.end(refused) },
		"nothing happened":             func(l *ledger) { *l = ledger{} },
		"an event of the wrong kind":   func(l *ledger) { l.toldAttempts.end(exited) },
		"another fate of the attempts": func(l *ledger) { l.attempts.ended[failed].Add(1); l.attempts.ended[succeeded].Store(0) },
	} {
		l := balanced()
		spoil(l)
		require.NotEmpty(t, l.balance(), name)
	}
}

// In shadow a breaker changes its state as it would, and the chain goes on.
func TestChangesInShadowAreInTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the circuit stays open, however slow the machine is
		d := newDependency()
		d.breaker.Shadow()
		for range 50 {
			permit, err := policy.Acquire(t.Context(), d.breaker)
			require.NoError(t, err)
			permit.Done(errDown)
		}
		require.Equal(t, breaker.Open, d.breaker.State())
		d.breaker.Reset()
		require.Equal(t, uint64(2), d.last.Load(), "opened, reset")
		require.Zero(t, d.broken.Load())
		d.last.Store(4)
		d.changed(breaker.Change{Number: 5, From: breaker.Open})
		require.NotZero(t, d.broken.Load())
	})
}

func TestChecksNoticeWhatIsBroken(t *testing.T) {
	d := newDependency()
	var fine problems
	d.check(&fine)
	require.Empty(t, fine.all)
	d.broken.Store(1)
	d.running.Store(mostSlots + 1)
	d.ledger.attempts.begun.Store(1)
	d.apart.running.Store(mostSlots + 1)
	d.apart.discarded.Store(1)
	var broken problems
	d.check(&broken)
	d.atRest(&broken)
	d.apart.atRest(&broken)
	require.Len(t, broken.all, 7)
}
