package resilience_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

func TestReadyOfAPipelineIsThatOfItsGates(t *testing.T) {
	first, second := &gate{probe: probe{name: "first", stage: 10}}, &gate{probe: probe{name: "second", stage: 20}}
	p := resilience.Compose(&probe{refuse: errRefused}, second, first)
	require.NoError(t, p.Ready(t.Context()), "a guard that is no gate is not asked")
	rejection := &policy.Rejection{Kind: "second"}
	second.closed.Store(rejection)
	require.Equal(t, error(rejection), p.Ready(t.Context()))
	require.EqualValues(t, 0, first.admitted.Load())
	outer := resilience.Compose(&again{max: 9}, p)
	require.ErrorIs(t, outer.Ready(t.Context()), policy.ErrRejected)
}

func TestRepeatersAskOnlyGatesFurtherIn(t *testing.T) {
	outside := &gate{probe: probe{stage: 10}}
	outside.closed.Store(&policy.Rejection{Reason: errRefused})
	p := resilience.Compose(outside, &again{max: 3})
	call, calls := policytest.Script(1, errBackend, errBackend)
	_, err := resilience.Do(t.Context(), p, call)
	require.NoError(t, err, "the gate outside admitted the call; its later answer is for others")
	require.Equal(t, 3, calls())
	require.Zero(t, outside.asked.Load())
}

func TestGatesAreAskedBeforeTheSleepAndAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		p := resilience.Compose(&again{max: 5, wait: time.Second}, g)
		calls := 0
		start := time.Now()
		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			calls++
			time.AfterFunc(500*time.Millisecond, func() { g.closed.Store(&policy.Rejection{Reason: errRefused}) })
			return 0, errBackend
		})
		require.ErrorIs(t, err, errRefused)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 1, calls)
		require.Equal(t, time.Second, time.Since(start), "closed during the sleep: seen after it")
		require.EqualValues(t, 2, g.asked.Load())

		start = time.Now()
		_, err = resilience.Do(t.Context(), p, answer(0, errBackend))
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, time.Since(start), "closed before the sleep: no sleep")
	})
}

func TestGatesAreAskedAgainOnlyAfterAWait(t *testing.T) {
	for wait, asked := range map[time.Duration]int64{-1: 1, 0: 1, 1: 3, time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			n, s, start := &notifying{}, &insistent{again: again{wait: wait}}, time.Now()
			call, _ := policytest.Script(1, errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(s, n), call)
			require.NoError(t, err)
			require.Equal(t, asked, n.asked.Load(), "before it, when the sleep begins and after it; wait %v", wait)
			require.Equal(t, max(0, wait), time.Since(start))
		})
	}
}

func TestAGateThatWasClosedIsForgottenWhenThereIsNoWait(t *testing.T) {
	g := &gate{}
	g.closed.Store(&policy.Rejection{Reason: errRefused})
	s := &insistent{act: func(policy.Attempt) { g.closed.Store(nil) }}
	call, calls := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), resilience.Compose(s, g), call)
	require.NoError(t, err)
	require.Equal(t, 2, calls())
	require.Len(t, s.heard, 2)
	require.Equal(t, 2, s.heard[1].Number, "the second attempt is made at once")
}

// notifying is a gate that tells of changes.
type notifying struct {
	gate
	mu      sync.Mutex
	changed chan struct{}
}

func (n *notifying) Changed(context.Context) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

func (n *notifying) set(rejection *policy.Rejection) {
	n.closed.Store(rejection)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

func TestASleepEndsWhenAGateClosesForLonger(t *testing.T) {
	until := func(d time.Duration) *policy.Rejection {
		return &policy.Rejection{Reason: errRefused, Until: time.Now().Add(d)}
	}
	cases := map[string]struct {
		during func(*notifying)
		slept  time.Duration
		calls  int
	}{
		"closed for longer":        {func(n *notifying) { n.set(until(time.Minute)) }, 2 * time.Second, 1},
		"closed, unknown how long": {func(n *notifying) { n.set(&policy.Rejection{Reason: errRefused}) }, 10 * time.Second, 1},
		"closed for less": {func(n *notifying) {
			n.set(until(3 * time.Second))
			time.AfterFunc(3*time.Second, func() { n.set(nil) })
		}, 10 * time.Second, 2},
		"closed and open again at once": {func(n *notifying) { n.set(until(time.Minute)); n.set(nil) }, 10 * time.Second, 2},
		"nothing happens":               {func(*notifying) {}, 10 * time.Second, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, other := &notifying{}, &notifying{}
				p := resilience.Compose(&again{max: 2, wait: 10 * time.Second}, other, n)
				time.AfterFunc(2*time.Second, func() { c.during(n) })
				start := time.Now()
				call, calls := policytest.Script(0, errBackend, errBackend)
				_, err := resilience.Do(context.Background(), p, call)
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, c.slept, time.Since(start))
				require.Equal(t, c.calls, calls())
				require.Equal(t, c.calls == 1, errors.Is(err, errRefused))
			})
		})
	}
}

func TestASleepEndsOnlyWhenTheGateStaysClosedForLongerThanItsRest(t *testing.T) {
	for name, c := range map[string]struct {
		closedFor time.Duration
		slept     time.Duration
		calls     int
	}{
		"a little longer than the rest": {8*time.Second + time.Millisecond, 2 * time.Second, 1},
		"exactly the rest":              {8 * time.Second, 10 * time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, retry := opensAt(100, c.closedFor), &again{max: 2, wait: 10 * time.Second}
				time.AfterFunc(2*time.Second, db.Trip)
				start := time.Now()
				call, calls := policytest.Script(0, errBackend, errBackend)
				_, err := resilience.Do(t.Context(), resilience.Compose(retry, db), call)
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, c.slept, time.Since(start))
				require.Equal(t, c.calls, calls())
				require.Len(t, retry.heard, 2)
				if c.calls == 1 {
					require.Equal(t, 1, retry.heard[1].Asked)
				}
			})
		})
	}
}

// A gate may close after it was asked and before the sleep begins: it is the repeater that does it here.
func TestAGateThatClosesJustBeforeTheSleepIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notifying{}
		r := &closing{again{max: 2, wait: 10 * time.Second}, func() { n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)}) }}
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(r, n), answer(0, errBackend))
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, time.Since(start))
	})
}

// closing is a repeater that does something while it decides.
type closing struct {
	again
	do func()
}

func (c *closing) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if ended.Asked == 0 {
		c.do()
	}
	return c.again.Next(ctx, ended)
}

// patient waits for a closed gate, for less time than that will stay closed.
type patient struct{ again }

func (p *patient) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	p.heard = append(p.heard, ended)
	return policy.Decision{Again: ended.Asked < 5, Wait: time.Second, Err: ended.Blocked}
}

func TestARepeaterThatWaitsForAClosedGateIsNotWokenByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notifying{}
		n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		p := &patient{}
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(p, n), func(context.Context) (int, error) { return 0, errBackend })
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Len(t, p.heard, 6)
	})
}

// ringing is a gate whose channel of changes is always closed.
type ringing struct {
	gate
	channel chan struct{}
}

func (r *ringing) Changed(context.Context) <-chan struct{} { return r.channel }

func TestANotifierThatAlwaysRingsIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ringing{channel: make(chan struct{})}
		close(r.channel)
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 2, wait: time.Second}, r), answer(0, errBackend))
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, time.Second, time.Since(start))
		require.Less(t, r.asked.Load(), int64(1000), "FAULT 274")
	})
}
