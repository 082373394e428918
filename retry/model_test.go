package retry_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// story is one call: what its operation does, and when its context ends.
type story struct {
	attempts int
	delay    time.Duration
	deadline time.Duration // from the beginning; 0: none
	cancel   time.Duration // from the beginning; 0: never
	steps    []step        // of the operation, one for each attempt
}

type step struct {
	takes time.Duration
	err   error
}

func drawStory(t *rapid.T) story {
	// The context ends at odd nanoseconds and everything else at whole milliseconds, so nothing happens at once.
	ms := func(label string, low, high int) time.Duration {
		return time.Duration(rapid.IntRange(low, high).Draw(t, label)) * time.Millisecond
	}
	s := story{
		attempts: rapid.IntRange(1, 5).Draw(t, "attempts"),
		delay:    ms("delay", 0, 20),
	}
	if rapid.Bool().Draw(t, "has a deadline") {
		s.deadline = ms("deadline", 0, 150) + 1
	}
	if rapid.Bool().Draw(t, "is cancelled") {
		s.cancel = ms("cancel", 0, 150) + 3
	}
	for range s.attempts {
		s.steps = append(s.steps, step{ms("takes", 0, 40), rapid.SampledFrom([]error{
			nil, errBackend, errBackend, errBackend, hint(30 * time.Millisecond), hint(-time.Second), hint(math.MaxInt64),
			retry.Permanent(errBackend), &policy.Rejection{Kind: "bulkhead", Reason: errFull},
		}).Draw(t, "error")})
	}
	return s
}

// tell says, step by step, how many attempts there must be, when the call must end, and why; nil after a success.
func (s story) tell() (attempts int, now time.Duration, reason error) {
	for ; ; attempts++ {
		step := s.steps[attempts]
		now += step.takes
		permanent := step.err != nil && step.err.Error() == errBackend.Error() && step.err != errBackend
		wait := s.delay
		switch asked, _ := policy.RetryAfter(step.err); {
		case step.err == nil:
			return attempts + 1, now, nil
		case s.cancel > 0 && now > s.cancel && (s.deadline == 0 || s.cancel < s.deadline):
			return attempts + 1, now, context.Canceled
		case s.deadline > 0 && now > s.deadline:
			return attempts + 1, now, context.DeadlineExceeded
		case errors.Is(step.err, policy.ErrRejected):
			return attempts + 1, now, errFull
		case permanent, s.attempts == 1:
			return attempts + 1, now, step.err
		case attempts+1 == s.attempts:
			return attempts + 1, now, retry.ErrExhausted
		case asked > 30*time.Second:
			return attempts + 1, now, retry.ErrRetryAfter
		default:
			wait = max(wait, asked)
		}
		switch {
		case s.deadline > 0 && now+wait > s.deadline:
			return attempts + 1, now, retry.ErrDeadline
		case s.cancel > 0 && now+wait > s.cancel:
			return attempts + 1, s.cancel, context.Canceled
		}
		now += wait
	}
}

// played is what came of a story in virtual time.
type played struct {
	entered int
	late    int // attempts that were entered after the context had ended
	value   int
	elapsed time.Duration
	last    error
	err     error
}

func (s story) play(t *testing.T) (p played) {
	synctest.Test(t, func(t *testing.T) {
		opts := []retry.Option{retry.Attempts(s.attempts), retry.Constant(s.delay), retry.NoJitter()}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if s.deadline > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, s.deadline)
			defer stop()
		}
		if s.cancel > 0 {
			timer := time.AfterFunc(s.cancel, cancel)
			defer timer.Stop()
		}
		start := time.Now()
		p.value, p.err = resilience.Do(ctx, retry.New(opts...), func(ctx context.Context) (int, error) {
			if ctx.Err() != nil {
				p.late++
			}
			step := s.steps[p.entered]
			p.entered++
			time.Sleep(step.takes)
			p.last = step.err
			return p.entered, step.err
		})
		p.elapsed = time.Since(start)
	})
	return p
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt)
		attempts, end, reason := s.tell()
		p := s.play(t)
		require.Zero(rt, p.late)
		require.Equal(rt, attempts, p.entered)
		require.Equal(rt, end, p.elapsed)
		require.Equal(rt, p.entered, p.value, "of the last attempt")
		if reason == nil {
			require.NoError(rt, p.err)
			return
		}
		require.ErrorIs(rt, p.err, reason)
		require.ErrorIs(rt, p.err, p.last)
		if gave, ok := errors.AsType[*retry.Error](p.err); ok {
			require.Equal(rt, p.entered, gave.Attempts)
			require.Equal(rt, p.last, gave.Last)
			require.Equal(rt, end-s.steps[0].takes, gave.Elapsed)
			require.Len(rt, gave.Errs, p.entered)
		}
	})
}
