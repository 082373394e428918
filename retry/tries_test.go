package retry_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestTriesUntilSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var numbers []int
		tries := retry.New(retry.NoJitter()).Tries(t.Context())
		for try := range tries.All() {
			numbers = append(numbers, retry.Attempt(try.Context()))
			try.Done([]error{errBackend, errBackend, nil}[len(numbers)-1])
		}
		require.NoError(t, tries.Err())
		require.Equal(t, []int{1, 2, 3}, numbers)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
	})
}

func TestTriesExhausted(t *testing.T) {
	again := retry.New(retry.Constant(0))
	tries := again.Tries(t.Context())
	for range 2 { // each loop is a new call
		passes := 0
		for try := range tries.All() {
			passes++
			require.NoError(t, tries.Err(), "nothing is known before the end")
			require.True(t, try.Done(errBackend))
			require.False(t, try.Done(errFull))
			require.False(t, try.Done(nil))
		}
		require.Equal(t, 3, passes)
		gave, ok := errors.AsType[*retry.Error](tries.Err())
		require.True(t, ok)
		require.Equal(t, retry.ErrExhausted, gave.Reason)
		require.Equal(t, errBackend, gave.Last, "of several errors of a pass the first counts")
	}
	require.EqualValues(t, 4, again.Snapshot().Retries)
}

// Leaving the loop ends it, whatever the error is.
func TestFault238_TriesLeft(t *testing.T) {
	for name, options := range map[string][]retry.Option{
		"plain":              nil,
		"retried rejections": {retry.RetryRejections(errFull)},
		"everything":         {retry.If(func(error) bool { return true }), retry.RetryNested(), retry.RetryRejections(errFull, policy.ErrRejected)},
	} {
		for _, err := range []error{
			nil, errBackend, retry.Permanent(errBackend), &policy.Rejection{Kind: "bulkhead", Reason: errFull}, policy.ErrRejected,
			&retry.Error{Reason: retry.ErrExhausted, Last: errBackend}, context.Canceled,
		} {
			t.Run(fmt.Sprintf("%s, %v", name, err), func(t *testing.T) {
				again := retry.New(append(options, retry.Constant(0))...)
				guard := &witness{}
				tries := again.Tries(t.Context(), guard)
				passes := 0
				for try := range tries.All() {
					passes++
					try.Done(err)
					break
				}
				require.Equal(t, err, tries.Err(), "the bare error")
				func() {
					for try := range tries.All() {
						passes++
						try.Done(err)
						return
					}
				}()
				require.Equal(t, err, tries.Err())
			outer:
				for {
					for try := range tries.All() {
						passes++
						try.Done(err)
						break outer
					}
				}
				require.Equal(t, err, tries.Err())
				require.Equal(t, 3, passes)
				require.Zero(t, again.Snapshot().Retries)
				require.Len(t, guard.settled, 3)
				for _, outcome := range guard.settled {
					require.Equal(t, policy.Returned, outcome.Kind)
					require.Equal(t, err, outcome.Err)
				}
			})
		}
	}
}

// witness notes how attempts end, and how many are inside.
type witness struct {
	stage   policy.Stage // 0: that of a bulkhead
	inside  int
	most    int
	settled []policy.Outcome
}

func (w *witness) Stage() policy.Stage {
	if w.stage == 0 {
		return policy.StageBulkhead
	}
	return w.stage
}

func (w *witness) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	w.inside++
	w.most = max(w.most, w.inside)
	return ctx, policy.Ticket{}, nil
}

func (w *witness) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	w.inside--
	w.settled = append(w.settled, outcome)
}

// A pass that does not say how it ended is an error, and is settled as such.
func TestFault261_TriesThatAreNotDone(t *testing.T) {
	guard := &witness{}
	tries := retry.New(retry.Constant(0)).Tries(t.Context(), guard)
	passes := 0
	check := func(how string, kind policy.Kind, earlier int) {
		t.Helper()
		require.Equal(t, retry.ErrNotDone, tries.Err(), how)
		require.Equal(t, earlier+1, passes, how)
		require.Len(t, guard.settled, earlier+1, how)
		require.Equal(t, policy.Outcome{Kind: kind}, guard.settled[earlier], how)
		require.Zero(t, guard.inside, how)
		passes, guard.settled = 0, nil
	}
	for range tries.All() {
		passes++
	}
	check("the body goes on", policy.Exited, 0)
	for range tries.All() {
		passes++
		break
	}
	check("break", policy.Exited, 0)
	for try := range tries.All() {
		if passes++; passes == 2 {
			break
		}
		try.Done(errBackend)
	}
	check("break in the second pass", policy.Exited, 1)
	func() {
		for range tries.All() {
			passes++
			return
		}
	}()
	check("return", policy.Exited, 0)
	require.PanicsWithValue(t, "boom", func() {
		for range tries.All() {
			passes++
			panic("boom")
		}
	})
	check("panic", policy.Panicked, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range tries.All() {
			passes++
			runtime.Goexit()
		}
	}()
	<-done
	check("Goexit", policy.Exited, 0)

	var late *retry.Try
	for try := range tries.All() {
		passes++
		late = try
	}
	require.False(t, late.Done(nil), "the pass is over")
	check("too late", policy.Exited, 0)
}

func TestAPassThatIsDoneAndPanicsCountsAsDone(t *testing.T) {
	guard := &witness{}
	tries := retry.New().Tries(t.Context(), guard)
	for _, err := range []error{nil, errBackend} {
		require.PanicsWithValue(t, "boom", func() {
			for try := range tries.All() {
				try.Done(err)
				panic("boom")
			}
		})
		require.Equal(t, err, tries.Err())
		settled := guard.settled[len(guard.settled)-1]
		require.Equal(t, policy.Returned, settled.Kind)
		require.Equal(t, err, settled.Err)
	}
	require.Zero(t, guard.inside)
}

// What is handed to Tries is ordered as by Compose, admitted and settled on each pass.
func TestFault262_TriesTellTheGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := &fakeBreaker{threshold: 150, openFor: time.Minute}
		again := retry.New(retry.Constant(0), retry.NoBudget())
		for range 50 {
			for try := range again.Tries(t.Context(), breaker).All() {
				try.Done(errBackend)
			}
		}
		require.Len(t, breaker.settled, 150)
		require.ErrorIs(t, breaker.Ready(t.Context()), errOpen)
	})
}

func TestTriesOrderGuards(t *testing.T) {
	var order []policy.Stage
	at := func(stage policy.Stage) policy.Layer { return &ordered{stage, &order} }
	tries := retry.New(retry.Constant(0)).Tries(t.Context(),
		at(policy.StageAttemptTimeout), at(policy.StageBreaker), policy.At(policy.StageShed, at(policy.StageBulkhead)),
		resilience.Compose(at(policy.StageRateLimit), at(policy.StageTotalTimeout)), resilience.Compose())
	passes := 0
	for try := range tries.All() {
		passes++
		try.Done([]error{errBackend, nil}[passes-1])
	}
	require.NoError(t, tries.Err())
	outside := []policy.Stage{policy.StageBulkhead, policy.StageTotalTimeout} // the first one at StageShed
	inside := []policy.Stage{policy.StageBreaker, policy.StageRateLimit, policy.StageAttemptTimeout}
	require.Equal(t, slices.Concat(outside, inside, inside), order)
}

// ordered is a guard that notes when it admits.
type ordered struct {
	stage policy.Stage
	order *[]policy.Stage
}

func (o *ordered) Stage() policy.Stage { return o.stage }
func (o *ordered) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	*o.order = append(*o.order, o.stage)
	return ctx, policy.Ticket{}, nil
}
func (o *ordered) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestAGuardOutsideTheTriesHearsHowTheLoopEnded(t *testing.T) {
	outside := &witness{stage: policy.StageShed}
	tries := retry.New(retry.Constant(0)).Tries(t.Context(), outside)
	for try := range tries.All() {
		try.Done(errBackend)
	}
	require.Len(t, outside.settled, 1)
	require.Equal(t, tries.Err(), outside.settled[0].Err)
	for try := range tries.All() {
		try.Done(errBackend)
		break
	}
	require.Equal(t, errBackend, outside.settled[1].Err)
	for range tries.All() {
	}
	require.Equal(t, policy.Outcome{Kind: policy.Exited}, outside.settled[2])
}

func TestTriesOfWhatIsNoGuard(t *testing.T) {
	again := retry.New()
	require.PanicsWithValue(t, `retry: Tries with retry "other" 3 (*retry.Retrier), which is no guard`, func() {
		again.Tries(t.Context(), retry.New(retry.Name("other")))
	})
	require.PanicsWithValue(t, `retry: Tries with retry "other" 3 (*retry.Retrier), which is no guard`, func() {
		again.Tries(t.Context(), resilience.Compose(&witness{}, retry.New(retry.Name("other"))))
	})
	var problems *policy.ConfigError
	func() {
		defer func() { problems, _ = recover().(*policy.ConfigError) }()
		retry.New(retry.WithBudget(retry.NewConcurrencyBudget(0.2, 3))).Tries(t.Context())
	}()
	require.ErrorContains(t, problems, "must be composed too")
}

// TestALoopThatIsLeftAfterASuccessCreditsTheBudget: whichever pass has succeeded, and whether it is left or ends by itself.
func TestALoopThatIsLeftAfterASuccessCreditsTheBudget(t *testing.T) {
	for _, failures := range []int{0, 1, 2} {
		for _, leave := range []bool{false, true} {
			budget := retry.NewTokenBudget(10, 0.5)
			again := retry.New(retry.WithBudget(budget), retry.Constant(0))
			op := fails(slices.Repeat([]error{errBackend}, failures)...)
			for try := range again.Tries(t.Context()).All() {
				_, err := op.do(try.Context())
				try.Done(err)
				if leave && err == nil {
					break
				}
			}
			require.InDelta(t, min(10, 10-float64(failures)+0.5), budget.Snapshot().Tokens, 0, "%d failures, left: %v", failures, leave)
		}
	}
}

// TestALoopThatIsLeftTellsGuardsOfATimeoutAsAPipelineDoes: a breaker outside judges the timeout, not what the pass made of it.
func TestALoopThatIsLeftTellsGuardsOfATimeoutAsAPipelineDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again, guard, limit := retry.New(retry.Attempts(1)), &witness{}, timeout.PerAttempt(time.Second)
		op := func(ctx context.Context) error { <-ctx.Done(); return &policy.Rejection{Kind: "pool", Reason: errFull} }
		require.Error(t, resilience.Run(t.Context(), resilience.Compose(again, guard, limit), op))
		want := guard.settled
		guard.settled = nil
		for try := range again.Tries(t.Context(), guard, limit).All() {
			try.Done(op(try.Context()))
			break
		}
		require.Len(t, want, 1)
		require.Equal(t, want, guard.settled)
		require.Equal(t, policy.Failure, guard.settled[0].Verdict(nil))
	})
}

func TestTriesPermanent(t *testing.T) {
	tries := retry.New().Tries(t.Context())
	passes := 0
	for try := range tries.All() {
		passes++
		try.Done(retry.Permanent(errBackend))
	}
	require.Equal(t, 1, passes)
	require.ErrorIs(t, tries.Err(), errBackend)
}

func TestFault072_TriesOfAnEndedContext(t *testing.T) {
	cause := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	tries := retry.New().Tries(ctx)
	for range tries.All() {
		t.Error("entered")
	}
	require.ErrorIs(t, tries.Err(), cause)
	require.ErrorIs(t, tries.Err(), context.Canceled)
}

func TestTriesWaitHonoursTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		tries := retry.New(retry.Constant(time.Hour), retry.NoJitter()).Tries(ctx)
		for try := range tries.All() {
			try.Done(errBackend)
		}
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, tries.Err(), context.Canceled)
		require.ErrorIs(t, tries.Err(), errBackend)

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		tries = retry.New(retry.Constant(time.Hour), retry.NoJitter()).Tries(ctx)
		for try := range tries.All() {
			try.Done(errBackend)
		}
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, tries.Err(), retry.ErrDeadline)
	})
}

func TestTriesConsultGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		breaker := &fakeBreaker{threshold: 100, openFor: time.Minute}
		again := retry.New(retry.NoJitter())
		tries := again.Tries(t.Context(), breaker)
		passes := 0
		for try := range tries.All() { // closes before the wait
			passes++
			breaker.open()
			try.Done(errBackend)
		}
		require.Equal(t, 1, passes)
		require.ErrorIs(t, tries.Err(), errOpen)
		require.ErrorIs(t, tries.Err(), errBackend)

		for range tries.All() { // closed from the start
			t.Error("entered")
		}
		_, ok := tries.Err().(*policy.Rejection)
		require.True(t, ok)

		time.Sleep(time.Minute)
		breaker.until = time.Time{}
		time.AfterFunc(50*time.Millisecond, breaker.open)
		for try := range tries.All() { // closes during the wait
			passes++
			try.Done(errBackend)
		}
		require.Equal(t, 2, passes)
		require.ErrorIs(t, tries.Err(), errOpen)
		require.ErrorIs(t, tries.Err(), errBackend)
		require.Len(t, breaker.settled, 2)
	})
}

func TestTriesAskEachGateOfAPipelineOnce(t *testing.T) {
	first, second := &maintenance{}, &maintenance{}
	again := retry.New(retry.Constant(0))
	passes := 0
	tries := again.Tries(t.Context(), resilience.Compose(first, policy.At(policy.StageShed, second)))
	for try := range tries.All() {
		passes++
		try.Done([]error{errBackend, nil}[passes-1])
	}
	require.NoError(t, tries.Err())
	require.Equal(t, 2, passes)
	require.Equal(t, 3, first.asked, "when it admits each attempt, and before the wait")
	require.Equal(t, 1, second.asked, "it stands outside the retry, and admits the loop")
}

func TestTriesJudgeErrorsAsTheirPipelinesDo(t *testing.T) {
	errAnswer, errBusy := errors.New("not found"), errors.New("busy")
	says := func(err error, class policy.Class) policy.Layer {
		return resilience.Classify(func(asked error) policy.Class {
			if asked == err { // as it is: Classify may compare
				return class
			}
			return policy.Unclassified
		})
	}
	db := &fakeBreaker{}
	backend := resilience.Compose(db, says(errAnswer, policy.Expected))
	again := retry.New(retry.Constant(0), retry.NoBudget())
	loop := func(pass error, leave bool, guards ...policy.Layer) (passes int) {
		db.settled = nil
		tries := again.Tries(t.Context(), guards...)
		for try := range tries.All() {
			passes++
			try.Done(pass)
			if leave {
				break
			}
		}
		require.Equal(t, pass, tries.Err(), "as it is: nothing was retried")
		return passes
	}
	for _, leave := range []bool{false, true} {
		require.Equal(t, 1, loop(errAnswer, leave, backend))
		require.Equal(t, policy.Expected, db.settled[0].Class)
		require.Equal(t, 1, loop(errAnswer, leave, policy.At(policy.StageBulkhead, &maintenance{}), backend))
		require.Equal(t, policy.Expected, db.settled[0].Class)
	}
	require.Equal(t, 1, loop(errBusy, false, backend, resilience.Compose(says(errBusy, policy.Ignored))), "the last one counts")
	require.Equal(t, policy.Ignored, db.settled[0].Class)
}

func TestTriesPanicGoesOn(t *testing.T) {
	tries := retry.New().Tries(t.Context())
	require.PanicsWithValue(t, "boom", func() {
		for range tries.All() {
			panic("boom")
		}
	})
}

func TestTriesOfNil(t *testing.T) {
	require.PanicsWithValue(t, "retry: Tries with a nil context", func() { retry.New().Tries(nil) }) //nolint:staticcheck
	for _, guard := range []policy.Layer{nil, (*breaker.Breaker)(nil), (*resilience.Pipeline)(nil)} {
		require.PanicsWithValue(t, "retry: Tries with a nil guard", func() { retry.New().Tries(t.Context(), guard) })
	}
}

// As with Compose: nobody knows where its layers would stand.
func TestTriesRefuseAPipelineThatWasMoved(t *testing.T) {
	moved := policy.At(policy.StageShed, resilience.Compose(breaker.New()))
	require.PanicsWithValue(t, "retry: Tries with a *resilience.Pipeline that was moved: move its layers instead", func() {
		retry.New().Tries(t.Context(), moved)
	})
}

func TestTriesSayWhatTheyAre(t *testing.T) {
	tries := retry.New(retry.Attempts(1)).Tries(t.Context(), policy.At(policy.StageShed, &fakeBreaker{}))
	require.Equal(t, "fake breaker > retry 1", fmt.Sprint(tries))
	for try := range tries.All() {
		require.Equal(t, "attempt 1", fmt.Sprint(try))
		try.Done(nil)
	}
	require.NoError(t, tries.Err())
}
