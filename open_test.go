package resilience_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// stream is what the operations of these tests return: the context that it needs.
type stream struct{ ctx context.Context }

func (s *stream) read() error { return context.Cause(s.ctx) }

func connect(ctx context.Context) (*stream, error) { return &stream{ctx}, nil }

func TestOpenKeepsTheGuardsOfTheAttemptThatSucceeded(t *testing.T) {
	j := &journal{}
	a, b := &probe{name: "a", journal: j, stage: policy.StageShed}, &meter{probe: probe{name: "b", journal: j}}
	c := &meter{probe: probe{name: "c", journal: j, stage: policy.StageBulkhead}}
	p := resilience.Compose(a, &again{max: 3}, b, c)
	call, _ := policytest.Script(42, errBackend)
	value, permit, err := resilience.Open(t.Context(), p, call)
	require.NoError(t, err)
	require.Equal(t, 42, value)
	require.Equal(t, []string{
		"enter a", "enter b", "enter c", "leave c: returned", "leave b: returned", // the first attempt
		"enter b", "enter c", "returned c", "returned b",
	}, j.all())

	require.True(t, permit.Done(errBackend))
	require.Equal(t, []string{"counted c", "leave c: returned", "counted b", "leave b: returned", "leave a: returned"}, j.all()[9:])
	want := policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}
	for _, guard := range []*probe{a, &b.probe, &c.probe} {
		require.Equal(t, want, *guard.last.Load())
	}
	require.False(t, permit.Done(nil), "FAULT 34: the second settlement is no settlement")
	require.False(t, permit.Settle(policy.Outcome{Kind: policy.Exited}))
	require.Len(t, j.all(), 14)
}

func TestOpenWithoutAPermit(t *testing.T) {
	guard := &probe{}
	value, permit, err := resilience.Open(t.Context(), resilience.Compose(guard), answer(3, errBackend))
	require.Equal(t, 3, value)
	require.Equal(t, errBackend, err)
	require.Nil(t, permit)
	require.EqualValues(t, 1, guard.settled.Load())
	require.False(t, permit.Done(nil))
	require.False(t, permit.Settle(policy.Outcome{}))
	require.Equal(t, context.Background(), permit.Context())

	guard.refuse = errRefused
	_, permit, err = resilience.Open(t.Context(), guard, answer(3, nil))
	require.ErrorIs(t, err, errRefused)
	require.Nil(t, permit)

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	_, permit, err = resilience.Open(ended, &probe{}, answer(3, nil))
	require.ErrorIs(t, err, errCause)
	require.Nil(t, permit)
}

func TestOpenOfAnythingThatDoTakes(t *testing.T) {
	guard := &probe{}
	for name, open := range map[string]func(policy.Func[*stream]) (*stream, *policy.Permit, error){
		"a single guard": func(op policy.Func[*stream]) (*stream, *policy.Permit, error) {
			return resilience.Open(t.Context(), guard, op)
		},
		"a moved guard": func(op policy.Func[*stream]) (*stream, *policy.Permit, error) {
			return resilience.Open(t.Context(), policy.At(10, guard), op)
		},
		"a source": func(op policy.Func[*stream]) (*stream, *policy.Permit, error) {
			return resilience.Open(t.Context(), handle{resilience.Compose(guard)}, op)
		},
		"a view": func(op policy.Func[*stream]) (*stream, *policy.Permit, error) {
			return resilience.For[*stream](guard).Open(t.Context(), op)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := guard.settled.Load()
			s, permit, err := open(connect)
			require.NoError(t, err)
			require.NoError(t, s.read())
			require.Equal(t, before, guard.settled.Load())
			require.True(t, permit.Done(nil))
			require.Equal(t, before+1, guard.settled.Load())
		})
	}
	s, permit, err := resilience.Open(t.Context(), resilience.Compose(), connect)
	require.NoError(t, err)
	require.NoError(t, s.read())
	require.True(t, permit.Done(nil), "a pipeline without layers has a permit all the same")
}

// handle is a source that is a layer.
type handle struct{ pipeline *resilience.Pipeline }

func (h handle) Current() *resilience.Pipeline { return h.pipeline }
func (handle) Stage() policy.Stage             { return policy.StageFallback }

func TestTheContextOfAnOpenResultLivesUntilThePermitIsSettled(t *testing.T) {
	derive := func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	inner := &probe{stage: policy.StageBulkhead, derive: derive}
	total := &limit{probe: probe{name: "total", stage: policy.StageTotalTimeout}, after: time.Minute}
	p := resilience.Compose(plainLimit{total}, inner)
	t.Run("settled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, permit, err := resilience.Open(t.Context(), p, connect)
			require.NoError(t, err)
			require.Equal(t, s.ctx, permit.Context())
			time.Sleep(59 * time.Second)
			require.NoError(t, s.read())
			require.True(t, permit.Done(nil))
			require.ErrorIs(t, s.read(), context.Canceled)
			require.False(t, inner.last.Load().Canceled)
		})
	})
	t.Run("the caller ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			s, permit, err := resilience.Open(ctx, p, connect)
			require.NoError(t, err)
			cancel(errCause)
			require.ErrorIs(t, s.read(), errCause)
			require.True(t, permit.Done(s.read()))
			require.True(t, inner.last.Load().Canceled, "neutral, as everywhere")
			require.True(t, total.last.Load().Canceled)
			require.Equal(t, policy.Neutral, inner.last.Load().Verdict(nil))
		})
	})
	t.Run("the total timeout expires", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			outermost := &probe{stage: policy.StageFallback}
			s, permit, err := resilience.Open(t.Context(), resilience.Compose(outermost, p), connect)
			require.NoError(t, err)
			<-s.ctx.Done()
			require.ErrorAs(t, s.read(), new(limitError))
			require.True(t, permit.Done(errBackend))
			last := inner.last.Load()
			require.Equal(t, errBackend, last.Err)
			require.Equal(t, policy.Transient, last.Class)
			require.False(t, last.Canceled)
			require.ErrorAs(t, outermost.last.Load().Err, new(limitError), "named to those outside")
			require.ErrorIs(t, outermost.last.Load().Err, errBackend)
		})
	})
}

// plainLimit is a limit that bounds everything until the permit is settled.
type plainLimit struct{ l *limit }

func (p plainLimit) Stage() policy.Stage { return p.l.Stage() }
func (p plainLimit) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return p.l.Admit(ctx)
}
func (p plainLimit) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	p.l.Settle(ctx, ticket, outcome)
}

func TestALiftedBoundEndsWithTheOperation(t *testing.T) {
	for name, around := range map[string][]policy.Layer{
		"innermost":                  nil,
		"outside a repeater":         {policy.At(policy.StageAttemptTimeout+1, &again{max: 9})},
		"outside an opener":          {&relay{stage: policy.StageChaos, max: 9}},
		"outside a plain wrapper":    {&around1{stage: policy.StageChaos}},
		"outside a wrapper and more": {&relay{stage: policy.StageChaos, max: 9}, policy.At(policy.StageChaos+1, &again{max: 2})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bound := &limit{after: time.Second}
				p := resilience.Compose(append([]policy.Layer{bound}, around...)...)
				number := 0
				s, permit, err := resilience.Open(t.Context(), p, func(ctx context.Context) (*stream, error) {
					time.Sleep(300 * time.Millisecond)
					if number++; number < 3 && around != nil && name != "outside a plain wrapper" {
						return nil, errBackend
					}
					_, has := ctx.Deadline()
					require.False(t, has)
					return &stream{ctx}, nil
				})
				require.NoError(t, err)
				require.EqualValues(t, 1, bound.lifted.Load())
				time.Sleep(time.Hour)
				require.NoError(t, s.read())
				require.True(t, permit.Done(nil))
				require.Error(t, s.read())
			})
		})
	}
	t.Run("and bounds the operation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bound, outer, inner := &limit{after: time.Second}, &probe{}, &probe{stage: policy.StageChaos}
			_, permit, err := resilience.Open(t.Context(), resilience.Compose(bound, outer, inner), func(ctx context.Context) (int, error) {
				<-ctx.Done()
				require.Equal(t, context.Canceled, ctx.Err())
				return 0, errBackend
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, errBackend)
			require.Nil(t, permit)
			for _, guard := range []*probe{outer, inner} {
				require.Equal(t, policy.Transient, guard.last.Load().Class)
				require.False(t, guard.last.Load().Canceled)
			}
			require.Zero(t, bound.lifted.Load())
		})
	})
	t.Run("of an attempt that was refused is forgotten", func(t *testing.T) {
		bound := &limit{after: time.Hour}
		refuser := &hesitant{probe: probe{stage: policy.StageChaos}}
		_, permit, err := resilience.Open(t.Context(), resilience.Compose(&again{max: 2}, bound, refuser), connect)
		require.NoError(t, err)
		require.EqualValues(t, 1, bound.lifted.Load())
		require.True(t, permit.Done(nil))
	})
	t.Run("refused", func(t *testing.T) {
		bound := &limit{probe: probe{refuse: errRefused}, after: time.Hour}
		_, permit, err := resilience.Open(t.Context(), bound, connect)
		require.ErrorIs(t, err, errRefused)
		require.Nil(t, permit)
	})
}

// around1 is a wrapper that makes one call and ends no context.
type around1 struct{ stage policy.Stage }

func (a *around1) Stage() policy.Stage { return a.stage }
func (a *around1) Run(ctx context.Context, call func(context.Context) error) error {
	return call(ctx)
}

// Should the bound be reached between the return of the operation and the lift, the success stands.
func TestABoundThatIsReachedBeforeItIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, layers := range [][]policy.Layer{nil, {&around1{stage: policy.StageHedge}}} {
			bound := &limit{after: time.Second}
			s, permit, err := resilience.Open(t.Context(), resilience.Compose(append(layers, bound)...), func(ctx context.Context) (*stream, error) {
				time.Sleep(2 * time.Second) // and does not look
				return &stream{ctx}, nil
			})
			require.NoError(t, err)
			require.ErrorAs(t, s.read(), new(limitError))
			require.True(t, permit.Done(nil))
			require.EqualValues(t, 1, bound.settled.Load())
		}
	})
}

func TestAResultThatAnOpenerHasWonStaysOpen(t *testing.T) {
	j := &journal{}
	outer, inner := &probe{name: "outer", journal: j, stage: policy.StageShed}, &meter{probe: probe{name: "inner", journal: j}}
	var loser context.Context
	r := &relay{max: 3, after: func(call int, ctx context.Context, err error) {
		if call == 1 {
			loser = ctx
			require.ErrorIs(t, ctx.Err(), context.Canceled, "call has ended the context of a failure")
		}
	}}
	number := 0
	s, permit, err := resilience.Open(t.Context(), resilience.Compose(outer, r, inner), func(ctx context.Context) (*stream, error) {
		if number++; number == 1 {
			return nil, errBackend
		}
		return connect(ctx)
	})
	require.NoError(t, err)
	require.Error(t, loser.Err())
	require.NoError(t, s.read())
	require.Equal(t, s.ctx, permit.Context())
	require.Equal(t, []string{"enter outer", "enter inner", "leave inner: returned", "enter inner", "returned inner"}, j.all())
	require.True(t, permit.Done(nil))
	require.Error(t, s.read())
	require.Equal(t, []string{"counted inner", "leave inner: returned", "leave outer: returned"}, j.all()[5:])
	require.Empty(t, r.discarded)
}

func TestARepeaterInsideAnOpenerHasALivingContext(t *testing.T) {
	for name, err1 := range map[string]error{"failure": errBackend, "answer": answered{errBackend}} {
		t.Run(name, func(t *testing.T) {
			r := &relay{max: 1, stage: policy.StageShed}
			number := 0
			s, permit, err := resilience.Open(t.Context(), resilience.Compose(r, &again{max: 3}, &probe{}), func(ctx context.Context) (*stream, error) {
				require.NoError(t, ctx.Err())
				if number++; number < 3 {
					return &stream{ctx}, err1
				}
				return connect(ctx)
			})
			require.NoError(t, err)
			require.NoError(t, s.read())
			require.True(t, permit.Done(nil))
			require.Error(t, s.read())
		})
	}
}

func TestAForeignWrapperThatEndsItsContextCannotStayOpen(t *testing.T) {
	outer, inner := &probe{stage: policy.StageShed}, &meter{}
	foreign := wrapper(func(ctx context.Context, call func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return call(ctx)
	})
	_, permit, err := resilience.Open(t.Context(), resilience.Compose(outer, &again{max: 1}, foreign, inner), connect)
	require.ErrorContains(t, err, "the result of *resilience_test.around cannot stay open: its context has ended")
	require.Nil(t, permit)
	require.EqualValues(t, 1, outer.settled.Load())
	require.EqualValues(t, 1, inner.settled.Load())
	require.Equal(t, policy.Permanent, outer.last.Load().Class)
	require.True(t, inner.last.Load().Succeeded())

	undecided := wrapper(func(ctx context.Context, call func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_ = call(ctx)
		return errRefused
	})
	_, permit, err = resilience.Open(t.Context(), resilience.Compose(outer, undecided, inner), connect)
	require.Equal(t, errRefused, err, "an error of the wrapper's own, as the context of the success has ended")
	require.Nil(t, permit)
	require.EqualValues(t, 2, inner.settled.Load())
	require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errRefused}, *outer.last.Load())

	value, err := resilience.Do(t.Context(), resilience.Compose(outer, foreign, inner), answer(1, nil))
	require.NoError(t, err)
	require.Equal(t, 1, value)

	ctx, cancel := context.WithCancel(t.Context())
	_, permit, err = resilience.Open(ctx, resilience.Compose(foreign, inner), func(context.Context) (int, error) { cancel(); return 1, nil })
	require.NoError(t, err, "it is the caller who has ended")
	require.True(t, permit.Done(nil))

	bound := &limit{after: time.Second, probe: probe{stage: policy.StageAttemptTimeout}}
	_, permit, err = resilience.Open(t.Context(), resilience.Compose(&around1{stage: policy.StageHedge}, bound), connect)
	require.NoError(t, err, "a wrapper that ends nothing may be foreign")
	require.True(t, permit.Done(nil))

	_, permit, err = resilience.Open(t.Context(), foreign, func(ctx context.Context) (*stream, error) { return &stream{ctx}, answered{errBackend} })
	require.ErrorIs(t, err, errBackend)
	require.Nil(t, permit, "nothing is left to be read in a context that has ended")
}

func TestOpenThroughAWrapperThatCallsNothing(t *testing.T) {
	outer := &probe{stage: policy.StageShed}
	refuse := wrapper(func(context.Context, func(context.Context) error) error { return errRefused })
	_, permit, err := resilience.Open(t.Context(), resilience.Compose(outer, refuse), connect)
	require.ErrorIs(t, err, errRefused)
	require.Nil(t, permit)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
}

// A call that ends when its wrapper has left is discarded, and then settled.
func TestOpenThroughAWrapperThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, discarded := &meter{}, make(chan any, 1)
		_, permit, err := resilience.Open(t.Context(), resilience.Compose(&leaver{}, inner), func(ctx context.Context) (int, error) {
			time.Sleep(time.Minute)
			return 7, nil
		})
		require.EqualError(t, err, "left")
		require.Nil(t, permit)
		require.Zero(t, inner.settled.Load())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 1, inner.settled.Load())
		require.True(t, inner.last.Load().Succeeded())
		require.Empty(t, discarded)
	})
}

// many is a wrapper that makes its calls at the same time and returns what they return. It may open.
type many struct {
	calls     int
	mu        sync.Mutex
	errs      []error
	onDiscard func(any)
}

func (*many) Stage() policy.Stage { return policy.StageHedge }
func (m *many) Run(ctx context.Context, call func(context.Context) error) error {
	return m.Open(ctx, func(ctx context.Context, _ context.CancelFunc) error { return call(ctx) })
}

func (m *many) Open(ctx context.Context, call func(context.Context, context.CancelFunc) error) error {
	var all sync.WaitGroup
	m.errs = nil
	for range m.calls {
		all.Go(func() {
			ctx, cancel := context.WithCancel(ctx)
			err := call(ctx, cancel)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.errs = append(m.errs, err)
		})
	}
	all.Wait()
	for _, err := range m.errs {
		if err == nil {
			return nil
		}
	}
	return m.errs[0]
}
func (m *many) Discard(value any) { m.onDiscard(value) }

func TestExactlyOneCallOfAWrapperReturnsNil(t *testing.T) {
	inner, discarded := &probe{}, 0
	m := &many{calls: 8}
	m.onDiscard = func(any) {
		m.mu.Lock()
		defer m.mu.Unlock()
		discarded++
	}
	p := resilience.Compose(m, inner)
	won := func() (nils int) {
		for _, err := range m.errs {
			if err == nil {
				nils++
			} else {
				require.ErrorIs(t, err, policy.ErrRejected)
				require.Equal(t, "hedge.lost", policy.Code(err))
			}
		}
		return nils
	}
	for range 300 {
		_, err := resilience.Do(t.Context(), p, answer(1, nil))
		require.NoError(t, err)
		require.Equal(t, 1, won())

		s, permit, err := resilience.Open(t.Context(), p, connect)
		require.NoError(t, err)
		require.Equal(t, 1, won())
		require.NoError(t, s.read())
		require.Equal(t, s.ctx, permit.Context())
		require.EqualValues(t, 1, inner.admitted.Load()-inner.settled.Load(), "the winner's")
		require.True(t, permit.Done(nil))
		require.Error(t, s.read())
		require.Equal(t, inner.admitted.Load(), inner.settled.Load())
	}
	require.Equal(t, 300*2*7, discarded)
}

// The value of a loser is discarded before what the guards hold for it is given back.
func TestALoserIsDiscardedAndThenSettled(t *testing.T) {
	j := &journal{}
	s := &hoarder{journal: j}
	guard := &meter{probe: probe{name: "guard", journal: j}}
	number := 0
	_, permit, err := resilience.Open(t.Context(), resilience.Compose(s, guard), func(context.Context) (int, error) { number++; return number, nil })
	require.NoError(t, err)
	require.Equal(t, []string{
		"enter guard", "returned guard",
		"enter guard", "returned guard", "discard 2", "counted guard", "leave guard: returned",
	}, j.all())
	require.True(t, permit.Done(nil))
}

// hoarder is a wrapper that makes two calls, one after the other, whatever the first returns.
type hoarder struct {
	journal *journal
	burst   func()
}

func (*hoarder) Stage() policy.Stage { return policy.StageHedge }
func (h *hoarder) Run(ctx context.Context, call func(context.Context) error) error {
	err := call(ctx)
	if second := call(ctx); err != nil {
		return second
	}
	return err
}
func (h *hoarder) Discard(value any) {
	h.journal.add("discard %v", value)
	if h.burst != nil {
		h.burst()
	}
}

// bursts is a repeater that does something when it is told of a success.
type bursts struct {
	again
	burst func()
}

func (b *bursts) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if ended.Outcome.Succeeded() {
		b.burst()
	}
	return b.again.Next(ctx, ended)
}

// Whatever happens after the success, all guards are settled, innermost first; those that stayed open hear the success.
func TestWhatHappensAfterTheSuccess(t *testing.T) {
	for ending, burst := range map[string]func(){"panicked": func() { panic("boom") }, "exited": runtime.Goexit} {
		for name, c := range map[string]struct {
			layers func(j *journal, outer, inner policy.Layer) []policy.Layer
			want   []string
		}{
			"in Next": {func(j *journal, outer, inner policy.Layer) []policy.Layer {
				return []policy.Layer{outer, &bursts{again{max: 1}, burst}, inner}
			}, []string{"enter outer", "enter inner", "returned inner", "counted inner", "leave inner: returned", "leave outer: " + ending}},
			"in Returned": {func(j *journal, outer, inner policy.Layer) []policy.Layer {
				between := &meter{probe: probe{name: "between", journal: j, stage: 350}, onReturned: burst}
				return []policy.Layer{outer, between, inner}
			}, []string{
				"enter outer", "enter between", "enter inner", "returned inner", "returned between",
				"counted inner", "leave inner: returned", "leave between: " + ending, "leave outer: " + ending,
			}},
			"in Discard": {func(j *journal, outer, inner policy.Layer) []policy.Layer {
				return []policy.Layer{outer, &hoarder{j, burst}, inner}
			}, []string{
				"enter outer", "enter inner", "returned inner", "enter inner", "returned inner", "discard 7",
				"counted inner", "leave inner: returned", // the loser
				"discard 7", "counted inner", "leave inner: returned", // the winner, which has no owner any more
				"leave outer: " + ending,
			}},
		} {
			t.Run(ending+" "+name, func(t *testing.T) {
				j := &journal{}
				outer := &probe{name: "outer", journal: j, stage: policy.StageShed}
				inner := &meter{probe: probe{name: "inner", journal: j}}
				p := resilience.Compose(c.layers(j, outer, inner)...)
				recovered, exited := caught(func() { _, _, _ = resilience.Open(context.Background(), p, answer(7, nil)) })
				require.Equal(t, ending == "exited", exited)
				if !exited {
					require.Equal(t, "boom", recovered)
				}
				require.Equal(t, c.want, j.all())
			})
		}
	}
	t.Run("in Settle of another", func(t *testing.T) {
		j := &journal{}
		var guards []policy.Layer
		for i, name := range []string{"a", "b", "c"} {
			guard := &probe{name: name, journal: j, stage: policy.Stage(i + 1)}
			if name != "a" {
				guard.panicOnSettle = name
			}
			guards = append(guards, guard)
		}
		_, permit, err := resilience.Open(t.Context(), resilience.Compose(guards...), answer(1, nil))
		require.NoError(t, err)
		recovered, _ := caught(func() { permit.Done(nil) })
		require.NotNil(t, recovered)
		require.Equal(t, []string{"leave c: returned", "leave b: returned", "leave a: returned"}, j.all()[3:])
		require.False(t, permit.Done(nil))
	})
	t.Run("in an observer", func(t *testing.T) {
		for _, kind := range []policy.EventKind{policy.EventAttempt, policy.EventCall} {
			j := &journal{}
			guard := &meter{probe: probe{name: "guard", journal: j}}
			quit := policy.ObserverFunc(func(_ context.Context, e policy.Event) {
				if e.Kind == kind {
					runtime.Goexit()
				}
			})
			p := resilience.Compose(guard, resilience.Observe(quit))
			_, exited := caught(func() { _, _, _ = resilience.Open(context.Background(), p, answer(7, nil)) })
			require.True(t, exited)
			require.Equal(t, "leave guard: returned", j.all()[len(j.all())-1], kind)
			require.EqualValues(t, 1, guard.settled.Load())
		}
	})
}

func TestAnAnswerThatIsAFailureCanBeRead(t *testing.T) {
	derived := func() *probe {
		return &probe{name: "attempt", stage: policy.StageAttemptTimeout, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}}
	}
	live := answered{errBackend}
	t.Run("the permit holds no guard, only the contexts of the last attempt", func(t *testing.T) {
		outer, attempt, slot := &probe{stage: policy.StageShed, derive: derived().derive}, derived(), &probe{}
		var opened []*stream
		s, permit, err := resilience.Open(t.Context(), resilience.Compose(outer, &again{max: 3}, attempt, slot), func(ctx context.Context) (*stream, error) {
			for _, earlier := range opened {
				require.Error(t, earlier.read(), "a superseded attempt's contexts end before the next attempt begins")
			}
			opened = append(opened, &stream{ctx})
			return opened[len(opened)-1], live
		})
		require.ErrorIs(t, err, errBackend)
		require.Len(t, opened, 3)
		require.Same(t, opened[2], s)
		require.NoError(t, s.read())
		require.Equal(t, s.ctx, permit.Context())
		for _, guard := range []*probe{outer, attempt, slot} {
			require.Equal(t, guard.admitted.Load(), guard.settled.Load())
		}
		require.True(t, permit.Done(nil))
		require.False(t, permit.Done(nil))
		require.Error(t, s.read())
		require.EqualValues(t, 3, slot.settled.Load())
	})
	t.Run("also when the next attempt is refused", func(t *testing.T) {
		attempt, refuser := derived(), &probe{stage: policy.StageChaos}
		s, permit, err := resilience.Open(t.Context(), resilience.Compose(&again{max: 4}, attempt, refuser), func(ctx context.Context) (*stream, error) {
			refuser.refuse = errRefused
			return &stream{ctx}, live
		})
		require.ErrorIs(t, err, errRefused)
		require.NoError(t, s.read())
		require.Equal(t, s.ctx, permit.Context())
		require.EqualValues(t, 4, attempt.settled.Load())
		require.True(t, permit.Done(nil))
		require.Error(t, s.read())
	})
	t.Run("also when a wrapper is refused", func(t *testing.T) {
		refuser := &probe{stage: policy.StageChaos}
		s, permit, err := resilience.Open(t.Context(), resilience.Compose(&again{max: 2}, &relay{max: 2}, refuser), func(ctx context.Context) (*stream, error) {
			refuser.refuse = errRefused
			return &stream{ctx}, live
		})
		require.ErrorIs(t, err, errRefused)
		require.NoError(t, s.read())
		require.True(t, permit.Done(nil))
		require.Error(t, s.read())
	})
	for name, c := range map[string]struct {
		joins bool
		errs  []error
		want  int // which attempt the value is from, and is readable if that is an answer
	}{
		"also when a later attempt of the wrapper is no answer":      {true, []error{live, errBackend, errRefused}, 0},
		"the latest of several":                                      {true, []error{live, live, errBackend}, 1},
		"not when the error of the wrapper does not say so":          {false, []error{live, errBackend}, 1},
		"nor when a later attempt succeeds":                          {true, []error{live, errBackend, nil}, 2},
		"an answer that comes after what is none, and one before it": {true, []error{live, errBackend, live}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var opened []*stream
			w := &joining{relay: relay{max: len(c.errs)}, joins: c.joins}
			s, permit, err := resilience.Open(t.Context(), resilience.Compose(w, derived()), func(ctx context.Context) (*stream, error) {
				opened = append(opened, &stream{ctx})
				return opened[len(opened)-1], c.errs[len(opened)-1]
			})
			require.Same(t, opened[c.want], s)
			readable := c.errs[c.want] != errBackend //nolint:errorlint // the very value
			require.Equal(t, readable, permit != nil)
			require.Equal(t, c.errs[len(c.errs)-1] == nil, err == nil)
			for i, o := range opened {
				require.Equal(t, readable && i == c.want, o.read() == nil, i)
			}
			permit.Done(nil)
			require.Error(t, s.read())
		})
	}
	t.Run("not when the last attempt is no answer", func(t *testing.T) {
		errs := []error{live, errBackend}
		var first *stream
		_, permit, err := resilience.Open(t.Context(), resilience.Compose(&again{max: 2}, derived()), func(ctx context.Context) (*stream, error) {
			err := errs[0]
			errs = errs[1:]
			if first == nil {
				first = &stream{ctx}
			}
			return first, err
		})
		require.ErrorIs(t, err, errBackend)
		require.Nil(t, permit)
		require.Error(t, first.read())
	})
	t.Run("not when the call panics", func(t *testing.T) {
		number, s := 0, (*stream)(nil)
		attempt := derived()
		caught(func() {
			_, _, _ = resilience.Open(context.Background(), resilience.Compose(&again{max: 2}, attempt), func(ctx context.Context) (*stream, error) {
				if number++; number == 2 {
					panic("boom")
				}
				s = &stream{ctx}
				return s, live
			})
		})
		require.Error(t, s.read())
		require.EqualValues(t, 2, attempt.settled.Load())
	})
	t.Run("through a wrapper", func(t *testing.T) {
		attempt, r := derived(), &relay{max: 2}
		var contexts []context.Context
		s, permit, err := resilience.Open(t.Context(), resilience.Compose(derivedAt(policy.StageShed), r, attempt), func(ctx context.Context) (*stream, error) {
			contexts = append(contexts, ctx)
			return &stream{ctx}, live
		})
		require.ErrorIs(t, err, errBackend)
		require.Same(t, contexts[1], s.ctx)
		require.Error(t, contexts[0].Err())
		require.NoError(t, s.read())
		require.Equal(t, s.ctx, permit.Context())
		require.True(t, permit.Done(nil))
		require.Error(t, s.read())
	})
	t.Run("a bound is lifted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			outer, inner := &limit{probe: probe{stage: policy.StageShed}, after: time.Minute}, &limit{after: time.Second}
			s, permit, err := resilience.Open(t.Context(), resilience.Compose(outer, &again{max: 2}, inner), func(ctx context.Context) (*stream, error) {
				return &stream{ctx}, live
			})
			require.ErrorIs(t, err, errBackend)
			time.Sleep(time.Hour)
			require.NoError(t, s.read())
			require.EqualValues(t, 2, inner.lifted.Load())
			require.EqualValues(t, 1, outer.lifted.Load())
			require.Zero(t, inner.stale.Load()+outer.stale.Load())
			require.True(t, permit.Done(nil))
		})
	})
	t.Run("a bound outside a repeater holds for the next attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			outer, start := &limit{probe: probe{stage: policy.StageShed}, after: time.Minute}, time.Now()
			number := 0
			_, permit, err := resilience.Open(t.Context(), resilience.Compose(outer, &again{max: 2}), func(ctx context.Context) (*stream, error) {
				if number++; number == 1 {
					return &stream{ctx}, live
				}
				<-ctx.Done()
				return nil, errBackend
			})
			require.ErrorAs(t, err, new(limitError))
			require.Nil(t, permit)
			require.Equal(t, time.Minute, time.Since(start))
		})
	})
	t.Run("an error that says it is none", func(t *testing.T) {
		_, permit, err := resilience.Open(t.Context(), derived(), answer(1, dead{errBackend}))
		require.ErrorIs(t, err, errBackend)
		require.Nil(t, permit)
	})
}

func derivedAt(stage policy.Stage) *probe {
	return &probe{stage: stage, derive: func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }}
}

type dead struct{ error }

func (dead) Live() bool      { return false }
func (d dead) Unwrap() error { return d.error }

func TestThePermitPassesOnWhatItIsSettledWith(t *testing.T) {
	guard := &probe{}
	for _, outcome := range []policy.Outcome{
		{Kind: policy.Exited},
		{Kind: policy.Panicked},
		{Kind: policy.NotCalled},
		{Kind: policy.Returned},
		{Kind: policy.Returned, Class: policy.Expected, Err: errBackend},
		{Kind: policy.Returned, Class: policy.Ignored, Err: errBackend, Canceled: true},
	} {
		_, permit, err := resilience.Open(t.Context(), resilience.Compose(guard), answer(1, nil))
		require.NoError(t, err)
		require.True(t, permit.Settle(outcome))
		want := outcome
		if want.Kind == policy.NotCalled {
			want.Kind = policy.Returned // the operation was called: what it has used does not come back
		}
		require.Equal(t, want, *guard.last.Load())
		permit, err = resilience.Compose(guard).Acquire(t.Context())
		require.NoError(t, err)
		require.True(t, permit.Settle(outcome))
		require.Equal(t, outcome, *guard.last.Load())
	}
}

func TestEventsOfAnOpenResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := &policytest.Recorder{}
		p := resilience.Compose(resilience.Name("streams"), resilience.Observe(recorder), &again{max: 2}, &probe{})
		_, permit, err := resilience.Open(t.Context(), p, func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil })
		require.NoError(t, err)
		require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventCall}, recorder.Kinds(), "when the operation has returned")
		require.Equal(t, time.Second, recorder.Events()[1].Elapsed)
		require.Equal(t, resilience.Calls{Succeeded: 1}, *p.Report().Calls)
		time.Sleep(time.Hour)
		require.True(t, permit.Done(errBackend))
		require.Equal(t, 3, len(recorder.Events()))
		settled := recorder.Events()[2]
		require.Equal(t, policy.Event{
			Kind: policy.EventSettled, Pipeline: "streams", Elapsed: time.Hour,
			Outcome: policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend},
		}, settled)
		require.False(t, permit.Done(nil))
		require.Equal(t, 3, len(recorder.Events()))
		require.Equal(t, resilience.Calls{Succeeded: 1}, *p.Report().Calls, "a call counts once")
	})
}

func TestAPermitMayBeSettledAnywhere(t *testing.T) {
	guard := &probe{}
	p := resilience.Compose(guard, &again{max: 1}, &meter{})
	for range 100 {
		_, permit, err := resilience.Open(t.Context(), p, answer(1, nil))
		require.NoError(t, err)
		var settled, all = make(chan bool, 4), sync.WaitGroup{}
		for range 4 {
			all.Go(func() { settled <- permit.Done(nil) })
		}
		all.Wait()
		close(settled)
		count := 0
		for done := range settled {
			if done {
				count++
			}
		}
		require.Equal(t, 1, count)
	}
	require.EqualValues(t, 100, guard.settled.Load())
}

func TestAnErrorTreeMayBeLive(t *testing.T) {
	_, permit, err := resilience.Open(t.Context(), derivedAt(10), answer(1, errors.Join(errRefused, answered{errBackend})))
	require.ErrorIs(t, err, errBackend)
	require.True(t, permit.Done(nil))
}

// overtaken is a wrapper that makes two calls from its second run on: the second begins when the first has come to the
// operation, and the wrapper leaves as soon as it has succeeded.
type overtaken struct {
	runs    int
	arrived chan struct{} // the first call has come to the operation
	left    sync.WaitGroup
}

func (*overtaken) Stage() policy.Stage { return policy.StageHedge }
func (o *overtaken) Run(ctx context.Context, call func(context.Context) error) error {
	return o.Open(ctx, func(ctx context.Context, end context.CancelFunc) error { defer end(); return call(ctx) })
}

func (o *overtaken) Open(ctx context.Context, call func(context.Context, context.CancelFunc) error) error {
	if o.runs++; o.runs > 1 {
		ctx, end := context.WithCancel(ctx)
		o.left.Go(func() { _ = call(ctx, end) })
		<-o.arrived
	}
	ctx, end := context.WithCancel(ctx)
	return call(ctx, end)
}

// The contexts of an answer that another attempt supersedes end before that enters the operation. The call that ends them may
// outlive the attempt: it must not touch what stays open by then.
func TestACallThatIsLeftBehindEndsNothingButTheAnswerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, ends := make(chan struct{}), new(atomic.Int64)
		w := &overtaken{arrived: make(chan struct{})}
		attempt := &probe{stage: policy.StageChaos, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
			if w.runs > 1 {
				return ctx, func() {}
			}
			ctx, cancel := context.WithCancel(ctx)
			return ctx, func() {
				cancel()
				if ends.Add(1) == 1 { // whoever supersedes the answer stays here
					close(w.arrived)
					<-slow
				}
			}
		}}
		number := new(atomic.Int64)
		var answer context.Context
		work, permit, err := resilience.Open(t.Context(), resilience.Compose(&again{max: 2}, w, attempt), func(ctx context.Context) (context.Context, error) {
			if number.Add(1) == 1 {
				answer = ctx
				return ctx, answered{errBackend}
			}
			require.Error(t, answer.Err())
			return ctx, nil
		})
		require.NoError(t, err)
		close(slow)
		w.left.Wait()
		require.NoError(t, work.Err(), "the result stays open")
		require.True(t, permit.Done(nil))
		require.Error(t, work.Err(), "its context ends with the permit")
	})
}

// joining is a relay that returns the errors of all its calls, as a hedge does, or else the last one.
type joining struct {
	relay

	joins bool
}

func (j *joining) Open(ctx context.Context, call func(context.Context, context.CancelFunc) error) error {
	var errs []error
	last := j.relay.Open(ctx, func(ctx context.Context, end context.CancelFunc) error {
		err := call(ctx, end)
		errs = append(errs, err)
		return err
	})
	if last == nil || !j.joins {
		return last
	}
	return errors.Join(errs...)
}
