package keyed_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// everything is a guard that implements all that guards can implement in addition, and notes what it is asked.
type everything struct {
	*slots
	mu    sync.Mutex
	asked []string
}

type derived struct{}

func (e *everything) note(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, what)
}

func (e *everything) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	e.note("admit")
	ctx, cancel := context.WithCancel(context.WithValue(ctx, derived{}, e))
	return ctx, policy.Ticket{Number: 1, Cancel: cancel}, nil
}

func (e *everything) AdmitOpen(ctx context.Context) (context.Context, policy.Ticket, func(), error) {
	e.note("admit open")
	if e.down.Load() {
		return nil, policy.Ticket{}, nil, errFull
	}
	ctx, cancel := context.WithCancel(context.WithValue(ctx, derived{}, e))
	return ctx, policy.Ticket{Number: 1, Cancel: cancel}, func() { e.note("lift") }, nil
}

func (e *everything) Returned(ctx context.Context, ticket policy.Ticket) policy.Ticket {
	if ctx.Value(derived{}) != e {
		e.note("foreign context")
	}
	e.note(fmt.Sprint("returned ", ticket.Number))
	ticket.Number++
	return ticket
}

func (e *everything) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ctx.Value(derived{}) != e {
		e.note("foreign context")
	}
	e.note(fmt.Sprint("settle ", ticket.Number, " ", outcome.Kind))
	if ticket.Cancel != nil {
		ticket.Cancel()
	}
}

func (e *everything) Changed(context.Context) <-chan struct{} {
	e.note("changed")
	return make(chan struct{})
}

func (e *everything) TimeLimit() time.Duration { return time.Minute }

func newEverything(key string) *everything { return &everything{slots: newSlots(1)(key)} }

func TestByForwardsWhatTheGuardImplements(t *testing.T) {
	r := keyed.New(newEverything, keyed.MaxKeyLength(5))
	guard := keyed.By(keyOf, r)
	ctx := withKey(t.Context(), "a")
	a := r.Get("a")

	admitted, ticket, lift, err := guard.AdmitOpen(ctx)
	require.NoError(t, err)
	require.Same(t, a, admitted.Value(derived{}), "the operation's context is that of the guard")
	ticket = guard.Returned(admitted, ticket)
	lift()
	cancel := ticket.Cancel
	ticket.Cancel = nil // as the engine does where a result stays open
	r.Delete("a")       // the guard that admitted hears the rest all the same
	guard.Settle(admitted, ticket, policy.Outcome{Kind: policy.Returned})
	require.NoError(t, admitted.Err())
	cancel()
	require.ErrorIs(t, admitted.Err(), context.Canceled)
	require.Equal(t, []string{"admit open", "returned 1", "lift", "settle 2 returned"}, a.asked)

	admitted, ticket, err = guard.Admit(ctx)
	require.NoError(t, err)
	guard.Settle(admitted, ticket, policy.Outcome{Kind: policy.NotCalled})
	require.ErrorIs(t, admitted.Err(), context.Canceled)
	require.NotNil(t, guard.Changed(ctx))
	require.Equal(t, []string{"admit", "settle 1 not called", "changed"}, r.Get("a").asked)
	require.Nil(t, guard.Changed(withKey(t.Context(), "b")), "not there")
	require.NotNil(t, guard.Changed(withKey(t.Context(), "too long")), "the overflow value")
	require.Equal(t, time.Minute, guard.TimeLimit())

	r.Get("a").down.Store(true)
	_, _, _, err = guard.AdmitOpen(ctx)
	require.Equal(t, errFull, err)
}

func TestByAnswersForGuardsThatImplementNothing(t *testing.T) {
	guard := keyed.By(keyOf, keyed.New(func(string) ungated { return ungated{} }, always[ungated]()))
	admitted, ticket, lift, err := guard.AdmitOpen(t.Context())
	require.NoError(t, err)
	require.Nil(t, lift, "there is nothing to lift")
	require.Equal(t, ticket, guard.Returned(admitted, ticket))
	guard.Settle(admitted, ticket, policy.Outcome{Kind: policy.Returned})
	require.NoError(t, guard.Ready(t.Context()))
	require.Nil(t, guard.Changed(t.Context()))
	require.NoError(t, guard.Check(nil, nil))
	require.Equal(t, time.Duration(math.MaxInt64), guard.TimeLimit())
	require.True(t, guard.Idle())
	require.Equal(t, policy.Stage(650), guard.Report().Stage)
	_, ok := guard.ReportOf("a")
	require.False(t, ok)
}

// A lifter that is evicted while it admits hands the attempt back, with its cancel function.
func TestALifterThatLosesItsPlaceWhileItAdmits(t *testing.T) {
	first := true
	r := keyed.New(newEverything, keyed.Max(1))
	a := r.Get("a")
	guard := keyed.By(keyOf, r)
	admitted, ticket, _, err := guard.AdmitOpen(hook{withKey(t.Context(), "a"), func() {
		if first {
			first = false
			r.Get("b") // takes the only place
		}
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"admit open", "settle 1 not called"}, a.asked)
	successor := r.Get("a")
	require.NotSame(t, a, successor)
	guard.Settle(admitted, ticket, policy.Outcome{Kind: policy.Returned})
	require.Equal(t, []string{"admit open", "settle 1 returned"}, successor.asked)
}

// hook is a context that does something when a context is derived from it.
type hook struct {
	context.Context
	do func()
}

func (h hook) Done() <-chan struct{} { h.do(); return h.Context.Done() }

// Gates are asked with the context they are given, so a retry that goes on to another key is asked about that one.
func TestFault237_GatesAreAskedAboutTheKeyOfTheContext(t *testing.T) {
	r := keyed.New(newSlots(1))
	guard := keyed.By(keyOf, r)
	r.Get("a").down.Store(true)
	r.Get("b")
	require.ErrorIs(t, guard.Ready(withKey(t.Context(), "a")), policy.ErrRejected)
	require.NoError(t, guard.Ready(withKey(withKey(t.Context(), "a"), "b")))
}

// A key gets at most what its own value admits, and what it got from the overflow value and was not settled yet.
func TestFault242_TheBoundWhileTheOverflowDrains(t *testing.T) {
	r := keyed.New(newSlots(2), keyed.Max(1))
	guard := keyed.By(keyOf, r)
	admit := func(key string) (*policy.Permit, error) { return policy.Acquire(withKey(t.Context(), key), guard) }
	fill := func(key string, n int) (permits []*policy.Permit) {
		for {
			permit, err := admit(key)
			if err != nil {
				require.Len(t, permits, n, key)
				return permits
			}
			permits = append(permits, permit)
		}
	}
	a := fill("a", 2)
	overflow := fill("b", 2) // all of the overflow's
	fill("c", 0)             // shared by all who have no place
	for _, permit := range a {
		permit.Done(nil)
	}
	own := fill("b", 2) // b gets a's place: own limit plus what is left on the overflow value
	require.EqualValues(t, 2, r.Overflow().inFlight.Load())
	require.EqualValues(t, 2, r.Get("b").inFlight.Load())
	for _, permit := range append(overflow, own...) {
		permit.Done(nil)
	}
	fill("b", 2) // the overflow has drained, or would have: b never goes back to it while it has its place
	require.Zero(t, r.Overflow().inFlight.Load())
}

// budgeted stands for a retry: it is not idle while its budget is spent.
type budgeted struct{ spent *bool }

func (b budgeted) Stage() policy.Stage { return policy.StageRetry }
func (b budgeted) Next(context.Context, policy.Attempt) policy.Decision {
	return policy.Decision{}
}
func (b budgeted) Idle() bool { return !*b.spent }

func TestFault256_APipelineWithASpentBudgetIsNotEvicted(t *testing.T) {
	spent := false
	r := keyed.New(func(string) *resilience.Pipeline { return resilience.Compose(budgeted{&spent}) }, keyed.Max(1))
	a := r.Get("a")
	spent = true
	require.Same(t, r.Overflow(), r.Get("b"))
	require.Same(t, a, r.Get("a"))
	spent = false
	require.NotSame(t, r.Overflow(), r.Get("b"))
}

// limited has a method that looks like an optional one, but is another.
type limited struct{ *slots }

func (limited) Limit() time.Duration { return time.Nanosecond }

func TestFault257_OptionalMethodsAreThoseOfNamedInterfaces(t *testing.T) {
	guard := keyed.By(keyOf, keyed.New(func(key string) limited { return limited{newSlots(1)(key)} }))
	require.Equal(t, time.Duration(math.MaxInt64), guard.TimeLimit())
	require.Error(t, keyed.Validate(func(string) idles { return idles{} }), "Idle with another signature")
}

type idles struct{}

func (idles) Idle() (bool, error) { return true, nil }

func TestAGuardIsIdleWhenAllItsValuesAre(t *testing.T) {
	inner := keyed.New(newSlots(1), keyed.MaxKeyLength(5))
	guard := keyed.By(keyOf, inner)
	require.True(t, guard.Idle())
	inner.Get("a").down.Store(true)
	inner.Get("b")
	require.False(t, guard.Idle())
	outer := keyed.New(func(string) *keyed.Guard[string, *slots] { return guard }, keyed.Max(1))
	outer.Get("x")
	require.Same(t, outer.Overflow(), outer.Get("y"))
	inner.Get("a").down.Store(false)
	require.True(t, guard.Idle())
	inner.Overflow().down.Store(true)
	require.False(t, guard.Idle())
	require.Equal(t, 2, inner.Len())
}

// lost admits with a nil context, which no guard may.
type lost struct {
	ungated
	settled *[]policy.Outcome
}

func (lost) Admit(context.Context) (context.Context, policy.Ticket, error) {
	return nil, policy.Ticket{}, nil
}

func (l lost) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	*l.settled = append(*l.settled, outcome)
}

func TestAGuardThatAdmitsWithANilContextIsSettledAndNamed(t *testing.T) {
	var settled []policy.Outcome
	guard := keyed.By(keyOf, keyed.New(func(string) lost { return lost{settled: &settled} }, always[lost]()))
	require.PanicsWithValue(t, "keyed: keyed_test.lost admitted with a nil context", func() { _, _, _ = guard.Admit(t.Context()) })
	require.Equal(t, []policy.Outcome{{Kind: policy.NotCalled}}, settled)
}

// A key whose make fails is never there: no question about it reaches the value that was not made.
func TestAKeyWhoseMakeFailsIsNeverThere(t *testing.T) {
	r := keyed.New(func(key string) *slots {
		if key == "a" {
			panic("boom")
		}
		return newSlots(1)(key)
	})
	guard := keyed.By(keyOf, r)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = guard.Ready(withKey(context.Background(), "a"))
				r.ReportOf("a")
				for key, value := range r.All() {
					if value == nil {
						t.Errorf("%q has no value", key)
						return
					}
				}
			}
		})
	}
	for range 20_000 {
		func() {
			defer func() { _ = recover() }()
			r.Get("a")
		}()
	}
	close(stop)
	all.Wait()
}
