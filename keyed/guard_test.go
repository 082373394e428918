package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
)

func TestEachKeyHasItsOwnGuard(t *testing.T) {
	r := keyed.New(newSlots(1))
	backend := resilience.Compose(keyed.By(keyOf, r))
	require.Equal(t, "per key slots 1", backend.String())
	run := func(key string, op policy.Func[int]) (int, error) {
		return resilience.Do(withKey(t.Context(), key), backend, op)
	}
	value, err := run("a", func(ctx context.Context) (int, error) {
		require.Equal(t, "a", keyOf(ctx), "the operation has the caller's context")
		_, err := run("a", nil2)
		require.ErrorIs(t, err, errFull)
		require.ErrorIs(t, err, policy.ErrRejected)
		return run("b", func(context.Context) (int, error) { return 7, nil })
	})
	require.NoError(t, err)
	require.Equal(t, 7, value)
	for _, key := range []string{"a", "b"} {
		require.Zero(t, r.Get(key).inFlight.Load())
		require.EqualValues(t, 1, r.Get(key).settled.Load())
	}
}

// A limit per key tells how often it refuses, whichever key it was, also after the key has gone. An attempt whose caller
// leaves the queue was not refused.
func TestTheReportCountsWhatTheGuardsRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := keyed.By(keyOf, keyed.New(func(string) *bulkhead.Bulkhead {
			return bulkhead.New(1, bulkhead.Queue(1, time.Hour))
		}, keyed.Max(2)))
		rejected := func() float64 {
			value, ok := guard.Report().Value("rejected", "")
			require.True(t, ok)
			require.Equal(t, policy.Counter, value.Kind)
			return value.Number
		}
		for _, key := range []string{"a", "b", "c"} { // c shares the overflow value
			permit, err := policy.Acquire(withKey(t.Context(), key), guard)
			require.NoError(t, err)
			ctx, leave := context.WithCancel(withKey(t.Context(), key))
			left := make(chan error)
			go func() {
				_, err := policy.Acquire(ctx, guard)
				left <- err
			}()
			synctest.Wait()
			before := rejected()
			_, err = policy.Acquire(withKey(t.Context(), key), guard)
			require.ErrorIs(t, err, bulkhead.ErrFull)
			require.Equal(t, before+1, rejected())
			leave()
			require.ErrorIs(t, <-left, context.Canceled)
			require.Equal(t, before+1, rejected(), "who leaves was not refused")
			permit.Done(nil)
		}
		require.Equal(t, 3.0, rejected())
		guard.Registry().Delete("a")
		require.Equal(t, 3.0, rejected())
	})
}

// broken is an error whose methods dereference a nil pointer.
type broken struct{ cause error }

func (e *broken) Error() string { return e.cause.Error() }
func (e *broken) Unwrap() error { return e.cause }

// refuses is a guard that refuses with an error of its own.
type refuses struct {
	ungated
	err error
}

func (g refuses) Admit(context.Context) (context.Context, policy.Ticket, error) {
	return nil, policy.Ticket{}, g.err
}

// A refusal is counted by what its error matches, and an error whose methods panic matches nothing.
func TestRefusalsWithErrorsOfAnySortReachTheCaller(t *testing.T) {
	for _, tc := range []struct {
		err      error
		rejected float64
	}{
		{errors.Join(errBackend, policy.ErrRejected), 1},
		{errBackend, 0},
		{(*broken)(nil), 0},
	} {
		guard := keyed.By(keyOf, keyed.New(func(string) refuses { return refuses{err: tc.err} }, always[refuses]()))
		var err error
		require.NotPanics(t, func() { _, _, err = guard.Admit(withKey(t.Context(), "a")) })
		require.True(t, err == tc.err, "an error that must not be printed")
		value, ok := guard.Report().Value("rejected", "")
		require.True(t, ok)
		require.Equal(t, tc.rejected, value.Number)
	}
}

func TestRefusalsAreCountedWhenThereAreManyAtOnce(t *testing.T) {
	guard := keyed.By(keyOf, keyed.New(newSlots(0)))
	const callers, each = 8, 100
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			ctx := withKey(t.Context(), fmt.Sprint(i%3))
			for range each {
				_, _, _ = guard.Admit(ctx)
				_, _, _, _ = guard.AdmitOpen(ctx)
			}
		})
	}
	all.Wait()
	value, ok := guard.Report().Value("rejected", "")
	require.True(t, ok)
	require.Equal(t, 2.0*callers*each, value.Number)
}

func nil2(context.Context) (int, error) { return 0, nil }

func TestEveryExitSettlesTheGuardThatAdmitted(t *testing.T) {
	r := keyed.New(newSlots(1), keyed.Max(1))
	guard := keyed.By(keyOf, r)
	for name, end := range map[string]func() error{
		"return": func() error { return nil },
		"error":  func() error { return errBackend },
		"panic":  func() error { panic("boom") },
		"exit":   func() error { runtime.Goexit(); return nil },
	} {
		for _, replace := range []string{"stays", "deleted"} {
			var used *slots
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = resilience.Do(withKey(t.Context(), name), guard, func(context.Context) (int, error) {
					used = r.Get(name)
					if replace == "deleted" {
						r.Delete(name)
						r.Get(name) // its successor
					}
					return 0, end()
				})
			}()
			<-done
			require.Zero(t, used.inFlight.Load(), name+" "+replace)
			require.EqualValues(t, 1, used.settled.Load())
			require.Equal(t, replace == "deleted", r.Get(name) != used)
			r.Delete(name)
		}
	}
}

// Calls that hold a value that is no longer in the registry end on it; the successor hears nothing of them.
func TestCallsInFlightSettleWhereTheyWereAdmitted(t *testing.T) {
	r := keyed.New(func(string) *throttle.Throttle { return throttle.New(throttle.Window(time.Hour, 2)) }, keyed.Max(1))
	a := r.Get("a")
	permit, err := policy.Acquire(t.Context(), a)
	require.NoError(t, err)
	r.Get("b") // takes the only place
	require.NotSame(t, a, r.Get("a"))
	permit.Done(nil)
	require.EqualValues(t, 1, a.Snapshot().Accepts)
	require.Zero(t, r.Get("a").Snapshot().Accepts)
}

func TestPermits(t *testing.T) {
	guard := keyed.By(keyOf, keyed.New(newSlots(1)))
	permit, err := policy.Acquire(withKey(t.Context(), "a"), guard)
	require.NoError(t, err)
	_, err = policy.Acquire(withKey(t.Context(), "a"), guard)
	require.ErrorIs(t, err, errFull)
	other, err := policy.Acquire(withKey(t.Context(), "b"), guard)
	require.NoError(t, err)
	require.True(t, permit.Done(nil))
	require.False(t, permit.Done(nil))
	require.True(t, other.Done(errBackend))
	_, err = policy.Acquire(withKey(t.Context(), "a"), guard)
	require.NoError(t, err)
}

// tagged is slots that tell the operation which of them admitted it.
type tagged struct{ *slots }

type tag struct{}

func (g tagged) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	ctx, ticket, err := g.slots.Admit(ctx)
	if err == nil {
		ctx = context.WithValue(ctx, tag{}, g.slots)
	}
	return ctx, ticket, err
}

// Whatever a flood of new keys evicts, no key ever has more in flight than its guard allows.
func TestFault188_EvictionAdmitsNothingTwice(t *testing.T) {
	for _, cap := range []int{1, 2, 40} {
		r := keyed.New(func(key string) tagged { return tagged{newSlots(1)(key)} }, keyed.Max(cap))
		guard := keyed.By(keyOf, r)
		var all sync.WaitGroup
		var inFlight [4]atomic.Int64
		var entered atomic.Int64
		for g := range 8 {
			all.Go(func() {
				for i := range 2000 {
					key := (g + i) % len(inFlight)
					_, _ = resilience.Do(withKey(t.Context(), numbered(key)), guard, func(ctx context.Context) (int, error) {
						if ctx.Value(tag{}) == r.Overflow().slots {
							return 0, nil
						}
						entered.Add(1)
						if n := inFlight[key].Add(1); n > 1 {
							t.Errorf("%d in flight", n)
						}
						runtime.Gosched()
						inFlight[key].Add(-1)
						return 0, nil
					})
					r.Get(fmt.Sprintf("%d-%d", g, i%100))
				}
			})
		}
		all.Wait()
		require.NotZero(t, entered.Load())
		require.NotZero(t, r.Snapshot().Evicted)
	}
}

// What happens to a key between the question whether its value is idle and its eviction.
func TestFault188_AKeyThatIsNeededAtTheLastMomentStays(t *testing.T) {
	r := keyed.New(newSlots(1), keyed.Max(1))
	guard := keyed.By(keyOf, r)
	a := r.Get("a")

	a.onIdle = func() { require.Same(t, a, r.Get("a")) }
	require.Same(t, r.Overflow(), r.Get("b"))
	require.Same(t, a, r.Get("a"))

	var permit *policy.Permit
	a.onIdle = func() {
		var err error
		permit, err = policy.Acquire(withKey(t.Context(), "a"), guard)
		require.NoError(t, err)
	}
	require.Same(t, r.Overflow(), r.Get("b"))
	require.Same(t, a, r.Get("a"))
	require.EqualValues(t, 1, a.inFlight.Load())
	permit.Done(nil)

	a.onIdle = func() { require.True(t, r.Delete("a")) }
	require.Same(t, r.Overflow(), r.Get("b"), "the place was free only after the search")
	require.Zero(t, r.Len())

	a.onIdle = nil
	require.NotSame(t, a, r.Get("a"))
	require.Equal(t, "b", r.Get("b").key)
	require.Equal(t, 1, r.Len())
}

// A guard that is evicted while it admits hands the attempt back, and its successor is asked.
func TestFault188_AGuardThatLosesItsPlaceWhileItAdmits(t *testing.T) {
	r := keyed.New(newSlots(1), keyed.Max(1))
	a := r.Get("a")
	a.onAdmit = func() { r.Get("b") } // takes the only place
	permit, err := policy.Acquire(withKey(t.Context(), "a"), keyed.By(keyOf, r))
	require.NoError(t, err)
	require.EqualValues(t, 1, a.settled.Load())
	require.Zero(t, a.inFlight.Load())
	successor := r.Get("a")
	require.NotSame(t, a, successor)
	require.EqualValues(t, 1, successor.inFlight.Load())
	permit.Done(nil)
	require.Zero(t, successor.inFlight.Load())
}

// Retries consult the guard of their own key.
func TestKeyedGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(newSlots(1), keyed.MaxKeyLength(5))
		guard := keyed.By(keyOf, r)
		backend := resilience.Compose(retry.New(retry.Constant(time.Second), retry.NoJitter()), guard)
		attempts := 0
		run := func(key string) error {
			attempts = 0
			_, err := resilience.Do(withKey(t.Context(), key), backend, func(context.Context) (int, error) {
				attempts++
				r.Get("a").down.Store(true)
				r.Overflow().down.Store(true)
				return 0, errBackend
			})
			return err
		}
		start := time.Now()
		err := run("a")
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, errFull)
		require.Equal(t, 1, attempts)
		require.Zero(t, time.Since(start), "it does not sleep for an attempt that would be refused")

		require.ErrorIs(t, run("b"), errBackend)
		require.Equal(t, 3, attempts, "the guard of another key has nothing against it")

		require.ErrorIs(t, backend.Ready(withKey(t.Context(), "a")), policy.ErrRejected)
		require.ErrorIs(t, backend.Ready(withKey(t.Context(), "too long")), policy.ErrRejected)
		require.NoError(t, backend.Ready(withKey(t.Context(), "b")))
		before := r.Snapshot()
		require.NoError(t, backend.Ready(withKey(t.Context(), "new")))
		require.Equal(t, before, r.Snapshot(), "asking makes nothing")

		plain := keyed.By(keyOf, keyed.New(func(string) policy.Guard { return ungated{} }, always[policy.Guard]()))
		_, err = resilience.Do(t.Context(), plain, nil2)
		require.NoError(t, err)
		require.NoError(t, plain.Ready(t.Context()), "not every guard is a gate")
		require.Equal(t, "per key keyed_test.ungated", plain.String())
	})
}

// ungated admits everything.
type ungated struct{}

func (ungated) Stage() policy.Stage { return 650 }
func (ungated) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (ungated) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestByStandsAtTheStageOfItsGuards(t *testing.T) {
	slotsByKey := keyed.By(keyOf, keyed.New(newSlots(1)))
	require.Equal(t, policy.StageBulkhead, slotsByKey.Stage())
	throttles := keyed.By(keyOf, keyed.New(func(string) *throttle.Throttle { return throttle.New(throttle.Name("tenant")) }))
	require.Equal(t, `per key throttle "tenant" > per key slots 1`, resilience.Compose(slotsByKey, throttles).String())
	require.Error(t, resilience.Validate(slotsByKey, slotsByKey), "the same instance twice")
}

// fussy is a guard that has something to say about the layers around it.
type fussy struct{ ungated }

func (fussy) Check(_, inner []policy.Layer) error {
	if len(inner) > 0 {
		return errors.New("wants to be innermost")
	}
	return nil
}

func TestByPassesChecksOn(t *testing.T) {
	guard := keyed.By(keyOf, keyed.New(func(string) fussy { return fussy{} }, always[fussy]()))
	require.NoError(t, resilience.Validate(guard))
	require.ErrorContains(t, resilience.Validate(guard, newSlots(1)("")), "per key keyed_test.fussy: wants to be innermost")
	require.NoError(t, resilience.Validate(keyed.By(keyOf, keyed.New(newSlots(1)))))
}

func TestByConfiguration(t *testing.T) {
	require.PanicsWithError(t, "keyed.By: the key function is nil; the registry is nil", func() { keyed.By[string, *slots](nil, nil) })
	require.PanicsWithError(t, "keyed.By: the registry is nil", func() { keyed.By[string, *slots](keyOf, nil) })
}

// Who waits for somebody else's make stops waiting when its context ends.
func TestAdmitStopsWaitingForAMake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := keyed.By(keyOf, keyed.New(func(key string) *slots {
			if key != "" {
				time.Sleep(time.Hour)
			}
			return newSlots(1)(key)
		}))
		var maker sync.WaitGroup
		defer maker.Wait()
		maker.Go(func() { _, _ = resilience.Do(withKey(context.Background(), "a"), guard, nil2) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(withKey(t.Context(), "a"), time.Second)
		defer cancel()
		start := time.Now()
		_, err := resilience.Do(ctx, guard, nil2)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestFault192_ATenantHurtsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenants := keyed.New(func(string) *throttle.Throttle { return throttle.New() })
		backend := resilience.Compose(keyed.By(keyOf, tenants))
		refused := func(tenant string, outcome error) (n int) {
			for range 1000 {
				_, err := resilience.Do(withKey(t.Context(), tenant), backend, func(context.Context) (int, error) { return 0, outcome })
				if errors.Is(err, throttle.ErrThrottled) {
					n++
				}
			}
			return n
		}
		require.Greater(t, refused("noisy", errBackend), 800)
		require.Zero(t, refused("quiet", nil))
		require.Error(t, backend.Ready(withKey(t.Context(), "noisy")))
	})
}

// Hung operations of one client fill the slots of that client only.
func TestFault193_SlowClientsFillTheirOwnBulkhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(newSlots(4))
		backend := resilience.Compose(keyed.By(keyOf, r))
		ctx, cancel := context.WithCancel(t.Context())
		var hung sync.WaitGroup
		for range 100 {
			hung.Go(func() {
				_, _ = resilience.Do(withKey(ctx, "slow"), backend, func(ctx context.Context) (int, error) {
					<-ctx.Done()
					return 0, ctx.Err()
				})
			})
		}
		synctest.Wait()
		require.EqualValues(t, 4, r.Get("slow").inFlight.Load())
		_, err := resilience.Do(withKey(ctx, "slow"), backend, nil2)
		require.ErrorIs(t, err, errFull)
		_, err = resilience.Do(withKey(ctx, "fast"), backend, nil2)
		require.NoError(t, err)
		cancel()
		hung.Wait()
		require.Zero(t, r.Get("slow").inFlight.Load())
	})
}

// No text of this package contains a key.
func TestFault198_KeysAreNoLabels(t *testing.T) {
	const secret = "tenant-4711"
	r := keyed.New(newSlots(1), keyed.Max(1))
	guard := keyed.By(keyOf, r)
	var events []policy.Event
	backend := resilience.Compose(guard, resilience.Observe(policy.ObserverFunc(func(_ context.Context, event policy.Event) {
		events = append(events, event)
	})))
	r.Get(secret).down.Store(true)
	ctx := withKey(t.Context(), secret)
	_, err := resilience.Do(ctx, backend, nil2)
	require.Error(t, err)
	require.NotEmpty(t, events)
	texts := []string{err.Error(), backend.String(), guard.String(), r.String(), fmt.Sprintf("%+v", r.Snapshot())}
	for _, event := range events {
		texts = append(texts, event.Kind.String(), fmt.Sprint(event.Layer), fmt.Sprint(event.Outcome))
	}
	for _, text := range texts {
		require.NotContains(t, text, secret)
	}
}

func TestByAllocatesOneContext(t *testing.T) {
	guard := keyed.By(keyOf, keyed.New(newSlots(1)))
	ctx := withKey(t.Context(), "a")
	require.EqualValues(t, 1, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(ctx, guard, nil2) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = guard.Ready(ctx) }))
}

func TestTheRegistryOfAGuard(t *testing.T) {
	registry := keyed.New(func(string) *throttle.Throttle { return throttle.New() })
	require.Same(t, registry, keyed.By(func(context.Context) string { return "" }, registry).Registry())
	require.PanicsWithValue(t, "keyed: a Guard must be made with keyed.By", func() { new(keyed.Guard[string, *throttle.Throttle]).Registry() })
}
