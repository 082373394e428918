package breaker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// A healthy operation that is slower than the lease, and no attempt timeout: the late answers must count.
func TestFault240_ALateProbeCountsUnlessItsSlotWasTaken(t *testing.T) {
	for name, err := range map[string]error{"success": nil, "failure": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tripAt(1, breaker.ProbeLease(time.Second))
				half(b)
				probe := admit(t, b)
				time.Sleep(time.Minute)
				s := b.Snapshot()
				require.Zero(t, s.Probes, "another attempt may have the slot")
				require.EqualValues(t, 1, s.InFlight, "but none has taken it")
				require.NoError(t, b.Ready(t.Context()))
				probe.Done(err)
				want := breaker.Closed
				if err != nil {
					want = breaker.Open
				}
				require.Equal(t, want, b.State())
				require.Zero(t, b.Snapshot().Stale)
				identity(t, b.Snapshot())
			})
		})
	}
	t.Run("one caller after the other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.ProbeLease(time.Second), breaker.Successes(3))
			half(b)
			for range 3 {
				require.Equal(t, breaker.HalfOpen, b.State())
				require.NoError(t, do(b, slowly(2*time.Second, nil)))
			}
			require.Equal(t, breaker.Closed, b.State())
		})
	})
	t.Run("the slot was taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.ProbeLease(time.Second))
			half(b)
			late := admit(t, b)
			time.Sleep(time.Second)
			probe := admit(t, b)
			late.Done(nil)
			require.Equal(t, breaker.HalfOpen, b.State())
			require.EqualValues(t, 1, b.Snapshot().Stale)
			probe.Done(nil)
			require.Equal(t, breaker.Closed, b.State())
		})
	})
	t.Run("the oldest goes first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.ProbeLease(time.Second), breaker.Probes(2), breaker.Successes(2))
			half(b)
			first, second := admit(t, b), admit(t, b)
			time.Sleep(time.Second)
			third := admit(t, b)
			first.Done(nil)
			require.Equal(t, breaker.HalfOpen, b.State())
			second.Done(nil)
			third.Done(nil)
			require.Equal(t, breaker.Closed, b.State())
			require.EqualValues(t, 2, b.Snapshot().Successes)
		})
	})
}

// One breaker in two pipelines of which one is nested in the other: while the outer call is the probe, the inner one is
// refused. That says nothing about the dependency, so the breaker stays half-open. The page on breakers warns of it.
func TestFault241_ABreakerAroundItselfStaysHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		inner, outer := resilience.Compose(b), resilience.Compose(b)
		half(b)
		nested := func(ctx context.Context) error { return inner.Run(ctx, ok) }
		for range 3 {
			require.ErrorIs(t, outer.Run(t.Context(), nested), breaker.ErrOpen)
			require.Equal(t, breaker.HalfOpen, b.State())
		}
		require.NoError(t, inner.Run(t.Context(), ok), "one place for each call")
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault276_NoMoreProbesThanCanMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Probes(3), breaker.Successes(3), breaker.Classify(neutrally))
		half(b)
		require.NoError(t, do(b, ok))
		require.NoError(t, do(b, ok))
		last := admit(t, b)
		refused(t, b)
		last.Done(errNeutral) // frees its place
		last = admit(t, b)
		refused(t, b)
		last.Done(nil)
		require.Equal(t, breaker.Closed, b.State())

		b.Trip()
		time.Sleep(D)
		admit(t, b)
		require.NoError(t, do(b, ok))
		admit(t, b)
		refused(t, b)
	})
}

func TestFailedProbesAreTolerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Successes(4), breaker.FailedProbes(1))
		for range 2 { // each episode begins anew
			half(b)
			require.NoError(t, do(b, ok))
			failTimes(b, 1)
			require.Equal(t, breaker.HalfOpen, b.State())
			require.Equal(t, 0, b.Snapshot().ConsecutiveSuccesses)
			require.NoError(t, do(b, ok))
			require.NoError(t, do(b, ok))
			require.Equal(t, 2, b.Snapshot().ConsecutiveSuccesses)
			failTimes(b, 1)
			require.Equal(t, breaker.Open, b.State())
			require.Equal(t, breaker.ReasonProbeFailed, b.Snapshot().Reason)
			require.Equal(t, "2 of the last 5 calls failed, the limit is 2", b.Report().State.Cause.String())
			b.Reset()
		}
		half(b)
		failTimes(b, 1)
		for range 4 {
			require.Equal(t, breaker.HalfOpen, b.State())
			require.NoError(t, do(b, ok))
		}
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestASlowProbeIsTolerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(time.Second, 1, 1), breaker.FailedProbes(1))
		b.Trip()
		time.Sleep(D)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Equal(t, breaker.HalfOpen, b.State(), "it is no sign of health, but tolerated")
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestAThrottledProbeKeepsItsSlot(t *testing.T) {
	for name, test := range map[string]struct {
		opts []breaker.Option
		err  error
		want time.Duration
	}{
		"without a hint":   {err: errDown, want: D},
		"a shorter hint":   {err: hint(func() time.Duration { return time.Second }), want: D},
		"a longer hint":    {err: hint(func() time.Duration { return 3 * D }), want: 3 * D},
		"an endless hint":  {err: hint(func() time.Duration { return 1<<63 - 1 }), want: time.Minute},
		"a limit of hints": {opts: []breaker.Option{breaker.RetryAfter(2 * D)}, err: hint(func() time.Duration { return time.Hour }), want: 2 * D},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tripAt(1, test.opts...)
				half(b)
				probe := admit(t, b)
				time.Sleep(time.Second)
				probe.Settle(policy.Outcome{Kind: policy.Returned, Class: policy.Throttled, Err: test.err})
				s := b.Snapshot()
				require.Equal(t, breaker.HalfOpen, s.State)
				require.EqualValues(t, 1, s.Neutral)
				require.Zero(t, s.InFlight)
				require.Equal(t, 1, s.Probes)
				identity(t, s)
				time.Sleep(test.want - 1)
				refused(t, b)
				require.Error(t, b.Ready(t.Context()))
				time.Sleep(1)
				require.NoError(t, b.Ready(t.Context()))
				require.NoError(t, do(b, ok))
				require.Equal(t, breaker.Closed, b.State())
				identity(t, b.Snapshot())
			})
		})
	}
}

func TestTheClassOfAnOutcome(t *testing.T) {
	for class, want := range map[policy.Class][4]uint64{ // successes, failures, neutral, probes
		policy.Unclassified: {0, 1, 0, 0}, policy.Transient: {0, 1, 0, 0}, policy.Permanent: {0, 1, 0, 0},
		policy.Expected: {1, 0, 0, 0}, policy.Throttled: {0, 0, 1, 0}, policy.Ignored: {0, 0, 1, 0},
	} {
		outcome := policy.Outcome{Kind: policy.Returned, Class: class, Err: errDown}
		b := tripAt(100)
		ctx, ticket, err := b.Admit(t.Context())
		require.NoError(t, err)
		b.Settle(ctx, ticket, outcome)
		s := b.Snapshot()
		require.Equal(t, want, [4]uint64{s.Successes, s.Failures, s.Neutral, s.InFlight}, class)
	}
	own := errors.New("own")
	b := tripAt(1, breaker.Classify(func(err error) policy.Class {
		if err == own {
			return policy.Expected
		}
		return policy.Unclassified
	}))
	for err, class := range map[error]policy.Class{own: policy.Transient, errNeutral: policy.Ignored} {
		ctx, ticket, refusal := b.Admit(t.Context())
		require.NoError(t, refusal)
		b.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned, Class: class, Err: err})
		require.Equal(t, breaker.Closed, b.State(), "its own option counts, then the class of the outcome")
	}
}
