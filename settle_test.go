package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/timeout"
)

func TestFault161_OrderOfEntryAndLeaving(t *testing.T) {
	exits := map[string]struct {
		op   policy.Func[int]
		kind policy.Kind
	}{
		"success": {answer(1, nil), policy.Returned},
		"error":   {answer(0, errBackend), policy.Returned},
		"panic":   {func(context.Context) (int, error) { panic("boom") }, policy.Panicked},
		"goexit":  {func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, policy.Exited},
	}
	for name, exit := range exits {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			a := &probe{name: "a", journal: j, stage: 10}
			b := &probe{name: "b", journal: j, stage: 20}
			c := &probe{name: "c", journal: j, stage: 30}
			p := resilience.Compose(c, a, b)
			caught(func() { _, _ = resilience.Do(t.Context(), p, exit.op) })
			kind := exit.kind.String()
			require.Equal(t, []string{
				"enter a", "enter b", "enter c", "leave c: " + kind, "leave b: " + kind, "leave a: " + kind,
			}, j.all())
		})
	}
}

func TestManyGuardsKeepTheirOrder(t *testing.T) {
	j := &journal{}
	var layers []policy.Layer
	var want []string
	for i := range 23 {
		name := fmt.Sprintf("g%02d", i)
		layers = append(layers, &probe{name: name, journal: j, stage: policy.Stage(i + 1)})
		want = append(want, "enter "+name)
	}
	for i := 22; i >= 0; i-- {
		want = append(want, fmt.Sprintf("leave g%02d: returned", i))
	}
	_, err := resilience.Do(t.Context(), resilience.Compose(layers...), answer(1, nil))
	require.NoError(t, err)
	require.Equal(t, want, j.all())
	require.Equal(t, 22, strings.Count(resilience.Compose(layers...).String(), " > "))
}

func TestARefusalFurtherInSettlesTheAdmittedAsNotCalled(t *testing.T) {
	j := &journal{}
	a := &probe{name: "a", journal: j, stage: 10}
	b := &probe{name: "b", journal: j, stage: 20}
	c := &probe{name: "c", journal: j, stage: 30, refuse: errRefused}
	d := &probe{name: "d", journal: j, stage: 40}
	entered := false
	value, err := resilience.Do(t.Context(), resilience.Compose(a, b, c, d), func(context.Context) (int, error) {
		entered = true
		return 7, nil
	})
	require.ErrorIs(t, err, errRefused)
	require.Zero(t, value)
	require.False(t, entered)
	require.Equal(t, []string{"enter a", "enter b", "refuse c", "leave b: not called", "leave a: not called"}, j.all())
}

func TestFault058_PanicIdentityAndOriginalStack(t *testing.T) {
	for _, value := range []any{"text", errBackend, http.ErrAbortHandler, 42} {
		p := resilience.Compose(&again{max: 3}, &probe{name: "a", stage: 10}, &probe{name: "b", stage: 650})
		var stack string
		recovered, _ := caught(func() {
			defer func() {
				if r := recover(); r != nil {
					stack = string(debug.Stack())
					panic(r)
				}
			}()
			_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { return frameOfTheOperation(value), nil })
		})
		require.True(t, recovered == value, "got %v", recovered)
		require.Contains(t, stack, "frameOfTheOperation")
	}
}

//go:noinline
func frameOfTheOperation(value any) int { panic(value) }

func TestFault062_NilPanicAndRuntimeError(t *testing.T) {
	j := &journal{}
	guard := &probe{name: "guard"}
	recovered, _ := caught(func() {
		_, _ = resilience.Do(t.Context(), guard, func(context.Context) (int, error) { panic(nil) })
	})
	require.IsType(t, &runtime.PanicNilError{}, recovered)
	recovered, _ = caught(func() {
		_, _ = resilience.Do(t.Context(), guard, func(context.Context) (int, error) { return []int{}[len(j.all())], nil })
	})
	require.Implements(t, (*runtime.Error)(nil), recovered)
	require.EqualValues(t, 2, guard.settled.Load())
	require.Equal(t, policy.Panicked, guard.last.Load().Kind)
}

func TestGoexitReachesTheCaller(t *testing.T) {
	guard := &probe{name: "guard"}
	_, exited := caught(func() {
		_, _ = resilience.Do(t.Context(), resilience.Compose(&again{max: 3}, guard), func(context.Context) (int, error) {
			runtime.Goexit()
			return 0, nil
		})
	})
	require.True(t, exited)
	require.EqualValues(t, 1, guard.admitted.Load(), "an exit ends the call: no further attempt")
	require.EqualValues(t, 1, guard.settled.Load())
}

func TestFault060_PanicInSettleSettlesTheOthers(t *testing.T) {
	for _, op := range []policy.Func[int]{answer(1, nil), answer(0, errBackend), func(context.Context) (int, error) { panic("operation") }} {
		outer := &probe{name: "outer", stage: 10}
		middle := &probe{name: "middle", stage: 20, panicOnSettle: "classifier"}
		inner := &probe{name: "inner", stage: 30, panicOnSettle: "hook"}
		recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), resilience.Compose(outer, middle, inner), op) })
		require.NotNil(t, recovered)
		for _, guard := range []*probe{outer, middle, inner} {
			require.EqualValues(t, 1, guard.settled.Load(), guard.name)
		}
	}
}

func TestPanicInAdmitSettlesTheAdmittedAsNotCalled(t *testing.T) {
	outer := &probe{name: "outer", stage: 10}
	broken := &probe{name: "broken", stage: 20, panicOnAdmit: "admit"}
	recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), resilience.Compose(outer, broken), answer(1, nil)) })
	require.Equal(t, "admit", recovered)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	require.EqualValues(t, 0, broken.settled.Load())
}

// TestAnAdmissionWithANilContextIsSettled: a guard that admits has taken something, which must come back even if it breaks
// the rule. It is settled with the context that it was given, and the panic names it.
func TestAnAdmissionWithANilContextIsSettled(t *testing.T) {
	for name, begin := range map[string]func(*contextless){
		"do":              func(g *contextless) { _, _ = resilience.Do(t.Context(), g, answer(1, nil)) },
		"open":            func(g *contextless) { _, _, _ = resilience.Open(t.Context(), g, answer(1, nil)) },
		"pipeline permit": func(g *contextless) { _, _ = resilience.Compose(g).Acquire(t.Context()) },
		"permit":          func(g *contextless) { _, _ = policy.Acquire(t.Context(), g) },
	} {
		guard := &contextless{}
		recovered, _ := caught(func() { begin(guard) })
		require.Contains(t, fmt.Sprint(recovered), "*resilience_test.contextless admitted with a nil context", name)
		require.EqualValues(t, 1, guard.settled.Load(), name)
		require.Equal(t, policy.NotCalled, guard.last.Load().Kind, name)
		require.Equal(t, t.Context(), guard.settledWith, name)
	}
}

// contextless is a guard that breaks a rule: it admits with a nil context.
type contextless struct {
	probe
	settledWith context.Context
}

func (g *contextless) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	_, ticket, err := g.probe.Admit(ctx)
	return nil, ticket, err
}

func (g *contextless) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	g.settledWith = ctx
	g.probe.Settle(ctx, ticket, outcome)
}

func TestASettlementSurvivesAnErrorWhoseMethodsPanic(t *testing.T) {
	guard := &probe{name: "guard"}
	_, _ = caught(func() {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, _ = resilience.Do(ctx, resilience.Compose(guard, timeout.PerAttempt(time.Second)), func(context.Context) (int, error) {
			cancel(errCause)
			return 0, panicky{}
		})
	})
	require.EqualValues(t, 1, guard.settled.Load())
}

type panicky struct{}

func (panicky) Error() string { return "panicky" }
func (panicky) Is(error) bool { panic("Is") }

// TestFault167_TwoPhaseAdmission: whatever refuses, and wherever, every guard that admitted is settled, as often as
// it admitted, and none is settled that did not.
func TestFault167_TwoPhaseAdmission(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 14).Draw(t, "guards")
		refuser := rapid.IntRange(0, count).Draw(t, "refuser")
		exit := rapid.SampledFrom([]string{"success", "error", "panic", "goexit"}).Draw(t, "exit")
		retries := rapid.IntRange(0, 3).Draw(t, "retries")
		var layers []policy.Layer
		var guards []*probe
		for i := range count {
			guard := &probe{name: fmt.Sprint(i), stage: policy.Stage(rapid.IntRange(300, 900).Draw(t, "stage"))}
			if i == refuser {
				guard.refuse = errRefused
			}
			guards = append(guards, guard)
			layers = append(layers, guard)
		}
		if retries > 0 {
			layers = append(layers, &again{max: retries})
		}
		p := resilience.Compose(layers...)
		calls := 0
		var err error
		_, exited := caught(func() {
			_, err = resilience.Do(context.Background(), p, func(context.Context) (int, error) {
				calls++
				switch exit {
				case "panic":
					panic("boom")
				case "goexit":
					runtime.Goexit()
				case "error":
					return 0, errBackend
				}
				return 1, nil
			})
		})
		for _, guard := range guards {
			if guard.admitted.Load() != guard.settled.Load() {
				t.Fatalf("guard %s: admitted %d, settled %d", guard.name, guard.admitted.Load(), guard.settled.Load())
			}
		}
		refused := refuser < count
		if refused && (calls != 0 || !errors.Is(err, errRefused) || exited) {
			t.Fatalf("refused, but calls %d, error %v", calls, err)
		}
		if !refused && calls == 0 {
			t.Fatalf("not refused, and not called")
		}
		if refused {
			for _, guard := range guards {
				if last := guard.last.Load(); last != nil && last.Kind != policy.NotCalled {
					t.Fatalf("guard %s heard %v of an operation that was never entered", guard.name, last.Kind)
				}
			}
		}
	})
}

// TestGuardsAreToldTheSameHoweverManyTheyAre: guards beside each other hear the same of what happens inside them.
func TestGuardsAreToldTheSameHoweverManyTheyAre(t *testing.T) {
	exit := resilience.Observe(policy.ObserveOnly(
		policy.ObserverFunc(func(context.Context, policy.Event) { runtime.Goexit() }), policy.EventRejected))
	for name, c := range map[string]struct {
		innermost []policy.Layer
		op        policy.Func[int]
		want      policy.Kind
	}{
		"Admit panics":                 {[]policy.Layer{&probe{panicOnAdmit: "admit"}}, answer(1, nil), policy.NotCalled},
		"Admit exits":                  {[]policy.Layer{&hooked{admit: runtime.Goexit}}, answer(1, nil), policy.NotCalled},
		"Admit returns no context":     {[]policy.Layer{&contextless{}}, answer(1, nil), policy.NotCalled},
		"a refusal, and Settle panics": {[]policy.Layer{&probe{panicOnSettle: "settle"}, &probe{refuse: errRefused}}, answer(1, nil), policy.NotCalled},
		"a refusal, and an observer exits": {
			[]policy.Layer{&probe{refuse: errRefused}, exit}, answer(1, nil), policy.NotCalled,
		},
		"an error, and Settle panics": {[]policy.Layer{&probe{panicOnSettle: "settle"}}, answer(1, errBackend), policy.Panicked},
		"the operation panics":        {nil, func(context.Context) (int, error) { panic("boom") }, policy.Panicked},
		"Admit panics inside a retry": {[]policy.Layer{&again{stage: policy.StageBreaker}, &probe{panicOnAdmit: "admit"}}, answer(1, nil), policy.Panicked},
		"Admit exits inside a wrapper": {
			[]policy.Layer{&around1{stage: policy.StageBreaker}, &hooked{admit: runtime.Goexit}}, answer(1, nil), policy.Exited,
		},
	} {
		for count := 1; count <= 12; count++ {
			for way, call := range map[string]func(*resilience.Pipeline){
				"Do":   func(p *resilience.Pipeline) { _, _ = resilience.Do(context.Background(), p, c.op) },
				"Open": func(p *resilience.Pipeline) { _, _, _ = resilience.Open(context.Background(), p, c.op) },
			} {
				t.Run(fmt.Sprintf("%s/%d/%s", name, count, way), func(t *testing.T) {
					var guards []*probe
					var layers []policy.Layer
					for range count {
						guards = append(guards, &probe{})
						layers = append(layers, guards[len(guards)-1])
					}
					p := resilience.Compose(append(layers, c.innermost...)...)
					caught(func() { call(p) })
					for _, guard := range guards {
						require.EqualValues(t, 1, guard.settled.Load())
						require.Equal(t, c.want, guard.last.Load().Kind)
					}
				})
			}
		}
	}
}

// TestGuardsAreAskedHoweverManyTheyAre: the context may end on the way through guards. It is looked at before the first of
// them and after the last.
func TestGuardsAreAskedHoweverManyTheyAre(t *testing.T) {
	for count := 1; count <= 12; count++ {
		ends := &probe{derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}}
		layers := []policy.Layer{ends}
		innermost := ends
		for range count - 1 {
			innermost = &probe{}
			layers = append(layers, innermost)
		}
		_, err := resilience.Do(t.Context(), resilience.Compose(layers...), answer(1, nil))
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 1, innermost.admitted.Load(), count)
		require.Equal(t, policy.NotCalled, innermost.last.Load().Kind)
	}
}

// TestTheEndingOfAnEarlierAttemptIsNotTold: it ended as it did, and guards inside the retry were told.
func TestTheEndingOfAnEarlierAttemptIsNotTold(t *testing.T) {
	outer, middle := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBreaker}
	attempts := 0
	exits := &hooked{probe: probe{stage: policy.StageChaos}, admit: func() {
		if attempts++; attempts == 2 {
			runtime.Goexit()
		}
	}}
	p := resilience.Compose(outer, &again{max: 2}, middle, &around1{stage: policy.StageBulkhead}, exits,
		resilience.Observe(&policytest.Recorder{}))
	_, exited := caught(func() { _, _ = resilience.Do(context.Background(), p, answer(1, errBackend)) })
	require.True(t, exited)
	require.Equal(t, policy.Outcome{Kind: policy.Exited}, *middle.last.Load())
	require.Equal(t, policy.Outcome{Kind: policy.Exited}, *outer.last.Load())
}

// TestAnExitAfterARefusedAttemptTellsOfTheLastThatWasMade: so a limiter outside the retry does not take back what it was
// used for.
func TestAnExitAfterARefusedAttemptTellsOfTheLastThatWasMade(t *testing.T) {
	told := policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}
	for _, kind := range []policy.EventKind{policy.EventRejected, policy.EventStopped} {
		t.Run("in "+kind.String(), func(t *testing.T) {
			outer := &probe{stage: policy.StageShed}
			attempts := 0
			refuses := &probe{stage: policy.StageChaos}
			exits := policy.ObserverFunc(func(_ context.Context, e policy.Event) {
				if e.Kind == kind {
					runtime.Goexit()
				}
			})
			p := resilience.Compose(outer, &again{max: 2}, refuses, resilience.Observe(exits))
			_, exited := caught(func() {
				_, _ = resilience.Do(context.Background(), p, func(context.Context) (int, error) {
					attempts++
					refuses.refuse = errRefused
					return 1, errBackend
				})
			})
			require.True(t, exited)
			require.Equal(t, 1, attempts)
			require.Equal(t, told, *outer.last.Load())
		})
	}
}

// TestAnExitAfterRefusalsAloneTellsOfTheLastOne: no attempt was made, so there is none to tell of.
func TestAnExitAfterRefusalsAloneTellsOfTheLastOne(t *testing.T) {
	outer, refuses := &probe{stage: policy.StageShed}, &probe{stage: policy.StageChaos, refuse: errors.New("first")}
	last := &policy.Rejection{Kind: "probe", Reason: errRefused}
	exits := policy.ObserverFunc(func(_ context.Context, e policy.Event) {
		if e.Kind == policy.EventRejected && e.Attempt == 2 {
			runtime.Goexit()
		}
		refuses.refuse = last
	})
	p := resilience.Compose(outer, &again{max: 3}, refuses, resilience.Observe(exits))
	_, exited := caught(func() { _, _ = resilience.Do(context.Background(), p, answer(1, nil)) })
	require.True(t, exited)
	require.Equal(t, policy.Outcome{Kind: policy.NotCalled, Class: policy.Ignored, Err: last}, *outer.last.Load())
}

// TestAGuardThatExitsTellsGuardsOutsideOfAnExit: whether somebody observes or not.
func TestAGuardThatExitsTellsGuardsOutsideOfAnExit(t *testing.T) {
	for _, observers := range [][]policy.Layer{nil, {resilience.Observe(&policytest.Recorder{})}} {
		outer, exits := &probe{stage: policy.StageShed}, &exitsOnSettle{at: 2}
		exits.stage = policy.StageChaos
		p := resilience.Compose(append(observers, outer, &again{max: 3}, exits)...)
		_, exited := caught(func() { _, _ = resilience.Do(context.Background(), p, answer(1, errBackend)) })
		require.True(t, exited)
		require.Equal(t, policy.Outcome{Kind: policy.Exited}, *outer.last.Load())
	}
}

// exitsOnSettle calls runtime.Goexit in one of its settlements.
type exitsOnSettle struct {
	probe
	settlements, at int
}

func (e *exitsOnSettle) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	e.probe.Settle(ctx, ticket, outcome)
	if e.settlements++; e.settlements == e.at {
		runtime.Goexit()
	}
}
