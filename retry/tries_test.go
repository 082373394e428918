package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestTriesUntilSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var numbers []int
		tries := retry.New(retry.NoJitter()).Tries(t.Context())
		for try := range tries.All() {
			numbers = append(numbers, retry.Attempt(try.Context()))
			if len(numbers) < 3 {
				try.Failed(errBackend)
			}
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
			try.Failed(errFull)
			try.Failed(errBackend)
		}
		require.Equal(t, 3, passes)
		gave, ok := errors.AsType[*retry.Error](tries.Err())
		require.True(t, ok)
		require.Equal(t, retry.ErrExhausted, gave.Reason)
		require.Equal(t, errBackend, gave.Last, "the last error of an attempt counts")
	}
	require.EqualValues(t, 4, again.Snapshot().Retries)
}

func TestTriesLeft(t *testing.T) {
	again := retry.New(retry.Constant(0))
	tries := again.Tries(t.Context())
	passes := 0
	for range tries.All() {
		passes++
		break
	}
	require.NoError(t, tries.Err(), "break without a failure")
	for try := range tries.All() {
		passes++
		try.Failed(errBackend)
		break
	}
	require.Equal(t, errBackend, tries.Err(), "the bare error")
	func() {
		for try := range tries.All() {
			passes++
			try.Failed(errFull)
			return
		}
	}()
	require.Equal(t, errFull, tries.Err())
	require.Equal(t, 3, passes)
	require.Zero(t, again.Snapshot().Retries)
}

func TestTriesFailedNil(t *testing.T) {
	tries := retry.New().Tries(t.Context())
	passes := 0
	for try := range tries.All() {
		passes++
		try.Failed(errBackend)
		try.Failed(nil)
	}
	require.NoError(t, tries.Err())
	require.Equal(t, 1, passes)
}

func TestTriesPermanent(t *testing.T) {
	tries := retry.New().Tries(t.Context())
	passes := 0
	for try := range tries.All() {
		passes++
		try.Failed(retry.Permanent(errBackend))
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
			try.Failed(errBackend)
		}
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, tries.Err(), context.Canceled)
		require.ErrorIs(t, tries.Err(), errBackend)

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		tries = retry.New(retry.Constant(time.Hour), retry.NoJitter()).Tries(ctx)
		for try := range tries.All() {
			try.Failed(errBackend)
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
			try.Failed(errBackend)
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
			try.Failed(errBackend)
		}
		require.Equal(t, 2, passes)
		require.ErrorIs(t, tries.Err(), errOpen)
		require.ErrorIs(t, tries.Err(), errBackend)
		require.Empty(t, breaker.settled, "a gate is only asked")
	})
}

func TestTriesAskEachGateOfAPipelineOnce(t *testing.T) {
	first, second := &maintenance{}, &maintenance{}
	again := retry.New(retry.Constant(0))
	passes := 0
	tries := again.Tries(t.Context(), resilience.Compose(first, policy.At(policy.StageShed, second)))
	for try := range tries.All() {
		if passes++; passes == 1 {
			try.Failed(errBackend)
		}
	}
	require.NoError(t, tries.Err())
	require.Equal(t, 2, passes)
	require.Equal(t, 3, first.asked, "before each attempt, and before the wait")
	require.Equal(t, 3, second.asked)
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
	require.PanicsWithValue(t, "retry: Tries with a nil gate", func() { retry.New().Tries(t.Context(), nil) })
}
