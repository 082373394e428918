package resilience_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
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

func (c *counting) Succeeded() { c.succeeded++ }

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
