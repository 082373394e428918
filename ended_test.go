package resilience_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// ender is a guard during whose admission the caller leaves.
type ender struct {
	probe
	end context.CancelFunc
}

func (e *ender) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	e.end()
	return e.probe.Admit(ctx)
}

// The context ends between the beginning of a call and the attempt of a retry that stands inside of the guard which takes
// that long, or which derives a context that has ended.
func TestFault072_AContextThatEndsOutsideOfARetry(t *testing.T) {
	inner := &probe{name: "inner", stage: policy.StageBreaker}
	for name, compose := range map[string]func(end context.CancelFunc) *resilience.Pipeline{
		"a guard that waits": func(end context.CancelFunc) *resilience.Pipeline {
			return resilience.Compose(&ender{probe: probe{name: "outer", stage: policy.StageShed}, end: end}, retry.New())
		},
		"and a guard inside": func(end context.CancelFunc) *resilience.Pipeline {
			return resilience.Compose(&ender{probe: probe{name: "outer", stage: policy.StageShed}, end: end}, retry.New(), inner)
		},
		"a bulkhead at the front door": func(end context.CancelFunc) *resilience.Pipeline {
			weigh := func(context.Context) int { end(); return 1 }
			return resilience.Compose(policy.At(policy.StageShed, bulkhead.New(4, bulkhead.WeightOf(weigh))), retry.New())
		},
		"a timeout that is over at once": func(context.CancelFunc) *resilience.Pipeline {
			return resilience.Compose(timeout.Total(1), retry.New(), inner)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parent := range []context.Context{context.Background(), t.Context()} {
				ctx, cancel := parent, context.CancelFunc(func() {})
				if name != "a timeout that is over at once" {
					ctx, cancel = context.WithCancel(parent)
				}
				entered := 0
				_, err := resilience.Do(ctx, compose(cancel), func(context.Context) (int, error) { entered++; return 1, nil })
				require.Zero(t, entered)
				require.Zero(t, inner.admitted.Load())
				if ctx == parent {
					require.ErrorIs(t, err, timeout.ErrTimeout)
				} else {
					require.ErrorIs(t, err, context.Canceled)
				}
			}
		})
	}
}

// Both timeouts have expired when the operation, which did not look, comes back: the breaker between them must hear of the
// one that was first.
func TestFault083_TheInnerTimeoutIsNamedToThoseBetween(t *testing.T) {
	for name, newContext := range map[string]func() (context.Context, context.CancelFunc){
		"nobody can cancel": func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
		"somebody can":      func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := newContext()
				defer cancel()
				var judged error
				classify := breaker.Classify(func(err error) policy.Class { judged = err; return policy.Transient })
				pipeline := resilience.Compose(timeout.Total(2*time.Second), breaker.New(classify), timeout.PerAttempt(time.Second))
				_, err := resilience.Do(ctx, pipeline, func(context.Context) (int, error) {
					time.Sleep(3 * time.Second)
					return 0, errBackend
				})
				require.EqualError(t, judged, "attempt timeout 1s expired: backend failed")
				require.EqualError(t, err, "total timeout 2s expired: attempt timeout 1s expired: backend failed")
			})
		})
	}
}

// leaver is a wrapper that leaves after a second.
type leaver struct{}

func (*leaver) Stage() policy.Stage { return policy.StageHedge }
func (*leaver) Run(ctx context.Context, call func(context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Second):
		return errors.New("left")
	}
}

// What is left behind hears at its next look that the call has ended, and is not taken for a timeout later.
func TestWhatIsLeftBehindHearsOfTheEnd(t *testing.T) {
	work := func(ctx context.Context) (int, error) {
		for ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		return 0, ctx.Err()
	}
	t.Run("by a wrapper", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner := timeout.PerAttempt(time.Minute)
			start, ended := time.Now(), make(chan time.Duration, 1)
			_, err := resilience.Do(context.Background(), resilience.Compose(timeout.Total(time.Hour), &leaver{}, inner), func(ctx context.Context) (int, error) {
				defer func() { ended <- time.Since(start) }()
				return work(ctx)
			})
			require.EqualError(t, err, "left")
			require.Less(t, <-ended, 2*time.Second)
			synctest.Wait()
			require.Zero(t, inner.Snapshot().Expired)
		})
	})
	t.Run("by an operation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner := timeout.PerAttempt(time.Minute)
			start, ended := time.Now(), make(chan time.Duration, 1)
			_, err := resilience.Do(context.Background(), timeout.Total(time.Hour), func(ctx context.Context) (int, error) {
				go func() {
					_, err := resilience.Do(ctx, inner, work)
					if !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
					ended <- time.Since(start)
				}()
				time.Sleep(time.Second)
				return 1, nil
			})
			require.NoError(t, err)
			require.Less(t, <-ended, 2*time.Second)
			require.Zero(t, inner.Snapshot().Expired)
		})
	})
	t.Run("by a permit", func(t *testing.T) {
		outer, err := policy.Acquire(context.Background(), timeout.Total(time.Hour))
		require.NoError(t, err)
		inner, err := policy.Acquire(outer.Context(), timeout.PerAttempt(time.Minute))
		require.NoError(t, err)
		require.True(t, outer.Done(nil))
		require.ErrorIs(t, inner.Context().Err(), context.Canceled)
		require.True(t, inner.Done(nil))
	})
}
