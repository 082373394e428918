package resilience_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
)

func TestARepeaterHearsOfEveryAttempt(t *testing.T) {
	r := &again{max: 5}
	call, calls := policytest.Script(42, errBackend, errBackend)
	value, err := resilience.Do(t.Context(), r, call)
	require.NoError(t, err)
	require.Equal(t, 42, value)
	require.Equal(t, 3, calls())
	require.Len(t, r.heard, 3)
	require.Equal(t, []any{nil, 1, 2}, []any{r.heard[0].State, r.heard[1].State, r.heard[2].State})
	require.True(t, r.heard[2].Outcome.Succeeded())
}

func TestARepeaterHearsOfTheFirstSuccess(t *testing.T) {
	for _, wrap := range []func(policy.Layer) policy.Layer{
		func(l policy.Layer) policy.Layer { return l },
		func(l policy.Layer) policy.Layer { return resilience.Compose(l) },
		func(l policy.Layer) policy.Layer { return resilience.Compose(l, &probe{name: "guard"}) },
	} {
		r := &again{max: 2}
		_, err := resilience.Do(t.Context(), wrap(r), answer(1, nil))
		require.NoError(t, err)
		require.Equal(t, []policy.Attempt{{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}}}, r.heard)
	}
}

// counting is a repeater that counts first attempts that succeed.
type counting struct {
	again
	succeeded int
}

func (c *counting) Succeeded(engine.Caller)     { c.succeeded++ }
func (c *counting) Discards(engine.Caller) bool { return false }

func TestASuccessCounterIsToldOfFirstAttemptsThatSucceed(t *testing.T) {
	for name, wrap := range map[string]func(*counting) policy.Layer{
		"alone":          func(c *counting) policy.Layer { return c },
		"in a pipeline":  func(c *counting) policy.Layer { return resilience.Compose(c) },
		"around a guard": func(c *counting) policy.Layer { return resilience.Compose(c, &probe{name: "guard"}) },
		"with an observer": func(c *counting) policy.Layer {
			return resilience.Compose(c, resilience.Observe(&policytest.Recorder{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &counting{again: again{max: 3}}
			layer := wrap(c)
			for range 2 {
				_, err := resilience.Do(t.Context(), layer, answer(1, nil))
				require.NoError(t, err)
			}
			require.Equal(t, 2, c.succeeded)
			require.Empty(t, c.heard, "in place of Next")

			call, _ := policytest.Script(1, errBackend)
			_, err := resilience.Do(t.Context(), layer, call)
			require.NoError(t, err)
			require.Equal(t, 2, c.succeeded, "the second attempt is no first one")
			require.Len(t, c.heard, 2, "of all attempts of a call that fails at first, Next is told")
			require.True(t, c.heard[1].Outcome.Succeeded())
		})
	}
}

// insistent is a repeater that always wants another attempt, after wait.
type insistent struct {
	again
	act func(ended policy.Attempt)
}

func (s *insistent) Next(_ context.Context, ended policy.Attempt) policy.Decision {
	s.heard = append(s.heard, ended)
	if s.act != nil {
		s.act(ended)
	}
	return policy.Decision{Again: len(s.heard) < 10 && !ended.Outcome.Succeeded(), Wait: s.wait}
}

func TestARepeaterCannotGoOnAfterTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &insistent{}
	_, err := resilience.Do(ctx, s, func(context.Context) (int, error) {
		cancel()
		return 0, errBackend
	})
	require.Equal(t, errBackend, err)
	require.Len(t, s.heard, 1)
}

// sour is a repeater that gives up with an error of its own.
type sour struct {
	again
	err error
}

func (s *sour) Next(context.Context, policy.Attempt) policy.Decision {
	return policy.Decision{Err: s.err}
}

func TestTheValueOfAnAttemptStaysWhenNoGateHasRefused(t *testing.T) {
	s := &sour{err: &policy.Rejection{Reason: errRefused}}
	value, err := resilience.Do(t.Context(), resilience.Compose(s, &gate{}), answer(7, errBackend))
	require.Equal(t, s.err, err)
	require.Equal(t, 7, value)
}

func TestAnOuterGuardHearsNotCalledOnlyIfNoAttemptEntered(t *testing.T) {
	outer, inner := &probe{name: "outer", stage: policy.StageShed}, &probe{name: "inner"}
	p := resilience.Compose(outer, &again{max: 2}, inner)
	_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
		inner.refuse = errRefused
		return 0, errBackend
	})
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, policy.Returned, outer.last.Load().Kind)
	_, err = resilience.Do(t.Context(), p, answer(1, nil))
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
}

// hesitant is a guard that refuses the first attempt.
type hesitant struct {
	probe
	asked int
}

func (h *hesitant) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if h.asked++; h.asked == 1 {
		return ctx, policy.Ticket{}, errRefused
	}
	return h.probe.Admit(ctx)
}

func TestACallHasEnteredWhenOneOfItsAttemptsHas(t *testing.T) {
	outer := &probe{name: "outer", stage: policy.StageShed}
	_, err := resilience.Do(t.Context(), resilience.Compose(outer, &again{max: 2}, &hesitant{}), answer(0, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}, *outer.last.Load())
}

// saver is a repeater that pays for each further attempt and takes back what an attempt has cost that was not made.
type saver struct {
	again
	calls   int
	spent   int
	onCall  func(calls int)
	onAsked []int
}

func (s *saver) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	s.calls++
	s.onAsked = append(s.onAsked, ended.Asked)
	if paid, _ := ended.State.(int); paid == ended.Number { // for an attempt after this one, which is not made
		s.spent--
		ended.State = nil
	}
	if s.onCall != nil {
		s.onCall(s.calls)
	}
	if ended.Outcome.Succeeded() || ended.Number == s.max || ctx.Err() != nil {
		return policy.Decision{}
	}
	s.spent++
	return policy.Decision{Again: true, Wait: s.wait, State: ended.Number}
}

// FAULT 267: what was spent on an attempt comes back when a panic or runtime.Goexit prevents it.
func TestFault267_AnAttemptThatIsNotMadeCostsNothing(t *testing.T) {
	for ending, burst := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		for name, c := range map[string]struct {
			layers func() []policy.Layer
			asked  []int
			spent  int
		}{
			"in Admit of the second attempt": {func() []policy.Layer {
				n := 0
				return []policy.Layer{&hooked{admit: func() {
					if n++; n == 2 {
						burst()
					}
				}}}
			}, []int{0, 1}, 0},
			"in Ready after the sleep": {func() []policy.Layer {
				g := &gate{}
				g.onReady = func(asked int64) {
					if asked == 2 {
						burst()
					}
				}
				return []policy.Layer{g}
			}, []int{0, 1}, 0},
			"in Ready before the repeater is asked": {func() []policy.Layer {
				return []policy.Layer{&gate{onReady: func(int64) { burst() }}}
			}, nil, 0},
			"in Changed": {func() []policy.Layer {
				return []policy.Layer{&alarmed{onChanged: burst}}
			}, []int{0, 1}, 0},
			"in an observer of the retry": {func() []policy.Layer {
				if ending == "panic" {
					return []policy.Layer{&gate{onReady: func(asked int64) { // a panic of an observer is contained
						if asked == 2 {
							burst()
						}
					}}}
				}
				return []policy.Layer{resilience.Observe(policy.ObserverFunc(func(_ context.Context, e policy.Event) {
					if e.Kind == policy.EventRetry {
						burst()
					}
				}))}
			}, []int{0, 1}, 0},
			"in the operation": {func() []policy.Layer {
				return []policy.Layer{&hooked{}} // see below: the second attempt is made
			}, []int{0}, 1},
		} {
			t.Run(ending+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &saver{again: again{max: 3, wait: time.Second}}
					outer := &probe{stage: policy.StageShed}
					p := resilience.Compose(append(c.layers(), s, outer)...)
					number := 0
					recovered, exited := caught(func() {
						_, _ = resilience.Do(context.Background(), p, func(context.Context) (int, error) {
							if number++; number == 2 {
								burst()
							}
							return 0, errBackend
						})
					})
					require.True(t, exited || recovered == "boom")
					require.Equal(t, c.asked, s.onAsked)
					require.Equal(t, c.spent, s.spent)
					require.EqualValues(t, 1, outer.settled.Load())
				})
			})
		}
	}
}

// hooked is a guard that does something when it is asked.
type hooked struct {
	probe
	admit func()
}

func (h *hooked) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if h.admit != nil {
		h.admit()
	}
	return h.probe.Admit(ctx)
}

// alarmed is a notifier that does something when it is asked for its channel.
type alarmed struct {
	gate
	onChanged func()
}

func (a *alarmed) Changed(context.Context) <-chan struct{} { a.onChanged(); return nil }

// A repeater that panics is not asked again: it takes back what it has spent itself, and its panic reaches the caller.
func TestARepeaterThatPanicsIsNotAskedAgain(t *testing.T) {
	for when := range 3 {
		s := &saver{again: again{max: 3}}
		s.onCall = func(calls int) {
			if calls >= when+1 {
				panic(calls)
			}
		}
		recovered, _ := caught(func() { _, _ = resilience.Do(context.Background(), s, answer(0, errBackend)) })
		require.Equal(t, when+1, recovered)
		require.Equal(t, when+1, s.calls)
	}
	s := &saver{again: again{max: 3}, onCall: func(calls int) {
		if calls == 2 {
			panic("of the success")
		}
	}}
	call, _ := policytest.Script(1, errBackend)
	recovered, _ := caught(func() { _, _ = resilience.Do(context.Background(), s, call) })
	require.Equal(t, "of the success", recovered)
	require.Equal(t, 2, s.calls)
}

// payer is a repeater with a budget.
type payer struct {
	again
	budget *purse
}

func (p *payer) Budget() policy.Budget { return p.budget }

type purse struct{ deposits int }

func (p *purse) Deposit()     { p.deposits++ }
func (*purse) Withdraw() bool { return true }
func (*purse) Return()        {}

func TestEachCallThatEntersTheOperationDepositsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		layers func(*purse) []policy.Layer
		err    error
		want   int
	}{
		"success": {func(b *purse) []policy.Layer { return []policy.Layer{&payer{again{max: 3}, b}} }, nil, 1},
		"failure": {func(b *purse) []policy.Layer { return []policy.Layer{&payer{again{max: 3}, b}} }, errBackend, 1},
		"never entered": {func(b *purse) []policy.Layer {
			return []policy.Layer{&payer{again{max: 3}, b}, &probe{refuse: errRefused}}
		}, nil, 0},
		"entered at last":    {func(b *purse) []policy.Layer { return []policy.Layer{&payer{again{max: 3}, b}, &hesitant{}} }, nil, 1},
		"entered, and again": {func(b *purse) []policy.Layer { return []policy.Layer{&payer{again{max: 4}, b}, &hesitant{}} }, errBackend, 1},
		"two users of one budget": {func(b *purse) []policy.Layer {
			return []policy.Layer{&payer{again{max: 2}, b}, &payer{again{max: 2, stage: policy.StageChaos}, b}}
		}, errBackend, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := &purse{}
			_, _ = resilience.Do(t.Context(), resilience.Compose(c.layers(b)...), answer(1, c.err))
			require.Equal(t, c.want, b.deposits)
		})
	}
}

// collector is a repeater that gets the values that are given up.
type collector struct {
	again
	discarded []any
	onDiscard func(any)
}

func (c *collector) Discard(value any) {
	c.discarded = append(c.discarded, value)
	if c.onDiscard != nil {
		c.onDiscard(value)
	}
}

// FAULT 252: the value beside the error is that of the last attempt that entered, for whatever reason the call ends.
// Values that are given up go to the repeater, once, just before the next attempt enters the operation.
func TestFault252_TheValueOfTheLastAttemptThatEntered(t *testing.T) {
	refuser, closable := &probe{stage: policy.StageChaos}, &gate{}
	reset := func() { refuser.refuse = nil; closable.closed.Store(nil) }
	for name, c := range map[string]struct {
		max     int
		wait    time.Duration
		onEntry func(number int, cancel context.CancelFunc) error
		value   int
		want    []any
	}{
		"exhausted":          {3, 0, func(int, context.CancelFunc) error { return errBackend }, 3, []any{1, 2}},
		"success in the end": {4, 0, func(n int, _ context.CancelFunc) error { return []error{errBackend, errBackend, nil}[n-1] }, 3, []any{1, 2}},
		"success at once":    {4, 0, func(int, context.CancelFunc) error { return nil }, 1, nil},
		"a gate that begins to refuse": {4, 0, func(int, context.CancelFunc) error {
			closable.closed.Store(&policy.Rejection{Reason: errRefused})
			return errBackend
		}, 1, nil},
		"a guard that refuses": {4, 0, func(int, context.CancelFunc) error { refuser.refuse = errRefused; return errBackend }, 1, nil},
		"refused after a retry": {9, 0, func(n int, _ context.CancelFunc) error {
			if n == 2 {
				refuser.refuse = errRefused
			}
			return errBackend
		}, 2, []any{1}},
		"the caller cancels": {4, 0, func(_ int, cancel context.CancelFunc) error { cancel(); return errBackend }, 1, nil},
		"the caller cancels while it sleeps": {4, time.Second, func(_ int, cancel context.CancelFunc) error {
			time.AfterFunc(time.Millisecond, cancel)
			return errBackend
		}, 1, nil},
		"a gate that begins to refuse during the sleep": {4, time.Second, func(int, context.CancelFunc) error {
			time.AfterFunc(time.Millisecond, func() { closable.closed.Store(&policy.Rejection{}) })
			return errBackend
		}, 1, nil},
	} {
		for inside, further := range map[string]policy.Layer{"": nil, " around a wrapper": &around1{stage: policy.StageHedge}, " around a repeater": &collector{again: again{max: 1, stage: policy.StageHedge}}} {
			t.Run(name+inside, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					defer reset()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					number := 0
					r := &collector{again: again{max: c.max, wait: c.wait}}
					r.onDiscard = func(value any) {
						require.Equal(t, number, value, "just before the next attempt enters")
					}
					layers := []policy.Layer{r, closable, refuser, resilience.Observe(&policytest.Recorder{})}
					if further != nil {
						layers = append(layers, further)
					}
					value, err := resilience.Do(ctx, resilience.Compose(layers...), func(context.Context) (int, error) {
						number++
						return number, c.onEntry(number, cancel)
					})
					require.Equal(t, err == nil, c.onEntry(c.value, func() {}) == nil)
					require.Equal(t, c.value, value)
					require.Equal(t, c.want, r.discarded)
				})
			})
		}
	}
	t.Run("zero values are nobody's", func(t *testing.T) {
		r := &collector{again: again{max: 3}}
		values := []*stream{nil, {}, nil}
		value, err := resilience.Do(t.Context(), r, func(context.Context) (*stream, error) {
			value := values[0]
			values = values[1:]
			return value, errBackend
		})
		require.Error(t, err)
		require.Nil(t, value)
		require.Len(t, r.discarded, 1)
		require.IsType(t, &stream{}, r.discarded[0])

		var any1 any
		r = &collector{again: again{max: 2}}
		_, err = resilience.Do(t.Context(), r, func(context.Context) (any, error) { return any1, errBackend })
		require.Error(t, err)
		require.Empty(t, r.discarded)
	})
	t.Run("never entered: the zero value", func(t *testing.T) {
		r := &collector{again: again{max: 3}}
		value, err := resilience.Do(t.Context(), resilience.Compose(r, &probe{refuse: errRefused}), answer(7, nil))
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, value)
		require.Empty(t, r.discarded)
	})
	t.Run("nested repeaters give up each value once", func(t *testing.T) {
		outer, inner := &collector{again: again{max: 2}}, &collector{again: again{max: 2, stage: policy.StageHedge}}
		number := 0
		value, err := resilience.Do(t.Context(), resilience.Compose(outer, inner), func(context.Context) (int, error) { number++; return number, errBackend })
		require.Error(t, err)
		require.Equal(t, 4, value)
		require.Equal(t, []any{1, 3}, inner.discarded)
		require.Equal(t, []any{2}, outer.discarded)
	})
}

// An operation that exits has exited, also after the value of the attempt before was given up.
func TestAnExitAfterAValueWasGivenUp(t *testing.T) {
	guard, number := &probe{}, 0
	recorder := &policytest.Recorder{}
	p := resilience.Compose(&collector{again: again{max: 2}}, guard, resilience.Observe(recorder))
	_, exited := caught(func() {
		_, _ = resilience.Do(context.Background(), p, func(context.Context) (int, error) {
			if number++; number == 2 {
				runtime.Goexit()
			}
			return number, errBackend
		})
	})
	require.True(t, exited)
	require.Equal(t, policy.Exited, guard.last.Load().Kind)
}

// TestAnAttemptDoesNotKeepTheValueBeforeIt: its context lives as long as its result, which may be a stream.
func TestAnAttemptDoesNotKeepTheValueBeforeIt(t *testing.T) {
	var before weak.Pointer[[1000]byte]
	_, permit, err := resilience.Open(t.Context(), &again{max: 2}, func(ctx context.Context) (*[1000]byte, error) {
		if retry.Attempt(ctx) == 1 {
			value := new([1000]byte)
			before = weak.Make(value)
			return value, errBackend
		}
		return nil, nil
	})
	require.NoError(t, err)
	runtime.GC()
	require.True(t, before.Value() == nil)
	require.Equal(t, 2, retry.Attempt(permit.Context()))
	permit.Done(nil)
}
