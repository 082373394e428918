package resilience_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/timeout"
)

func TestComposeOrdersByStageAndKeepsTheOrderWithin(t *testing.T) {
	a1, a2, a3 := &probe{name: "a1", stage: 10}, &probe{name: "a2", stage: 10}, &probe{name: "a3", stage: 10}
	b := &probe{name: "b", stage: 20}
	r := &again{max: 1}
	layers := []policy.Layer{a1, a2, a3}
	require.Equal(t, "a1 > a2 > a3 > b > again", resilience.Compose(r, b, a1, a2, a3).String())
	for range 50 {
		rest := []policy.Layer{r, b}
		mixed := append(append([]policy.Layer{}, rest[:1]...), layers...)
		mixed = append(mixed, rest[1:]...)
		at := rand.IntN(len(mixed))
		mixed[0], mixed[at] = mixed[at], mixed[0]
		p := resilience.Compose(mixed...)
		require.Equal(t, []policy.Layer{b, r}, p.Layers()[3:])
	}
}

func TestComposeFlattens(t *testing.T) {
	a, b, c := &probe{name: "a", stage: 30}, &probe{name: "b", stage: 20}, &probe{name: "c", stage: 10}
	nested := resilience.Compose(a, resilience.Compose(b, resilience.Compose(), resilience.Compose(c)))
	require.Equal(t, resilience.Compose(a, b, c).String(), nested.String())
	require.Equal(t, []policy.Layer{c, b, a}, nested.Layers())
	require.Equal(t, policy.Stage(10), nested.Stage())
}

func TestAtMovesALayerAndIsKeptWhenFlattened(t *testing.T) {
	front := &probe{name: "front", stage: policy.StageBulkhead}
	base := resilience.Compose(policy.At(policy.StageShed, front), &again{max: 1})
	require.Equal(t, "front > again", base.String())
	require.Equal(t, "front > timeout", resilience.Compose(named{"timeout", policy.StageTotalTimeout}, base).String()[:len("front > timeout")])
	require.Equal(t, []policy.Layer{policy.At(policy.StageShed, front), &again{max: 1}}, base.Layers())
	twice := policy.At(700, policy.At(policy.StageShed, front))
	require.Equal(t, policy.Stage(700), twice.Stage())
	_, err := resilience.Do(t.Context(), twice, answer(1, nil))
	require.NoError(t, err, "a moved layer runs on its own too")
	require.EqualValues(t, 1, front.admitted.Load())
}

// named is a guard that is not a pointer.
type named struct {
	name  string
	stage policy.Stage
}

func (n named) String() string      { return n.name }
func (n named) Stage() policy.Stage { return n.stage }
func (n named) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (n named) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestFault171_PipelinesAreImmutable(t *testing.T) {
	base := resilience.Compose(&probe{name: "base", stage: 10})
	with := func(name string) *resilience.Pipeline { return resilience.Compose(base, &probe{name: name, stage: 20}) }
	x := with("x")
	y := with("y")
	layers := x.Layers()
	layers[0] = nil
	arguments := []policy.Layer{&probe{name: "z", stage: 30}}
	z := resilience.Compose(arguments...)
	arguments[0] = nil
	require.Equal(t, "base", base.String())
	require.Equal(t, "base > x", x.String())
	require.Equal(t, "base > y", y.String())
	require.Equal(t, "z", z.String())
	_, err := resilience.Do(t.Context(), x, answer(1, nil))
	require.NoError(t, err)
}

type complainer struct {
	probe
	complaint    error
	outer, inner []policy.Layer
}

func (c *complainer) Check(outer, inner []policy.Layer) error {
	c.outer, c.inner = outer, inner
	return c.complaint
}

type twofold struct{ probe }

func (*twofold) Next(context.Context, policy.Attempt) policy.Decision { return policy.Decision{} }

func TestComposeListsEveryProblem(t *testing.T) {
	var noGuard *probe
	same := &probe{name: "same"}
	cases := map[string]struct {
		layers []policy.Layer
		want   []string
	}{
		"FAULT 173: nil":               {[]policy.Layer{nil}, []string{"a layer is nil (<nil>)"}},
		"FAULT 173: nil pointer":       {[]policy.Layer{noGuard, same}, []string{"a layer is nil (*resilience_test.probe)"}},
		"nil pipeline":                 {[]policy.Layer{(*resilience.Pipeline)(nil)}, []string{"a layer is nil (*resilience.Pipeline)"}},
		"FAULT 174: twice":             {[]policy.Layer{same, same}, []string{"same: the same instance occurs twice"}},
		"FAULT 174: twice when nested": {[]policy.Layer{resilience.Compose(same), policy.At(10, same)}, []string{"same: the same instance occurs twice"}},
		"two repeaters":                {[]policy.Layer{&again{max: 1}, &again{max: 2}}, []string{"again and again are both at stage \"retry\""}},
		"no role":                      {[]policy.Layer{roleless{}}, []string{"resilience_test.roleless: must be exactly one of Guard, Repeater and Wrapper, is 0"}},
		"two roles":                    {[]policy.Layer{&twofold{probe{name: "twofold"}}}, []string{"twofold: must be exactly one of Guard, Repeater and Wrapper, is 2"}},
		"stage":                        {[]policy.Layer{&probe{name: "low", stage: -3}}, []string{"low: stage -3: must be positive"}},
		"moved pipeline":               {[]policy.Layer{policy.At(10, resilience.Compose(same))}, []string{"a pipeline was moved to stage \"stage 10\""}},
		"moved observer":               {[]policy.Layer{policy.At(10, resilience.Observe(&policytest.Recorder{}))}, []string{"observe was moved"}},
		"a layer's own": {
			[]policy.Layer{&complainer{probe: probe{name: "fussy"}, complaint: errRefused}},
			[]string{"fussy: refused for the test"},
		},
		"timeouts": {
			[]policy.Layer{timeout.Total(time.Second), timeout.PerAttempt(time.Second)},
			[]string{"attempt timeout 1s: must be below the total timeout 1s around it"},
		},
		"several": {
			[]policy.Layer{nil, same, same, &again{max: 1}, &again{max: 1}},
			[]string{"a layer is nil", "occurs twice", "both at stage"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := resilience.Validate(c.layers...)
			var config *policy.ConfigError
			require.ErrorAs(t, err, &config)
			require.Len(t, config.Problems, len(c.want), "%v", err)
			for i, want := range c.want {
				require.Contains(t, config.Problems[i], want)
			}
			recovered, _ := caught(func() { resilience.Compose(c.layers...) })
			require.Equal(t, fmt.Sprint(err), fmt.Sprint(recovered))
		})
	}
	require.NoError(t, resilience.Validate())
	require.NoError(t, resilience.Validate(same, &again{max: 1}, policy.At(10, &again{max: 1})))
	require.NoError(t, resilience.Validate(&quietRepeater{}, &quietGuard{}, &quietGuard{}), "types without fields have no identity")
}

func TestACheckerSeesItsNeighbours(t *testing.T) {
	outer, inner := &probe{name: "outer", stage: 10}, &probe{name: "inner", stage: 900}
	c := &complainer{}
	require.NoError(t, resilience.Validate(inner, c, outer))
	require.Equal(t, []policy.Layer{outer}, c.outer)
	require.Equal(t, []policy.Layer{inner}, c.inner)
}

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

func TestEmptyPipeline(t *testing.T) {
	p := resilience.Compose()
	require.Equal(t, "empty pipeline", p.String())
	require.Empty(t, p.Layers())
	require.NoError(t, p.Ready(t.Context()))
	require.Zero(t, p.Stage())
	value, err := resilience.Do(t.Context(), p, answer(4, errBackend))
	require.Equal(t, 4, value)
	require.Equal(t, errBackend, err, "the bare error")
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, quota, slots := opensAt(1, time.Minute), ratelimit.New(1, 2), bulkhead.New(1)
		p := resilience.Compose(steady(1, 0), db, quota, slots)
		require.True(t, p.Idle())

		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			require.False(t, slots.Idle())
			require.False(t, p.Idle())
			return 1, nil
		})
		require.NoError(t, err)
		require.True(t, slots.Idle())
		require.False(t, quota.Idle(), "a token is missing")
		require.False(t, p.Idle())
		time.Sleep(time.Second)
		require.True(t, p.Idle())

		db.Trip()
		require.False(t, p.Idle())
		time.Sleep(time.Minute)
		require.True(t, p.Idle(), "nobody has asked since the open time has passed")
		permit, err := policy.Acquire(t.Context(), db)
		require.NoError(t, err)
		require.False(t, p.Idle(), "half-open, with a probe")
		require.True(t, permit.Settle(policy.Outcome{}))
		require.False(t, p.Idle(), "half-open: a new one would admit more")
		for _, set := range []func(){db.ForceOpen, db.ForceClosed, db.Disable} {
			set()
			require.False(t, p.Idle(), "what was set by hand must not be forgotten")
		}
		db.Reset()
		require.True(t, p.Idle())
	})
}
