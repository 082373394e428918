package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// classed is an error with a class of its own.
type classed struct{ class policy.Class }

func (c classed) Error() string       { return "classed " + c.class.String() }
func (c classed) Class() policy.Class { return c.class }

func always(class policy.Class) policy.Layer {
	return resilience.Classify(func(error) policy.Class { return class })
}

func TestTheClassifierIsAskedOncePerAttempt(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{
		"guards":      {&probe{}, &meter{}, &probe{stage: 1}},
		"repeater":    {&again{max: 3}, &probe{}, &probe{stage: 1}},
		"wrapper":     {&relay{max: 3}, &probe{}, &probe{stage: 1}},
		"all of them": {&relay{max: 1}, &again{max: 3}, &probe{}, &probe{stage: 1}, &around1{stage: policy.StageChaos}},
		"observed":    {&again{max: 3}, &probe{}, resilience.Observe(&policytest.Recorder{}), resilience.Name("n")},
	} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprint(name, open), func(t *testing.T) {
				asked, attempts := 0, 0
				classify := resilience.Classify(func(err error) policy.Class {
					require.Equal(t, errBackend, err, "the error of the operation, as it is")
					asked++
					return policy.Unclassified
				})
				p := resilience.Compose(append(layers, classify)...)
				op := func(context.Context) (int, error) { attempts++; return 0, errBackend }
				var err error
				if open {
					_, _, err = resilience.Open(t.Context(), p, op)
				} else {
					_, err = resilience.Do(t.Context(), p, op)
				}
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, attempts, asked)
				_, err = resilience.Do(t.Context(), p, answer(1, nil))
				require.NoError(t, err)
				require.Equal(t, attempts, asked, "nothing to ask about a success")
			})
		}
	}
	t.Run("not about what a policy makes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nobody := resilience.Classify(func(err error) policy.Class { t.Errorf("asked about %v", err); return policy.Expected })
			guard := &probe{stage: policy.StageShed}
			_, err := resilience.Do(t.Context(), resilience.Compose(nobody, guard, &probe{refuse: errRefused}), answer(1, nil))
			require.ErrorIs(t, err, errRefused)
			require.Equal(t, policy.Ignored, guard.last.Load().Class)

			// A wrapper that leaves: its error says nothing about an error of the operation, which has none yet.
			_, err = resilience.Do(t.Context(), resilience.Compose(nobody, guard, &leaver{}), func(context.Context) (int, error) {
				time.Sleep(2 * time.Second)
				return 1, nil
			})
			require.EqualError(t, err, "left")
			require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: err}, *guard.last.Load())
			time.Sleep(time.Minute)
		})
	})
}

func TestTheOrderInWhichAClassIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		layers []policy.Layer
		err    error
		want   policy.Class
	}{
		"nobody knows":                     {nil, errBackend, policy.Transient},
		"the error's own":                  {nil, classed{policy.Expected}, policy.Expected},
		"the error's own, wrapped":         {nil, fmt.Errorf("a: %w", classed{policy.Permanent}), policy.Permanent},
		"the pipeline's":                   {[]policy.Layer{always(policy.Throttled)}, errBackend, policy.Throttled},
		"the pipeline's before the error":  {[]policy.Layer{always(policy.Throttled)}, classed{policy.Expected}, policy.Throttled},
		"the error's if the pipeline asks": {[]policy.Layer{always(policy.Unclassified)}, classed{policy.Expected}, policy.Expected},
		"an error that does not know":      {nil, classed{policy.Unclassified}, policy.Transient},
		"the last one given":               {[]policy.Layer{always(policy.Expected), always(policy.Permanent)}, errBackend, policy.Permanent},
		"the last one given, nested":       {[]policy.Layer{resilience.Compose(always(policy.Expected), &probe{name: "x"}), always(policy.Permanent)}, errBackend, policy.Permanent},
		"the last one given is nested":     {[]policy.Layer{always(policy.Permanent), resilience.Compose(resilience.Compose(always(policy.Expected)))}, errBackend, policy.Expected},
		"a pipeline without one":           {[]policy.Layer{always(policy.Permanent), resilience.Compose(&probe{name: "x"})}, errBackend, policy.Permanent},
		"a rejection is ignored":           {nil, &policy.Rejection{Reason: errRefused}, policy.Ignored},
		"a rejection and a failure":        {nil, errors.Join(&policy.Rejection{}, errBackend), policy.Unclassified.Graver(policy.Transient)},
		"joined: the gravest":              {nil, errors.Join(classed{policy.Expected}, classed{policy.Throttled}, classed{policy.Ignored}), policy.Throttled},
	} {
		t.Run(name, func(t *testing.T) {
			outer, inner := &probe{stage: 1}, &meter{}
			_, err := resilience.Do(t.Context(), resilience.Compose(append(c.layers, outer, inner)...), answer(0, c.err))
			require.Equal(t, c.err, err, "never changed")
			want := policy.Outcome{Kind: policy.Returned, Class: c.want, Err: c.err}
			require.Equal(t, want, *outer.last.Load())
			require.Equal(t, want, *inner.last.Load())
		})
	}
}

func TestATimeoutIsTransientWhateverTheOperationMadeOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{errBackend, classed{policy.Expected}, context.DeadlineExceeded, context.Canceled, nil} {
			for _, open := range []bool{false, true} {
				outer, between, inner := &probe{stage: 1}, &probe{stage: policy.StageBreaker}, &probe{stage: policy.StageChaos}
				bound := &limit{after: time.Second}
				p := resilience.Compose(outer, bound, between, &again{max: 1}, inner, always(policy.Expected))
				op := func(ctx context.Context) (int, error) {
					<-ctx.Done()
					if err == nil {
						return 0, context.Cause(ctx)
					}
					return 0, err
				}
				var got error
				if open {
					_, _, got = resilience.Open(t.Context(), p, op)
				} else {
					_, got = resilience.Do(t.Context(), p, op)
				}
				require.ErrorAs(t, got, new(limitError))
				for _, guard := range []*probe{outer, between, inner} {
					require.Equal(t, policy.Transient, guard.last.Load().Class)
					require.False(t, guard.last.Load().Canceled)
				}
			}
		}
		t.Log("during the wait of a repeater")
		outer := &probe{stage: 1}
		total := &limit{probe: probe{stage: policy.StageTotalTimeout}, after: time.Second}
		_, err := resilience.Do(t.Context(), resilience.Compose(outer, total, &again{max: 2, wait: time.Minute}, always(policy.Expected)), answer(0, errBackend))
		require.ErrorAs(t, err, new(limitError))
		require.Equal(t, policy.Transient, outer.last.Load().Class)

		t.Log("during the wait, and never entered")
		_, err = resilience.Do(t.Context(), resilience.Compose(outer, total, &again{max: 2, wait: time.Minute}, &probe{refuse: errRefused}), answer(0, errBackend))
		require.ErrorAs(t, err, new(limitError))
		require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
		require.Equal(t, policy.Ignored, outer.last.Load().Class)

		t.Log("the caller's own deadline is no timeout of a layer")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = resilience.Do(ctx, resilience.Compose(outer, always(policy.Expected)), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errBackend
		})
		require.Equal(t, errBackend, err)
		require.Equal(t, policy.Expected, outer.last.Load().Class)
		require.False(t, outer.last.Load().Canceled)
	})
}

func TestTheClassOfWhatALayerMakesOfSeveralErrors(t *testing.T) {
	transient, throttled, expected := classed{policy.Transient}, classed{policy.Throttled}, classed{policy.Expected}
	script := func(errs ...error) policy.Func[int] {
		return func(context.Context) (int, error) {
			err := errs[0]
			errs = errs[1:]
			return 0, err
		}
	}
	outer := &probe{stage: 1}
	class := func(op policy.Func[int], layers ...policy.Layer) policy.Class {
		_, err := resilience.Do(t.Context(), resilience.Compose(append(layers, outer)...), op)
		require.Error(t, err)
		return outer.last.Load().Class
	}
	require.Equal(t, policy.Expected, class(script(transient, expected), &again{max: 2}), "a repeater: the last error's")
	require.Equal(t, policy.Transient, class(script(expected, transient), &again{max: 2}))
	require.Equal(t, policy.Expected, class(script(expected), &again{max: 2}, &refusesLater{}), "the last that entered, though another attempt was refused")
	require.Equal(t, policy.Expected, class(script(transient, expected), &relay{max: 2}), "a wrapper: that of the call whose error it returns")
	require.Equal(t, policy.Throttled, class(script(expected, throttled), &relay{max: 2}))
	require.Equal(t, policy.Transient, class(script(expected, transient, throttled), &scavenger{}), "of joined errors the gravest")
	require.Equal(t, policy.Throttled, class(script(throttled, expected, expected), &scavenger{}))
	require.Equal(t, policy.Transient, class(script(transient), &relay{max: 2}, &refusesLater{}), "a refusal does not speak for a call that failed")
	require.Equal(t, policy.Expected, class(script(expected), &relay{max: 2}, &refusesLater{}))
	require.Equal(t, policy.Ignored, class(script(), &relay{max: 2}, &probe{refuse: errRefused, stage: policy.StageChaos}))
	foreign := wrapper(func(ctx context.Context, call func(context.Context) error) error {
		_ = call(ctx)
		return errors.New("something else")
	})
	require.Equal(t, policy.Expected, class(script(expected), foreign), "also when the wrapper has an error of its own")
	require.Equal(t, policy.Expected, class(script(transient, transient, transient, expected), &relay{max: 1, stage: policy.StageShed}, &again{max: 2}, &again{max: 2, stage: policy.StageBulkhead}))
}

// refusesLater is a guard that admits only the first attempt.
type refusesLater struct{ probe }

func (*refusesLater) Stage() policy.Stage { return policy.StageChaos }
func (r *refusesLater) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if r.admitted.Load() > 0 {
		return ctx, policy.Ticket{}, errRefused
	}
	return r.probe.Admit(ctx)
}

func TestAPermitAsksTheClassifierOfThePipeline(t *testing.T) {
	guard := &meter{}
	p := resilience.Compose(guard, resilience.Classify(func(err error) policy.Class {
		if errors.Is(err, errBackend) {
			return policy.Expected
		}
		return policy.Unclassified
	}))
	for err, want := range map[error]policy.Class{
		errBackend: policy.Expected, classed{policy.Throttled}: policy.Throttled, errRefused: policy.Transient,
	} {
		_, permit, opened := resilience.Open(t.Context(), p, answer(1, nil))
		require.NoError(t, opened)
		require.True(t, permit.Done(err))
		require.Equal(t, want, guard.last.Load().Class)

		permit, acquired := p.Acquire(t.Context())
		require.NoError(t, acquired)
		require.True(t, permit.Done(err))
		require.Equal(t, want, guard.last.Load().Class)
	}
	_, permit, err := resilience.Open(t.Context(), guard, answer(1, nil))
	require.NoError(t, err)
	require.True(t, permit.Done(classed{policy.Ignored}))
	require.Equal(t, policy.Ignored, guard.last.Load().Class, "of a single policy, the error itself")
}
