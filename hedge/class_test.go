package hedge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

// classified is an error that says what it means.
type classified struct {
	error
	class policy.Class
}

func (c classified) Class() policy.Class { return c.class }
func (c classified) Unwrap() error       { return c.error }

func TestWhichErrorsDecideTheCall(t *testing.T) {
	for class, decides := range map[policy.Class]bool{
		policy.Unclassified: false, policy.Transient: false, policy.Throttled: false,
		policy.Permanent: true, policy.Expected: true, policy.Ignored: true,
	} {
		t.Run(class.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failure := classified{errBackend, class}
				for _, opts := range [][]hedge.Option{nil, {hedge.AfterFailure()}} {
					h := after(10*ms, opts...)
					var lost context.Context
					op, calls := script(step{takes: 50 * ms, before: func(ctx context.Context) { lost = ctx }}, step{takes: ms, err: failure})
					start := time.Now()
					value, err := resilience.Do(t.Context(), h, op)
					if decides {
						require.Equal(t, failure, err, "as it is")
						require.Equal(t, 11*ms, time.Since(start), "at once")
						require.ErrorIs(t, context.Cause(lost), hedge.ErrLost)
					} else {
						require.NoError(t, err)
						require.Equal(t, 1, value)
						require.Equal(t, 50*ms, time.Since(start))
					}
					require.EqualValues(t, 2, calls.Load())
					synctest.Wait()
					require.Zero(t, h.Snapshot().Running)
				}
				op, calls := script(step{takes: ms, err: failure}, step{takes: ms})
				_, err := resilience.Do(t.Context(), after(10*ms, hedge.AfterFailure()), op)
				require.Equal(t, decides, err != nil)
				require.Equal(t, decides, calls.Load() == 1, "an error that decides starts no attempt")
			})
		})
	}
}

// A refusal is Ignored, but says nothing about the work: the attempts that run decide.
func TestARefusalDoesNotDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, refusal := range []error{&policy.Rejection{Kind: "test"}, policy.ErrRejected, classified{&policy.Rejection{Kind: "test"}, policy.Ignored}} {
			op, _ := script(step{takes: 50 * ms}, step{takes: ms, err: refusal})
			value, err := resilience.Do(t.Context(), after(10*ms), op)
			require.NoError(t, err)
			require.Equal(t, 1, value)
			op, _ = script(step{takes: 50 * ms, err: refusal}, step{takes: ms, err: refusal})
			_, err = resilience.Do(t.Context(), after(10*ms), op)
			require.Equal(t, refusal, err)
		}
	})
}

func TestTheClassAndCodeOfSeveralErrors(t *testing.T) {
	coded := func(code string, class policy.Class) error { return classified{policy.NewReason(code, code), class} }
	for _, test := range []struct {
		errs  []error
		class policy.Class
		code  string
	}{
		{[]error{errBackend, coded("a", policy.Throttled)}, policy.Transient, ""},
		{[]error{coded("a", policy.Throttled), coded("b", policy.Throttled)}, policy.Throttled, "a"},
		{[]error{coded("a", policy.Throttled), coded("b", policy.Transient)}, policy.Transient, "b"},
		{[]error{errBackend, context.DeadlineExceeded}, policy.Transient, "deadline"},
		{[]error{coded("a", policy.Expected), coded("b", policy.Permanent)}, policy.Permanent, "b"},
	} {
		err := &hedge.Error{Errs: test.errs}
		require.Equal(t, test.class, err.Class())
		require.Equal(t, test.class, policy.ClassOf(err))
		require.Equal(t, test.code, err.Code())
	}
	require.Equal(t, "hedge.lost", policy.Code(hedge.ErrLost))
}

// Class and Code go by the same classes: those that the pipeline has found.
func TestTheCodeIsThatOfTheClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota := classified{policy.NewReason("quota", "quota"), policy.Transient}
		broken := classified{policy.NewReason("broken", "broken"), policy.Throttled}
		op, _ := script(step{takes: 30 * ms, err: broken}, step{takes: ms, err: quota})
		_, err := resilience.Do(t.Context(), resilience.Compose(resilience.Classify(func(err error) policy.Class {
			return map[error]policy.Class{quota: policy.Throttled, broken: policy.Transient}[err]
		}), after(10*ms)), op)
		require.Equal(t, policy.Transient, policy.ClassOf(err))
		require.Equal(t, "broken", policy.Code(err))
	})
}
