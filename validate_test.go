package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

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

func TestValidatePanicsWithAPolicyThatWasNotMade(t *testing.T) {
	require.Panics(t, func() { _ = resilience.Validate(&breaker.Breaker{}) })
	require.Panics(t, func() { _ = resilience.Validate(&retry.Retrier{}, bulkhead.New(1)) })
}

func TestACheckerSeesItsNeighbours(t *testing.T) {
	outer, inner := &probe{name: "outer", stage: 10}, &probe{name: "inner", stage: 900}
	c := &complainer{}
	require.NoError(t, resilience.Validate(inner, c, outer))
	require.Equal(t, []policy.Layer{outer}, c.outer)
	require.Equal(t, []policy.Layer{inner}, c.inner)
}

// checking is a guard that has something to say about its neighbours.
type checking struct {
	probe
	asked bool
}

func (c *checking) Check(_, _ []policy.Layer) error {
	c.asked = true
	return errors.New("something else")
}

// atStage is a layer at any stage, the impossible ones too.
type atStage struct{ stage int8 }

func (a *atStage) Stage() policy.Stage { return policy.Stage(a.stage) }

func (a *atStage) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (a *atStage) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestWhatComposeReportsExactly(t *testing.T) {
	checker, zero, small := &checking{}, &atStage{0}, &atStage{1}
	for name, c := range map[string]struct {
		layers []policy.Layer
		want   string
	}{
		"a checker can rely on the layers around it": {[]policy.Layer{checker, nil}, "a layer is nil (<nil>)"},
		"a pipeline that was moved":                  {[]policy.Layer{policy.At(50, resilience.Compose(small))}, `a pipeline was moved to stage "stage 50": move its layers instead`},
		"an observer that was moved": {
			[]policy.Layer{policy.At(50, resilience.Observe(&policytest.Recorder{}))}, `observe was moved to stage "stage 50": it has no place in the order`},
		"stage 0":                   {[]policy.Layer{zero}, "*resilience_test.atStage: stage 0: must be positive"},
		"a layer of one byte twice": {[]policy.Layer{small, small}, "*resilience_test.atStage: the same instance occurs twice"},
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualError(t, resilience.Validate(c.layers...), "resilience.Compose: "+c.want)
		})
	}
	require.False(t, checker.asked)
	require.NoError(t, resilience.Validate(small))
	require.Error(t, resilience.Validate(checker))
	require.True(t, checker.asked)
}

func TestValuesThatCannotBeComparedAreNoDuplicates(t *testing.T) {
	require.NoError(t, resilience.Validate(odd{more: []int{1}}, odd{more: []int{1}}))
}

type odd struct{ more any }

func (odd) Stage() policy.Stage { return policy.StageBreaker }

func (odd) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (odd) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestObserveRefusesANilFunction(t *testing.T) {
	require.Panics(t, func() { resilience.Observe(policy.ObserverFunc(nil)) })
	require.NotPanics(t, func() { resilience.Observe(policy.ObserverFunc(func(context.Context, policy.Event) {})) })
}

func TestFault144_ABulkheadInsideItself(t *testing.T) {
	slots := bulkhead.New(1)
	for name, layers := range map[string][]policy.Layer{
		"twice":           {slots, slots},
		"at two stages":   {slots, policy.At(policy.StageShed, slots)},
		"nested pipeline": {slots, resilience.Compose(retry.New(), slots)},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, resilience.Validate(layers...), "bulkhead 1: the same instance occurs twice")
		})
	}
}

func TestFault177_OrdersThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		layers []policy.Layer
		want   string
	}{
		"an attempt longer than the total":    {[]policy.Layer{timeout.Total(time.Second), timeout.PerAttempt(time.Second)}, "attempt timeout 1s: must be below"},
		"an abandon longer than the total":    {[]policy.Layer{timeout.Total(time.Second), timeout.Abandon(time.Minute)}, "must be below"},
		"an abandon inside a bulkhead":        {[]policy.Layer{policy.At(policy.StageShed, bulkhead.New(1)), timeout.Abandon(time.Second)}, "is inside bulkhead 1"},
		"two retries at one stage":            {[]policy.Layer{retry.New(), retry.New()}, "multiply"},
		"a hedge that the timeout forestalls": {[]policy.Layer{timeout.Total(time.Second), hedge.New(hedge.After(2 * time.Second))}, "would start after 2s"},
		"a window shorter than two attempts": {[]policy.Layer{
			breaker.New(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Second, 10)), timeout.PerAttempt(time.Second)}, "the window 1s is shorter than twice"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, resilience.Validate(c.layers...), c.want)
		})
	}
}

func TestFault179_TheNumberOfBucketsIsBounded(t *testing.T) {
	require.NoError(t, breaker.Validate(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Hour, 10_000)))
	for _, buckets := range []int{10_001, math.MaxInt, -1, 0} {
		err := breaker.Validate(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Hour, buckets))
		require.ErrorContains(t, err, fmt.Sprint(buckets))
	}
	require.ErrorContains(t, breaker.Validate(breaker.FailureRate(0.5, 10), breaker.CountWindow(100_001)), "100001")
}

func TestFault183_ANumberThatLostItsUnit(t *testing.T) {
	for name, option := range map[string]breaker.Option{
		"OpenFor": breaker.OpenFor(5), "ProbeLease": breaker.ProbeLease(5), "Ramp": breaker.Ramp(5), "Growth": breaker.Growth(2, 5),
	} {
		require.ErrorContains(t, breaker.Validate(option), name)
		require.ErrorContains(t, breaker.Validate(option), "5ns")
	}
	require.Error(t, breaker.Validate(breaker.FailureRate(0.5, 10), breaker.TimeWindow(5, 1)))
	require.Error(t, breaker.Validate(breaker.SlowCalls(5, 0.5, 10)))
}
