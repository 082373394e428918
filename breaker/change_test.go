package breaker_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestFault037_ASubscriberReads(t *testing.T) {
	var b *breaker.Breaker
	var seen []breaker.State
	b = tripAt(1, breaker.OnChange(func(c breaker.Change) {
		seen = append(seen, b.State(), b.Snapshot().State, c.Snapshot.State)
		_, _ = b.Name(), b.String()
		_ = b.Ready(context.Background())
	}))
	failTimes(b, 1)
	require.Equal(t, []breaker.State{breaker.Open, breaker.Open, breaker.Open}, seen)
}

func TestFault038_ASubscriberMakesACall(t *testing.T) {
	var b *breaker.Breaker
	var err error
	b = tripAt(1, breaker.OnChange(func(breaker.Change) { err = do(b, ok) }))
	failTimes(b, 1)
	require.ErrorIs(t, err, breaker.ErrOpen)
}

func TestFault039_ASubscriberChangesTheState(t *testing.T) {
	for name, change := range map[string]func(*breaker.Breaker){
		"reset": (*breaker.Breaker).Reset, "force open": (*breaker.Breaker).ForceOpen, "trip": (*breaker.Breaker).Trip,
		"force closed": (*breaker.Breaker).ForceClosed, "shadow": (*breaker.Breaker).Shadow,
	} {
		t.Run(name, func(t *testing.T) {
			var b *breaker.Breaker
			var changes []breaker.Change
			b = tripAt(1, breaker.OnChange(func(c breaker.Change) {
				changes = append(changes, c)
				change(b)
			}))
			failTimes(b, 1)
			require.Equal(t, breaker.Open, changes[0].To)
			require.LessOrEqual(t, len(changes), 2)
			chain(t, changes)
			require.Equal(t, b.State(), changes[len(changes)-1].To)
		})
	}
}

// chain asserts that changes are consecutive.
func chain(t testing.TB, changes []breaker.Change) {
	t.Helper()
	state := breaker.Closed
	for i, c := range changes {
		require.EqualValues(t, i+1, c.Number)
		require.EqualValues(t, i+1, c.Snapshot.Changes)
		require.Equal(t, state, c.From, "change %d", c.Number)
		require.Equal(t, c.To, c.Snapshot.State)
		require.Equal(t, c.Reason, c.Snapshot.Reason)
		require.Equal(t, c.Shadow, c.Snapshot.Shadow)
		state = c.To
		if i > 0 {
			require.False(t, c.At.Before(changes[i-1].At))
		}
	}
}

func TestFault040_FunctionsOfTheUserCallBack(t *testing.T) {
	var b *breaker.Breaker
	calls := 0
	read := func() {
		calls++
		_, _ = b.State(), b.Snapshot()
		_ = b.Ready(context.Background())
		b.Reset()
	}
	b = breaker.New(
		breaker.ConsecutiveFailures(2), breaker.Ramp(time.Hour), breaker.RetryAfter(time.Hour),
		breaker.Classify(func(error) policy.Class { read(); return policy.Transient }),
		breaker.Rand(luck(func() float64 {
			if b != nil {
				read()
			}
			return 0
		})),
	)
	_ = do(b, func(context.Context) error { return hint(func() time.Duration { read(); return 0 }) })
	failTimes(b, 1)
	b.ForceOpen()
	b.Trip()
	require.Greater(t, calls, 3)
}

func TestTheSnapshotOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := newBreaker(breaker.Name("users-db"), breaker.FailureRate(0.5, 6), breaker.OnChange(func(c breaker.Change) { changes = append(changes, c) }))
		start := time.Now()
		for range 3 {
			require.NoError(t, do(b, ok))
		}
		failTimes(b, 3)
		require.Equal(t, []breaker.Change{{
			Number: 1, From: breaker.Closed, To: breaker.Open, Reason: breaker.ReasonFailureRate, At: start,
			Cause: policy.Cause{Rule: "FailureRate", What: "failed", Bad: 3, Calls: 6, Limit: 0.5, Minimum: 6, Err: errDown},
			Snapshot: breaker.Snapshot{
				Name: "users-db", State: breaker.Open, Since: start, Until: start.Add(D), Generation: 2, Changes: 1,
				Reason: breaker.ReasonFailureRate, Cause: errDown,
				Calls: 6, CallsFailed: 3, FailureRate: 0.5, FailureRateKnown: true, ConsecutiveFailures: 3,
				Counts: breaker.Counts{Requests: 6, Successes: 3, Failures: 3},
			},
		}}, changes)
		require.Equal(t, changes[0].Snapshot, b.Snapshot())
		time.Sleep(D + time.Second)
		s := b.Snapshot()
		require.Equal(t, breaker.HalfOpen, s.State)
		require.Equal(t, start.Add(D), s.Since)
		require.True(t, s.Until.IsZero())
	})
}

// hint is an error that knows when to try again.
type hint func() time.Duration

func (h hint) Error() string                     { return "busy" }
func (h hint) RetryAfter() (time.Duration, bool) { return h(), true }

func TestFault041_ASlowSubscriberBlocksNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := tripAt(1, breaker.OnChange(func(c breaker.Change) {
			changes = append(changes, c)
			time.Sleep(time.Hour)
		}))
		var deliverer sync.WaitGroup
		deliverer.Go(func() { failTimes(b, 1) })
		synctest.Wait()

		start := time.Now()
		refused(t, b)
		require.Equal(t, breaker.Open, b.Snapshot().State)
		time.Sleep(D)
		require.NoError(t, do(b, ok)) // two more changes
		require.Equal(t, breaker.Closed, b.State())
		b.ForceOpen()
		require.Equal(t, D, time.Since(start), "somebody waited")
		deliverer.Wait()
		require.Equal(t, 4*time.Hour, time.Since(start))
		require.Len(t, changes, 4)
		chain(t, changes)
		require.True(t, changes[1].At.Equal(start.Add(D)), "delivered late, but dated when it happened")
	})
}

func TestFault042_EventsFormAChain(t *testing.T) {
	var first, second []breaker.Change
	b := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Millisecond), breaker.Probes(2),
		breaker.OnChange(func(c breaker.Change) { first = append(first, c) }),
		breaker.OnChange(func(c breaker.Change) { second = append(second, c) }))
	var callers sync.WaitGroup
	for caller := range 64 {
		callers.Go(func() {
			for i := range 200 {
				switch (caller + i) % 16 {
				case 0:
					b.Trip()
				case 1:
					b.Reset()
				case 2:
					b.ForceClosed()
				case 3:
					b.Shadow()
				case 4:
					b.ForceOpen()
				case 5, 6, 7:
					failTimes(b, 1)
				default:
					_ = do(b, ok)
				}
			}
		})
	}
	callers.Wait()
	require.Greater(t, len(first), 100)
	require.Equal(t, len(first), len(second))
	require.EqualValues(t, len(first), b.Snapshot().Changes)
	chain(t, first)
	for i := range first {
		require.Equal(t, first[i].Number, second[i].Number)
	}
}

func TestFault043_ASubscriberPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		b := tripAt(1,
			breaker.OnChange(func(c breaker.Change) { panic(fmt.Sprint("first ", c.Number)) }),
			breaker.OnChange(func(c breaker.Change) { heard = append(heard, c.To.String()) }),
		)
		require.Equal(t, errDown, do(b, fail))
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, []string{"open", "half-open", "closed"}, heard)
		require.EqualValues(t, 3, b.Snapshot().LostDeliveries)
	})
}

func TestFault044_ASubscriberExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := 0
		b := tripAt(1, breaker.OnChange(func(breaker.Change) { runtime.Goexit() }), breaker.OnChange(func(breaker.Change) { heard++ }))
		failTimes(b, 1)
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, 3, heard)
		require.EqualValues(t, 3, b.Snapshot().LostDeliveries)
	})
}

func TestFault045_EveryMethodAtOnce(t *testing.T) {
	for _, mode := range modes {
		b := breaker.New(append(mode.opts, breaker.OpenFor(time.Millisecond), breaker.Ramp(time.Millisecond), breaker.Probes(3),
			breaker.Successes(2), breaker.OnChange(func(breaker.Change) {}))...)
		var callers sync.WaitGroup
		for _, f := range []func(){
			func() { _ = do(b, ok) }, func() { failTimes(b, 3) }, func() { _ = b.State() }, func() { _ = b.Snapshot() },
			func() { _ = b.Ready(context.Background()) }, b.Trip, b.ForceOpen, b.ForceClosed, b.Shadow, b.Enforce, b.Reset,
			func() { _ = b.String() }, func() { _ = fmt.Sprintf("%v", b) }, func() { _ = b.Check(nil, nil) },
		} {
			callers.Go(func() {
				for range 500 {
					f()
				}
			})
		}
		callers.Wait()
		identity(t, b.Snapshot())
	}
}

func TestFault051_NoGoroutinePerBreaker(t *testing.T) {
	before := runtime.NumGoroutine()
	breakers := make([]*breaker.Breaker, 10_000)
	for i := range breakers {
		breakers[i] = breaker.New(breaker.FailureRate(0.5, 10))
		breakers[i].Trip()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// A snapshot is one moment: whatever runs at the same time, every request is in exactly one of its fates.
func TestFault229_SnapshotsAddUpUnderLoad(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			b := breaker.New(append(mode.opts, breaker.OpenFor(time.Millisecond), breaker.Probes(3), breaker.Successes(2))...)
			var settled, refusals atomic.Uint64
			var stop atomic.Bool
			var callers sync.WaitGroup
			for caller := range 8 {
				callers.Go(func() {
					for i := 0; !stop.Load(); i++ {
						if i%1000 == 999 && caller == 0 {
							b.Reset()
						}
						op := ok
						if (caller+i)%5 < 2 {
							op = fail
						}
						if err := do(b, op); err == nil || err == errDown {
							settled.Add(1)
						} else {
							refusals.Add(1)
						}
					}
				})
			}
			var before breaker.Snapshot
			for range 5000 {
				low := settled.Load()
				s := b.Snapshot()
				identity(t, s)
				if s.Requests < low || s.Requests < before.Requests || s.Successes < before.Successes ||
					s.Failures < before.Failures || s.Stale < before.Stale || s.Calls < s.CallsFailed || s.Calls < s.CallsSlow {
					t.Errorf("went back: %+v after %+v; %d had settled", s, before, low)
					break
				}
				before = s
			}
			stop.Store(true)
			callers.Wait()
			s := b.Snapshot()
			identity(t, s)
			require.Zero(t, s.InFlight)
			require.Equal(t, settled.Load(), s.Requests) // Fault 176: the ledger
			require.Equal(t, refusals.Load(), s.Rejected)
		})
	}
}

func TestFault036_ALateSuccessNeverReachesTheGenerationAfter(t *testing.T) {
	// While successes are settled all the time, Reset must leave nothing behind that was admitted before it.
	b := breaker.New(breaker.FailureRate(0.5, 10), breaker.CountWindow(1000))
	for round := range 300 {
		permits := make([]*policy.Permit, 20)
		for i := range permits {
			permits[i] = admit(t, b)
		}
		var callers sync.WaitGroup
		for _, permit := range permits {
			callers.Go(func() { permit.Done(nil) })
		}
		callers.Go(b.Reset)
		callers.Wait()
		s := b.Snapshot()
		require.Zero(t, s.Calls)
		require.EqualValues(t, 20*(round+1), s.Requests)
		identity(t, s)
	}
}

func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(2, breaker.Probes(2), breaker.Successes(3), breaker.Classify(neutrally))
		closed := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		changes := func(act func()) bool {
			t.Helper()
			before := b.Changed(context.Background())
			require.False(t, closed(before))
			require.True(t, before == b.Changed(context.Background()), "everybody waits for the same")
			act()
			return closed(before)
		}
		require.False(t, changes(func() { failTimes(b, 1); _ = do(b, ok); _ = b.Snapshot() }))
		require.True(t, changes(func() { failTimes(b, 2) }), "opened")
		require.False(t, changes(func() { time.Sleep(D); _ = b.Ready(t.Context()) }), "time alone")
		var first, second *policy.Permit
		require.True(t, changes(func() { first = admit(t, b) }), "half-open")
		require.True(t, changes(func() { second = admit(t, b) }), "the last slot is taken")
		require.False(t, changes(func() { refused(t, b) }))
		require.True(t, changes(func() { first.Done(errNeutral) }), "a slot came back")
		require.True(t, changes(func() { first = admit(t, b) }))
		time.Sleep(D) // both leases are over
		require.True(t, changes(func() { admit(t, b); admit(t, b) }), "taken again")
		require.False(t, changes(func() { first.Done(nil); second.Done(nil) }), "too late")
		require.True(t, changes(b.Reset))

		b = tripAt(1, breaker.Classify(neutrally)) // the first probe of all
		half(b)
		first = admit(t, b)
		require.True(t, changes(func() { first.Done(errNeutral) }), "a slot came back")
		require.True(t, changes(func() { admit(t, b) }), "and is taken again")

		b = tripAt(1) // one slot: whoever takes it over changes the answer, although the number taken stays the same
		half(b)
		admit(t, b)
		time.Sleep(D)
		require.True(t, changes(func() { admit(t, b) }))

		b = tripAt(1, breaker.Classify(func(error) policy.Class { return policy.Throttled }))
		b.Trip()
		time.Sleep(D)
		first = admit(t, b)
		time.Sleep(D) // its lease is over, so the slot is to be had
		require.NoError(t, b.Ready(t.Context()))
		require.True(t, changes(func() { first.Done(errDown) }), "a throttled probe takes its slot anew")
		require.ErrorIs(t, b.Ready(t.Context()), breaker.ErrOpen)

		b = tripAt(1, breaker.Classify(neutrally))
		half(b)
		first = admit(t, b)
		time.Sleep(D)
		require.False(t, changes(func() { first.Done(errNeutral) }), "the slot was to be had before it came back")
	})
}

func TestChangesThatWaitForAHangingSubscriberAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var numbers []uint64
		b := tripAt(1, breaker.OnChange(func(c breaker.Change) {
			numbers = append(numbers, c.Number)
			<-release
		}))
		var deliverer sync.WaitGroup
		deliverer.Go(b.ForceOpen)
		synctest.Wait()
		for range 6_000 {
			b.Reset()
			b.ForceOpen()
		}
		close(release)
		deliverer.Wait()
		require.Len(t, numbers, 10_001)
		require.EqualValues(t, 1, numbers[0])
		require.EqualValues(t, 2_002, numbers[1])
		require.EqualValues(t, 12_001, numbers[10_000])
		require.EqualValues(t, 2_000, b.Snapshot().LostDeliveries)
	})
}
