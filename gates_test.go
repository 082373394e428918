package resilience_test

import (
	"context"
	"errors"
	"github.com/go-resilience/resilience/internal/attempt"
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

// patient waits for a refusing gate, for less time than that will go on refusing.
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

// hosts is what a registry of gates per host is to the engine: which host an attempt is for follows from its number.
type hosts struct {
	a, b    *notifying
	numbers []int // of the attempts that Ready and Changed were asked for
}

func (*hosts) Stage() policy.Stage { return policy.StageBreaker }
func (h *hosts) of(ctx context.Context) *notifying {
	if number := max(1, attempt.Number(ctx)); number%2 == 0 {
		return h.b
	}
	return h.a
}

func (h *hosts) Ready(ctx context.Context) error {
	h.numbers = append(h.numbers, attempt.Number(ctx))
	return h.of(ctx).Ready(ctx)
}

func (h *hosts) Changed(ctx context.Context) <-chan struct{} {
	h.numbers = append(h.numbers, attempt.Number(ctx))
	return h.of(ctx).Changed(ctx)
}

func (h *hosts) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	host := h.of(ctx)
	if rejection := host.closed.Load(); rejection != nil {
		return ctx, policy.Ticket{}, rejection
	}
	_, ticket, err := host.Admit(ctx)
	return ctx, ticket, err
}

func (h *hosts) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	h.of(ctx).Settle(ctx, ticket, outcome)
}

// FAULT 237: gates are asked with the context of the attempt that would come: its number, its host.
func TestFault237_GatesAreAskedForTheNextAttempt(t *testing.T) {
	down := func() *policy.Rejection {
		return &policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Hour)}
	}
	for name, c := range map[string]struct {
		wait  time.Duration
		while func(h *hosts) // a call is made
	}{
		"a is down":                        {0, func(h *hosts) { h.a.set(down()) }},
		"a is down, with a sleep":          {time.Second, func(h *hosts) { h.a.set(down()) }},
		"a is found down at the attempt":   {time.Second, func(*hosts) {}},
		"a changes while the retry sleeps": {time.Second, func(h *hosts) { time.AfterFunc(time.Second/2, func() { h.a.set(down()) }) }},
		"a comes up and goes down while it sleeps": {time.Second, func(h *hosts) {
			h.a.set(down())
			time.AfterFunc(time.Second/2, func() { h.a.set(nil); h.a.set(down()) })
		}},
		"b is down first and up when the sleep ends": {time.Second, func(h *hosts) { h.a.set(down()); time.AfterFunc(time.Second/2, func() { h.b.set(nil) }) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				succeeded := 0
				for range 20 {
					h := &hosts{a: &notifying{}, b: &notifying{}}
					c.while(h)
					start := time.Now()
					value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 2, wait: c.wait}, h), func(ctx context.Context) (int, error) {
						if attempt.Number(ctx) < 2 {
							h.a.set(down())
							return 0, errBackend
						}
						return 42, nil
					})
					require.NoError(t, err)
					require.Equal(t, 42, value)
					require.Equal(t, c.wait, time.Since(start))
					for i, number := range h.numbers {
						elsewhere := number == 0 && i > 0 && h.numbers[i-1] == 2 // would the refused attempt be refused still?
						require.True(t, number == 2 || elsewhere, "Ready and Changed get the next attempt's context")
					}
					succeeded++
				}
				require.Equal(t, 20, succeeded)
			})
		})
	}
	t.Run("the next one's host is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := &hosts{a: &notifying{}, b: &notifying{}}
			h.b.set(down())
			_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 4, wait: time.Second}, h), answer(0, errBackend))
			require.ErrorIs(t, err, errRefused)
			require.EqualValues(t, 1, h.a.admitted.Load())
			require.Equal(t, []int{2}, h.numbers)
		})
	})
	t.Run("the next one's host goes down while the retry sleeps", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := &hosts{a: &notifying{}, b: &notifying{}}
			time.AfterFunc(time.Second, func() { h.b.set(down()) })
			start := time.Now()
			_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 4, wait: time.Minute}, h), answer(0, errBackend))
			require.ErrorIs(t, err, errRefused)
			require.Equal(t, time.Second, time.Since(start))
		})
	})
	t.Run("a third attempt, inside a repeater that is on its second", func(t *testing.T) {
		h := &hosts{a: &notifying{}, b: &notifying{}}
		inner := &again{max: 3, stage: policy.StageHedge}
		_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 2}, inner, h), answer(0, errBackend))
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, []int{2, 3, 4, 2, 2, 3, 4, 3}, h.numbers)
	})
}

// FAULT 274: a channel that is always closed does not make a sleep spin, nor do two that take turns.
func TestFault274_ASleepIsDisturbedABoundedNumberOfTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		close(closed)
		one, two := &ringing{channel: closed}, &ringing{channel: closed}
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 3, wait: time.Hour}, one, two), answer(0, errBackend))
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 2*time.Hour, time.Since(start), "it sleeps all the same")
		require.LessOrEqual(t, one.asked.Load(), int64(2*(100+2)+1))

		// A gate that really changes often is followed for a while, and asked at the end.
		n := &notifying{}
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					n.set(nil)
				}
			}
		}()
		time.AfterFunc(50*time.Second+time.Millisecond, func() {
			n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(24 * time.Hour)})
		})
		start = time.Now()
		_, err = resilience.Do(t.Context(), resilience.Compose(&again{max: 2, wait: time.Hour}, n), answer(0, errBackend))
		close(stop)
		require.ErrorIs(t, err, errRefused)
		require.Less(t, time.Since(start), time.Minute)
	})
}

// firstDown refuses first attempts: they go to a host that is down, later ones to another.
type firstDown struct{}

func (*firstDown) Stage() policy.Stage { return policy.StageBreaker }
func (*firstDown) Ready(ctx context.Context) error {
	if attempt.Number(ctx) < 2 {
		return &policy.Rejection{Reason: errRefused}
	}
	return nil
}

func (d *firstDown) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, d.Ready(ctx)
}
func (*firstDown) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestElsewhereIsSaidOfTheAttemptThatWasRefused(t *testing.T) {
	r := &again{max: 3}
	_, err := resilience.Do(t.Context(), resilience.Compose(r, &firstDown{}), answer(1, nil))
	require.NoError(t, err)
	require.Len(t, r.heard, 2)
	require.True(t, r.heard[0].Elsewhere)
	require.Equal(t, policy.Attempt{Number: 2, Outcome: policy.Outcome{Kind: policy.Returned}, State: 1}, r.heard[1])
}
