package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/timeout"
)

func TestDoNamesTheArgumentThatIsNil(t *testing.T) {
	p := resilience.Compose()
	var noPipeline *resilience.Pipeline
	var noGuard *probe
	cases := map[string]struct {
		call func()
		want string
	}{
		"context":         {func() { _, _ = resilience.Do(nil, p, answer(1, nil)) }, "nil context"},
		"operation":       {func() { _, _ = resilience.Do[int](t.Context(), p, nil) }, "nil operation"},
		"layer":           {func() { _, _ = resilience.Do(t.Context(), nil, answer(1, nil)) }, "nil layer"},
		"pipeline":        {func() { _, _ = resilience.Do(t.Context(), noPipeline, answer(1, nil)) }, "nil pipeline"},
		"guard":           {func() { _, _ = resilience.Do(t.Context(), noGuard, answer(1, nil)) }, "nil *resilience_test.probe"},
		"run operation":   {func() { _ = p.Run(t.Context(), nil) }, "nil operation"},
		"for layer":       {func() { resilience.For[int](nil) }, "nil layer"},
		"no role":         {func() { _, _ = resilience.Do(t.Context(), roleless{}, answer(1, nil)) }, "roleless is no Guard, Repeater or Wrapper"},
		"observer":        {func() { resilience.Observe(nil) }, "observer 1 is nil"},
		"check operation": {func() { policy.Check(nil, func(int) error { return nil }) }, "nil operation"},
		"check":           {func() { policy.Check(answer(1, nil), nil) }, "nil check"},
		"acquire context": {func() { _, _ = policy.Acquire(nil, &probe{}) }, "nil context"},
		"acquire guard":   {func() { _, _ = policy.Acquire(t.Context(), nil) }, "nil guard"},
		"timeout policy":  {func() { _, _ = timeout.Policy[int]{}.Do(t.Context(), answer(1, nil)) }, "without a Timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			recovered, _ := caught(c.call)
			require.Contains(t, fmt.Sprint(recovered), c.want)
		})
	}
}

type roleless struct{}

func (roleless) Stage() policy.Stage { return policy.StageBreaker }

func TestFault072_ContextAlreadyDone(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	retry, guard := &again{max: 3}, &probe{name: "guard"}
	layers := map[string]policy.Layer{
		"empty":    resilience.Compose(),
		"guard":    guard,
		"repeater": retry,
		"wrapper":  wrapper(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) }),
		"pipeline": resilience.Compose(retry, guard, timeout.Total(time.Second), timeout.PerAttempt(time.Millisecond)),
	}
	for name, layer := range layers {
		t.Run(name, func(t *testing.T) {
			for range 1000 {
				value, err := resilience.Do(ctx, layer, func(context.Context) (int, error) {
					t.Error("entered")
					return 1, nil
				})
				require.Zero(t, value)
				require.ErrorIs(t, err, errCause)
				require.ErrorIs(t, err, context.Canceled)
				require.NotErrorIs(t, err, policy.ErrRejected)
			}
		})
	}
	require.Zero(t, guard.admitted.Load())
	require.Empty(t, retry.heard)
}

func TestFault080_SuccessSurvivesACancel(t *testing.T) {
	for _, layer := range []policy.Layer{
		resilience.Compose(&again{max: 3}, &probe{}, timeout.Total(time.Hour), timeout.PerAttempt(time.Minute)),
		&again{max: 3},
		timeout.Total(time.Hour),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		value, err := resilience.Do(ctx, layer, func(context.Context) (int, error) {
			cancel()
			return 42, nil
		})
		require.NoError(t, err)
		require.Equal(t, 42, value)
	}
}

func TestFault080_SuccessSurvivesATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Total(time.Second)
		value, err := resilience.Do(t.Context(), limit, func(context.Context) (int, error) {
			time.Sleep(2 * time.Second)
			return 42, nil
		})
		require.NoError(t, err)
		require.Equal(t, 42, value)
		require.Zero(t, limit.Snapshot().Expired)
	})
}

func TestFault081_082_CauseAndContextErrorAreBothKept(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	require.NoError(t, policy.ContextError(ctx))
	cancel(errCause)
	err := policy.ContextError(ctx)
	require.ErrorIs(t, err, errCause)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "context canceled: the caller's cause", err.Error())

	plain, cancelPlain := context.WithCancel(t.Context())
	cancelPlain()
	require.Equal(t, context.Canceled, policy.ContextError(plain))

	wrapped, cancelWrapped := context.WithCancelCause(t.Context())
	cause := fmt.Errorf("shutting down: %w", context.Canceled)
	cancelWrapped(cause)
	require.Equal(t, cause, policy.ContextError(wrapped))
}

func TestFault083_OwnTimeoutAgainstTheCallers(t *testing.T) {
	hang := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	ownError := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, errBackend
	}
	nest := map[string]policy.Layer{
		"attempt":          timeout.PerAttempt(time.Second),
		"total":            timeout.Total(time.Second),
		"total of retries": resilience.Compose(timeout.Total(time.Second), &again{max: 1}),
		"both":             resilience.Compose(timeout.Total(time.Hour), timeout.PerAttempt(time.Second), &probe{}),
	}
	for name, layer := range nest {
		t.Run(name+" own", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, op := range []policy.Func[int]{hang, ownError} {
					start := time.Now()
					_, err := resilience.Do(t.Context(), layer, op)
					require.Equal(t, time.Second, time.Since(start))
					require.ErrorIs(t, err, timeout.ErrTimeout)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				_, err := resilience.Do(t.Context(), layer, ownError)
				require.ErrorIs(t, err, errBackend)
			})
		})
		t.Run(name+" caller cancels", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Millisecond, func() { cancel(errCause) })
				_, err := resilience.Do(ctx, layer, hang)
				require.NotErrorIs(t, err, timeout.ErrTimeout)
				require.ErrorIs(t, err, context.Canceled)
				_, err = resilience.Do(ctx, layer, hang)
				require.ErrorIs(t, err, errCause)
			})
		})
		t.Run(name+" caller's deadline", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				start := time.Now()
				_, err := resilience.Do(ctx, layer, hang)
				require.Equal(t, time.Millisecond, time.Since(start))
				require.NotErrorIs(t, err, timeout.ErrTimeout)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}

// The caller gives up after the timeout has expired, and before the operation returns: the timeout was first. Or the
// caller gives up, and then the timeout would have expired.
func TestFault083_TheFirstToEndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, layer := range []policy.Layer{timeout.PerAttempt(time.Second), resilience.Compose(timeout.Total(1600*time.Millisecond), timeout.PerAttempt(time.Second))} {
			for _, leaves := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(leaves, func() { cancel(errCause) })
				_, err := resilience.Do(ctx, layer, func(ctx context.Context) (int, error) {
					time.Sleep(2 * time.Second) // and does not look at ctx
					return 0, errBackend
				})
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, leaves > time.Second, errors.Is(err, timeout.ErrTimeout), err)
			}
		}
	})
}

func TestFault084_NestedDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total, attempt := timeout.Total(time.Second), timeout.PerAttempt(999*time.Millisecond)
		p := resilience.Compose(total, attempt, &again{max: 10})
		attempts := 0
		_, err := resilience.Do(t.Context(), p, func(ctx context.Context) (int, error) {
			attempts++
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		require.ErrorContains(t, err, "total timeout 1s expired")
		require.Equal(t, 2, attempts)
		require.EqualValues(t, 1, total.Snapshot().Expired)
		require.EqualValues(t, 1, attempt.Snapshot().Expired)
	})
}

func TestFault100_ValueAndErrorTogether(t *testing.T) {
	t.Run("the last attempt's value and error", func(t *testing.T) {
		calls := 0
		value, err := resilience.Do(t.Context(), &again{max: 3}, func(context.Context) (int, error) {
			calls++
			return calls, errBackend
		})
		require.Equal(t, 3, value)
		require.ErrorIs(t, err, errBackend)
	})
	t.Run("of the last attempt when a gate ends the call", func(t *testing.T) {
		g := &gate{}
		value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 3}, g), func(context.Context) (int, error) {
			g.closed.Store(&policy.Rejection{Kind: "gate", Reason: errRefused})
			return 7, errBackend
		})
		require.Equal(t, 7, value)
		require.ErrorIs(t, err, errRefused)
		require.ErrorIs(t, err, errBackend)
	})
	t.Run("of the last attempt that entered when the next one is refused", func(t *testing.T) {
		g := &probe{}
		value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 2}, g), func(context.Context) (int, error) {
			g.refuse = errRefused
			return 7, errBackend
		})
		require.Equal(t, 7, value)
		require.ErrorIs(t, err, errRefused)
	})
}

func TestGatesAreAskedBeforeTheSleepAndAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		p := resilience.Compose(&again{max: 5, wait: time.Second}, g)
		calls := 0
		start := time.Now()
		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			calls++
			time.AfterFunc(500*time.Millisecond, func() { g.closed.Store(&policy.Rejection{Reason: errRefused}) })
			return 0, errBackend
		})
		require.ErrorIs(t, err, errRefused)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 1, calls)
		require.Equal(t, time.Second, time.Since(start), "closed during the sleep: seen after it")
		require.EqualValues(t, 2, g.asked.Load())

		start = time.Now()
		_, err = resilience.Do(t.Context(), p, answer(0, errBackend))
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, time.Since(start), "closed before the sleep: no sleep")
	})
}

// notifying is a gate that tells of changes.
type notifying struct {
	gate
	mu      sync.Mutex
	changed chan struct{}
}

func (n *notifying) Changed(context.Context) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

func (n *notifying) set(rejection *policy.Rejection) {
	n.closed.Store(rejection)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

func TestASleepEndsWhenAGateClosesForLonger(t *testing.T) {
	until := func(d time.Duration) *policy.Rejection {
		return &policy.Rejection{Reason: errRefused, Until: time.Now().Add(d)}
	}
	cases := map[string]struct {
		during func(*notifying)
		slept  time.Duration
		calls  int
	}{
		"closed for longer":        {func(n *notifying) { n.set(until(time.Minute)) }, 2 * time.Second, 1},
		"closed, unknown how long": {func(n *notifying) { n.set(&policy.Rejection{Reason: errRefused}) }, 10 * time.Second, 1},
		"closed for less": {func(n *notifying) {
			n.set(until(3 * time.Second))
			time.AfterFunc(3*time.Second, func() { n.set(nil) })
		}, 10 * time.Second, 2},
		"closed and open again at once": {func(n *notifying) { n.set(until(time.Minute)); n.set(nil) }, 10 * time.Second, 2},
		"nothing happens":               {func(*notifying) {}, 10 * time.Second, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, other := &notifying{}, &notifying{}
				p := resilience.Compose(&again{max: 2, wait: 10 * time.Second}, other, n)
				time.AfterFunc(2*time.Second, func() { c.during(n) })
				start := time.Now()
				call, calls := policytest.Script(0, errBackend, errBackend)
				_, err := resilience.Do(context.Background(), p, call)
				require.ErrorIs(t, err, errBackend)
				require.Equal(t, c.slept, time.Since(start))
				require.Equal(t, c.calls, calls())
				require.Equal(t, c.calls == 1, errors.Is(err, errRefused))
			})
		})
	}
}

// A gate may close after it was asked and before the sleep begins: it is the repeater that does it here.
func TestAGateThatClosesJustBeforeTheSleepIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notifying{}
		r := &closing{again{max: 2, wait: 10 * time.Second}, func() { n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)}) }}
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(r, n), answer(0, errBackend))
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, time.Since(start))
	})
}

// closing is a repeater that does something while it decides.
type closing struct {
	again
	do func()
}

func (c *closing) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if ended.Asked == 0 {
		c.do()
	}
	return c.again.Next(ctx, ended)
}

// patient waits for a closed gate, for less time than that will stay closed.
type patient struct{ again }

func (p *patient) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	p.heard = append(p.heard, ended)
	return policy.Decision{Again: ended.Asked < 5, Wait: time.Second, Err: ended.Blocked}
}

func TestARepeaterThatWaitsForAClosedGateIsNotWokenByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &notifying{}
		n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		p := &patient{}
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(p, n), func(context.Context) (int, error) { return 0, errBackend })
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Len(t, p.heard, 6)
	})
}

func TestFault079_NoAttemptAfterACancelDuringTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2000 {
			// The timer of the wait and the end of the context are ready at the same instant.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			call, calls := policytest.Script(0, errBackend, errBackend, errBackend)
			_, err := resilience.Do(ctx, &again{max: 5, wait: time.Second}, call)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.LessOrEqual(t, calls(), 2)
		}
		// The context ends after the wait, before the attempt: a gate is what runs in between.
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			g := &gate{}
			g.onReady = func(asked int64) {
				if asked == 2 {
					cancel()
				}
			}
			call, calls := policytest.Script(0, errBackend, errBackend, errBackend)
			_, err := resilience.Do(ctx, resilience.Compose(&again{max: 5, wait: time.Second}, g), call)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 1, calls())
			require.EqualValues(t, 1, g.admitted.Load())
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		calls := 0
		_, err := resilience.Do(ctx, &again{max: 5, wait: time.Second}, func(context.Context) (int, error) {
			calls++
			time.AfterFunc(time.Second/2, cancel)
			return 0, errBackend
		})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, 1, calls)
	})
}

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

func TestWrapper(t *testing.T) {
	t.Run("the first success wins, concurrently", func(t *testing.T) {
		guard := &probe{name: "guard"}
		var calls sync.WaitGroup
		p := resilience.Compose(guard, wrapper(func(ctx context.Context, call func(context.Context) error) error {
			errs := make(chan error, 8)
			for range 8 {
				calls.Go(func() { errs <- call(ctx) })
			}
			var last error
			for range 8 {
				if err := <-errs; err == nil {
					return nil
				} else {
					last = err
				}
			}
			return last
		}))
		for range 200 {
			var mu sync.Mutex
			number := 0
			value, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				number++
				if number%2 == 1 {
					return -number, errBackend
				}
				return number, nil
			})
			require.NoError(t, err)
			require.Positive(t, value)
		}
		calls.Wait()
		require.Equal(t, guard.admitted.Load(), guard.settled.Load())
	})
	t.Run("nil without a success is an error", func(t *testing.T) {
		swallow := wrapper(func(ctx context.Context, call func(context.Context) error) error {
			_ = call(ctx)
			return nil
		})
		_, err := resilience.Do(t.Context(), swallow, answer(0, errBackend))
		require.ErrorContains(t, err, "returned nil although no call succeeded")
		require.ErrorIs(t, err, errBackend)
		never := wrapper(func(context.Context, func(context.Context) error) error { return nil })
		_, err = resilience.Do(t.Context(), never, answer(1, nil))
		require.ErrorContains(t, err, "returned nil although no call succeeded")
	})
	t.Run("not called when it calls nothing", func(t *testing.T) {
		outer := &probe{stage: policy.StageShed}
		refuse := wrapper(func(context.Context, func(context.Context) error) error { return errRefused })
		_, err := resilience.Do(t.Context(), resilience.Compose(outer, refuse), answer(1, nil))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	})
	t.Run("a panic and an exit of a call pass through", func(t *testing.T) {
		outer, inner := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBreaker}
		p := resilience.Compose(outer, wrapper(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) }), inner)
		recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
		require.Equal(t, "boom", recovered)
		_, exited := caught(func() {
			_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		})
		require.True(t, exited)
		require.EqualValues(t, 2, outer.settled.Load())
		require.EqualValues(t, 2, inner.settled.Load())
	})
	t.Run("a result after Run has returned is dropped", func(t *testing.T) {
		release, finished := make(chan struct{}), make(chan struct{})
		leave := wrapper(func(ctx context.Context, call func(context.Context) error) error {
			go func() { defer close(finished); <-release; _ = call(ctx) }()
			return errRefused
		})
		value, err := resilience.Do(t.Context(), leave, answer(9, nil))
		close(release)
		<-finished
		require.Zero(t, value)
		require.ErrorIs(t, err, errRefused)
	})
}

// scavenger is a wrapper that calls three times, one after the other, and hears of what is discarded.
type scavenger struct{ discarded []any }

func (*scavenger) Stage() policy.Stage { return policy.StageHedge }
func (s *scavenger) Run(ctx context.Context, call func(context.Context) error) error {
	return errors.Join(call(ctx), call(ctx), call(ctx))
}
func (s *scavenger) Discard(value any) { s.discarded = append(s.discarded, value) }

func TestADiscarderHearsOfEverySuccessThatLost(t *testing.T) {
	s := &scavenger{}
	number := 0
	value, err := resilience.Do(t.Context(), s, func(context.Context) (int, error) { number++; return number, nil })
	require.NoError(t, err)
	require.Equal(t, 1, value)
	require.Equal(t, []any{2, 3}, s.discarded)
	s.discarded = nil
	_, err = resilience.Do(t.Context(), s, answer(8, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Empty(t, s.discarded, "a failed operation releases what it holds")
}

// TestFault176_EventLedger: one EventCall per call, one EventAttempt per operation entered.
func TestFault176_EventLedger(t *testing.T) {
	recorder := &policytest.Recorder{}
	refuser := &probe{name: "refuser"}
	p := resilience.Compose(resilience.Observe(recorder), &again{max: 3}, refuser)

	call, _ := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), p, call)
	require.NoError(t, err)
	require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventRetry, policy.EventAttempt, policy.EventCall}, recorder.Kinds())
	events := recorder.Events()
	require.Equal(t, []int{1, 1, 2, 0}, []int{events[0].Attempt, events[1].Attempt, events[2].Attempt, events[3].Attempt})
	require.True(t, events[3].Outcome.Succeeded())

	recorder.Reset()
	_, err = resilience.Do(t.Context(), p, answer(0, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, 3, recorder.Count(policy.EventAttempt))
	require.Equal(t, 2, recorder.Count(policy.EventRetry))
	require.Equal(t, 1, recorder.Count(policy.EventStopped))
	require.Equal(t, 1, recorder.Count(policy.EventCall))

	recorder.Reset()
	caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
	caught(func() {
		_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	})
	var kinds []policy.Kind
	for _, event := range recorder.Events() {
		kinds = append(kinds, event.Outcome.Kind)
	}
	require.Equal(t, []policy.Kind{policy.Panicked, policy.Panicked, policy.Exited, policy.Exited}, kinds)

	recorder.Reset()
	refuser.refuse = errRefused
	_, err = resilience.Do(t.Context(), p, answer(1, nil))
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, 0, recorder.Count(policy.EventAttempt))
	require.Equal(t, 3, recorder.Count(policy.EventRejected))
	require.Equal(t, policy.Layer(refuser), recorder.Events()[0].Layer)
	last := recorder.Events()[len(recorder.Events())-1]
	require.Equal(t, policy.Outcome{Kind: policy.NotCalled, Class: policy.Ignored, Err: errRefused}, last.Outcome)
}

func TestFault231_ObserversNeverFailACall(t *testing.T) {
	recorder := &policytest.Recorder{}
	broken := policy.ObserverFunc(func(context.Context, policy.Event) { panic("observer") })
	p := resilience.Compose(resilience.Observe(broken, recorder), &again{max: 2})
	value, err := resilience.Do(t.Context(), p, answer(3, nil))
	require.NoError(t, err)
	require.Equal(t, 3, value)
	require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventCall}, recorder.Kinds())
	recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
	require.Equal(t, "boom", recovered)
}

func TestEventsCarryTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := &policytest.Recorder{}
		p := resilience.Compose(resilience.Observe(recorder), &again{max: 2, wait: time.Minute})
		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			time.Sleep(time.Second)
			return 0, errBackend
		})
		require.ErrorIs(t, err, errBackend)
		events := recorder.Events()
		require.Equal(t, time.Second, events[0].Elapsed)
		require.Equal(t, time.Minute, events[1].Wait)
		require.Equal(t, time.Minute+2*time.Second, events[len(events)-1].Elapsed)
	})
}

func TestAContextThatCannotBeComparedIsFine(t *testing.T) {
	type odd struct {
		context.Context
		_ []string // not comparable
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := resilience.Compose(&again{max: 1}, &probe{}, timeout.PerAttempt(time.Hour))
	_, err := resilience.Do(odd{Context: ctx}, p, func(context.Context) (int, error) {
		cancel()
		return 0, errBackend
	})
	require.ErrorIs(t, err, errBackend)
	require.NotErrorIs(t, err, timeout.ErrTimeout)
}

type listError []string // an error type that cannot be compared

func (e listError) Error() string { return fmt.Sprint([]string(e)) }

func TestACauseThatCannotBeComparedIsFine(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p := resilience.Compose(&again{max: 1}, &probe{}, timeout.PerAttempt(time.Hour))
	_, err := resilience.Do(ctx, p, func(context.Context) (int, error) {
		cancel(listError{"a", "b"})
		return 0, errBackend
	})
	require.ErrorIs(t, err, errBackend)
	_, err = resilience.Do(ctx, p, answer(1, nil))
	var cause listError
	require.ErrorAs(t, err, &cause)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPermit(t *testing.T) {
	guard := &probe{}
	permit, err := policy.Acquire(t.Context(), guard)
	require.NoError(t, err)
	require.Equal(t, t.Context(), permit.Context())
	require.True(t, permit.Done(errBackend))
	require.False(t, permit.Done(nil), "FAULT 34: the second settlement is no settlement")
	require.False(t, permit.Settle(policy.Outcome{Kind: policy.Exited}))
	require.EqualValues(t, 1, guard.settled.Load())
	require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}, *guard.last.Load())

	guard.refuse = errRefused
	_, err = policy.Acquire(t.Context(), guard)
	require.ErrorIs(t, err, errRefused)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guard.refuse = nil
	_, err = policy.Acquire(ctx, guard)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, guard.admitted.Load(), "nothing is taken under an ended context")
}

func TestPermitOfATimeoutGivesTheDerivedContext(t *testing.T) {
	permit, err := policy.Acquire(t.Context(), timeout.PerAttempt(time.Hour))
	require.NoError(t, err)
	_, has := permit.Context().Deadline()
	require.True(t, has)
	require.True(t, permit.Done(nil))
	require.Error(t, permit.Context().Err(), "released")
}

func TestForSharesTheLayer(t *testing.T) {
	guard := &probe{}
	p := resilience.Compose(guard)
	numbers, texts := resilience.For[int](p), resilience.For[string](p)
	_, err := numbers.Do(t.Context(), answer(1, nil))
	require.NoError(t, err)
	text, err := texts.Do(t.Context(), func(context.Context) (string, error) { return "x", nil })
	require.NoError(t, err)
	require.Equal(t, "x", text)
	require.NoError(t, p.Run(t.Context(), func(context.Context) error { return nil }))
	require.EqualValues(t, 3, guard.admitted.Load())
}

func TestCheck(t *testing.T) {
	tooSmall := errors.New("too small")
	op := policy.Check(answer(3, nil), func(n int) error {
		if n < 5 {
			return tooSmall
		}
		return nil
	})
	value, err := op(t.Context())
	require.Equal(t, 3, value)
	require.ErrorIs(t, err, tooSmall)
	_, err = policy.Check(answer(9, errBackend), func(int) error { t.Error("a failed call is not checked"); return nil })(t.Context())
	require.ErrorIs(t, err, errBackend)
}

func TestAllocations(t *testing.T) {
	ctx := t.Context()
	op := answer(1, nil)
	quiet := resilience.Compose(&quietGuard{}, &quietRepeater{}, &quietGuard{}, &quietGuard{})
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, quiet, op) }))
	single := &quietGuard{}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, single, op) }))
	number := 0
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, _ = resilience.Do(ctx, quiet, func(context.Context) (int, error) { number++; return number, nil })
	}), 1.0, "the caller's own closure")
}

type quietGuard struct{}

func (*quietGuard) Stage() policy.Stage { return policy.StageBreaker }
func (*quietGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (*quietGuard) Settle(context.Context, policy.Ticket, policy.Outcome) {}

type quietRepeater struct{}

func (*quietRepeater) Stage() policy.Stage                                  { return policy.StageRetry }
func (*quietRepeater) Next(context.Context, policy.Attempt) policy.Decision { return policy.Decision{} }

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

// detail is an error that cannot be compared with itself.
type detail struct {
	code int
	more any
}

func (d detail) Error() string   { return fmt.Sprint("detail ", d.code) }
func (d detail) Is(e error) bool { return e == policy.ErrRejected }

func TestErrorsThatCannotBeComparedHarmNobody(t *testing.T) {
	mapped := detail{1, map[string]int{}}
	t.Run("as the cause of the caller, returned by the operation", func(t *testing.T) {
		guard := &probe{name: "guard"}
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := resilience.Do(ctx, resilience.Compose(guard, timeout.PerAttempt(time.Second)), func(ctx context.Context) (int, error) {
			cancel(mapped)
			return 0, context.Cause(ctx)
		})
		require.ErrorAs(t, err, new(detail))
		require.EqualValues(t, 1, guard.settled.Load())
	})
	t.Run("as the rejection of a gate", func(t *testing.T) {
		value, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 3}, &obstinate{mapped}), func(context.Context) (int, error) {
			return 42, errBackend
		})
		require.ErrorIs(t, err, policy.ErrRejected)
		require.Equal(t, 42, value)
	})
}

// obstinate is a gate that refuses with any error, and admits all the same.
type obstinate struct{ err error }

func (*obstinate) Stage() policy.Stage           { return policy.StageBreaker }
func (s *obstinate) Ready(context.Context) error { return s.err }
func (*obstinate) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (*obstinate) Settle(context.Context, policy.Ticket, policy.Outcome) {}

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

func TestAWrapperThatHasLeftLetsNobodyIn(t *testing.T) {
	outer, inner := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBreaker}
	release, finished := make(chan struct{}), make(chan error, 1)
	leave := wrapper(func(ctx context.Context, call func(context.Context) error) error {
		go func() { <-release; finished <- call(ctx) }()
		return errRefused
	})
	_, err := resilience.Do(t.Context(), resilience.Compose(outer, leave, inner), func(context.Context) (int, error) {
		t.Error("entered, although it was reported as never called")
		return 0, nil
	})
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, policy.NotCalled, outer.last.Load().Kind)
	close(release)
	require.ErrorIs(t, <-finished, policy.ErrRejected)
	require.EqualValues(t, 1, inner.settled.Load())
}

// ringing is a gate whose channel of changes is always closed.
type ringing struct {
	gate
	channel chan struct{}
}

func (r *ringing) Changed(context.Context) <-chan struct{} { return r.channel }

func TestANotifierThatAlwaysRingsIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ringing{channel: make(chan struct{})}
		close(r.channel)
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 2, wait: time.Second}, r), answer(0, errBackend))
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, time.Second, time.Since(start))
		require.Less(t, r.asked.Load(), int64(1000), "FAULT 274")
	})
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
