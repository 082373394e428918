package detached_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/internal/detached"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errRun = errors.New("run failed")

func TestEachEndingIsResumedByTheCaller(t *testing.T) {
	group := detached.NewGroup(detached.Config{Limit: 1})
	resume := func(f func() error) (recovered any, exited bool, err error) {
		exited = true
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if recovered = recover(); recovered != nil {
					exited = false
				}
			}()
			runs := group.Runs(1)
			defer runs.Leave()
			runs.Go(f)
			err = (<-runs.Endings()).Resume()
			exited = false
		}()
		<-done
		return recovered, exited, err
	}
	recovered, exited, err := resume(func() error { return errRun })
	require.Equal(t, errRun, err)
	require.Nil(t, recovered)
	require.False(t, exited)
	recovered, exited, _ = resume(func() error { panic(errRun) })
	require.True(t, recovered == any(errRun))
	require.False(t, exited)
	recovered, exited, _ = resume(func() error { runtime.Goexit(); return nil })
	require.Nil(t, recovered)
	require.True(t, exited)
	recovered, _, _ = resume(func() error { panic(nil) }) //nolint:govet // what happens then is the question
	_, isNil := recovered.(*runtime.PanicNilError)
	require.True(t, isNil)
	require.Equal(t, detached.Counts{}, group.Counts())
}

// A crash prints every panic that was not recovered, so the process of the test is run again, and crashes.
func TestFault058_ACrashShowsTheOriginalStack(t *testing.T) {
	if os.Getenv("CRASH") != "" {
		runs := detached.NewGroup(detached.Config{Limit: 1}).Runs(1)
		runs.Go(func() error { theOriginalFrame(); return nil })
		_ = (<-runs.Endings()).Resume()
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run", t.Name())
	command.Env = append(os.Environ(), "CRASH=1")
	output, err := command.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(output), "panic on another goroutine: boom")
	require.Contains(t, string(output), "theOriginalFrame")
}

func theOriginalFrame() { panic("boom") }

func TestTheLimitCountsWhatWasLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []any
		group := detached.NewGroup(detached.Config{Limit: 2, OnPanic: func(value any, stack []byte) {
			if !strings.Contains(string(stack), "detached_test.go") {
				t.Error("no stack")
			}
			heard = append(heard, value)
		}})
		end := make(chan struct{})
		runs := group.Runs(3)
		require.True(t, runs.Go(func() error { <-end; panic("late") }))
		require.True(t, runs.Go(func() error { panic("soon") }))
		synctest.Wait()
		require.Equal(t, detached.Counts{Running: 1}, group.Counts())
		require.True(t, runs.Go(func() error { <-end; return nil }))
		require.False(t, runs.Go(func() error { t.Error("called"); return nil }))
		runs.Leave()
		require.Equal(t, detached.Counts{Running: 2, Left: 2, Panics: 1}, group.Counts(), "nobody took the panic")
		require.False(t, group.Runs(1).Go(func() error { t.Error("called"); return nil }))
		close(end)
		synctest.Wait()
		require.Equal(t, detached.Counts{Panics: 2}, group.Counts())
		require.Equal(t, []any{"soon", "late"}, heard)
	})
}

// Whatever the order of ends and leaving: nothing stays counted, and each panic is heard of or counted.
func TestConservation(t *testing.T) {
	group := detached.NewGroup(detached.Config{Limit: 6})
	var callers sync.WaitGroup
	var mu sync.Mutex
	panics, heard := 0, 0
	for range 4 {
		callers.Go(func() {
			for i := range 2000 {
				runs := group.Runs(3)
				for range 3 {
					runs.Go(func() error {
						if i%3 == 0 {
							mu.Lock()
							panics++
							mu.Unlock()
							panic(i)
						}
						return nil
					})
				}
				if i%2 == 0 {
					select {
					case ending := <-runs.Endings():
						if !ending.Returned() {
							mu.Lock()
							heard++
							mu.Unlock()
						}
					default:
					}
				}
				runs.Leave()
			}
		})
	}
	callers.Wait()
	for group.Counts().Running > 0 {
		runtime.Gosched()
	}
	counts := group.Counts()
	require.Zero(t, counts.Left)
	require.EqualValues(t, panics-heard, counts.Panics)
}

// Goexit in OnDiscard, as t.FailNow does, ends neither the run that made the result nor its caller.
func TestFault266_GoexitInOnDiscardIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released []any
		group := detached.NewGroup(detached.Config{Limit: 1, OnDiscard: func(value any) {
			released = append(released, value)
			runtime.Goexit()
		}})
		runs := group.Runs(1)
		defer runs.Leave()
		require.True(t, runs.Go(func() error { group.Discard(7); return errRun }))
		ending := <-runs.Endings()
		require.True(t, ending.Returned())
		require.Equal(t, errRun, ending.Resume())
		require.Equal(t, []any{7}, released)
		require.Equal(t, detached.Counts{Discarded: 1}, group.Counts())
	})
}

// Nor does Goexit in OnPanic.
func TestGoexitInOnPanicIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []any
		group := detached.NewGroup(detached.Config{
			Limit:     1,
			OnDiscard: func(value any) { panic(value) },
			OnPanic: func(value any, _ []byte) {
				heard = append(heard, value)
				runtime.Goexit()
			},
		})
		runs := group.Runs(1)
		defer runs.Leave()
		require.True(t, runs.Go(func() error { group.Discard(7); return errRun }))
		require.Equal(t, errRun, (<-runs.Endings()).Resume())
		require.Equal(t, []any{7}, heard)
		require.Equal(t, detached.Counts{Discarded: 1, Panics: 1}, group.Counts())
	})
}

func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := detached.NewGroup(detached.Config{Limit: 2})
		runs, end := group.Runs(5), make(chan struct{})
		defer runs.Leave()
		wait := func() error { <-end; return nil }
		require.True(t, runs.Go(wait))
		require.True(t, runs.Go(wait))
		discarded := 0
		group.Configure(detached.Config{Limit: 1, OnDiscard: func(any) { discarded++ }})
		require.False(t, runs.Go(wait))
		require.Equal(t, 2, group.Counts().Running, "what runs goes on")
		group.Configure(detached.Config{Limit: 3, OnDiscard: func(any) { discarded++ }})
		require.True(t, runs.Go(wait))
		group.Discard(1)
		require.Equal(t, 1, discarded)
		close(end)
		synctest.Wait()
		require.Zero(t, group.Counts().Running)
	})
}
