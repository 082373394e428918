package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/examples/fromscratch/step1"
	"github.com/go-resilience/resilience/examples/fromscratch/step2"
	"github.com/go-resilience/resilience/examples/fromscratch/step3"
	"github.com/go-resilience/resilience/examples/fromscratch/step4"
	"github.com/go-resilience/resilience/examples/fromscratch/step5"
	"github.com/go-resilience/resilience/examples/fromscratch/step6"
	"github.com/go-resilience/resilience/examples/fromscratch/step7"
	"github.com/go-resilience/resilience/examples/fromscratch/step8"
	"github.com/go-resilience/resilience/examples/fromscratch/step9"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs f in virtual time and returns what it returns.
func bubble[T any](t *testing.T, f func() T) (result T) {
	synctest.Test(t, func(*testing.T) { result = f() })
	return result
}

// The state machine goes through all its states in nine steps.
func TestTrace(t *testing.T) {
	moments := bubble(t, func() []moment { return trace(step1.New(3, recovery)) })
	require.Len(t, moments, 9)
	for i, want := range []step1.State{
		step1.Closed, step1.Closed, step1.Closed, step1.Open, step1.Open, step1.HalfOpen, step1.Open, step1.HalfOpen, step1.Closed,
	} {
		require.Equal(t, want, moments[i].state, "step %d: %s", i+1, moments[i].what)
	}
}

// With a lock, goroutines may share it: run with -race.
func TestShared(t *testing.T) {
	b := step2.New(1000, recovery)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if b.Allow() == nil {
					b.Failed()
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, step2.Closed, b.State())
	for range 200 {
		b.Failed()
	}
	require.Equal(t, step2.Open, b.State(), "800 failures and 200 more: none was lost")
	require.ErrorIs(t, b.Allow(), step2.ErrOpen)
}

// Each pitfall is there before the step that mends it, and gone after it; the library never had it.
func TestPitfalls(t *testing.T) {
	never := func() bool { return false }
	t.Run("panic", func(t *testing.T) {
		before := step3.New(5, recovery)
		require.Equal(t, "waits for ever", afterPanic(before.Do, before.Locked))
		require.Equal(t, "is served", afterPanic(step4.New(5, recovery).Do, never))
		require.Equal(t, "is served", afterPanic(library(), never))
	})
	count := func(name string, scenario func(caller) int, before, after caller, wantBefore, want int) {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, wantBefore, bubble(t, func() int { return scenario(before) }), "before")
			require.Equal(t, want, bubble(t, func() int { return scenario(after) }), "after")
			require.Equal(t, want, bubble(t, func() int { return scenario(library()) }), "library")
		})
	}
	count("blip", afterBlip, step4.New(5, recovery).Do, step5.New(recovery).Do, 795, 0)
	count("storm", afterRecoveryTime, step5.New(recovery).Do, step6.New(recovery).Do, 100, 1)
	count("late result", afterLateResult, step7.New(recovery, judge7).Do, step8.New(recovery, judge8).Do, 15, 0)
	t.Run("not found", func(t *testing.T) {
		require.Equal(t, "is refused", afterNotFound(step6.New(recovery).Do))
		require.Equal(t, "is served", afterNotFound(step7.New(recovery, judge7).Do))
		require.Equal(t, "is served", afterNotFound(library()))
	})
	t.Run("retries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, listening := step8Open(), step8Open()
			require.Equal(t, 7*delay, whileDown(func(op func() error) error {
				return step9.Blind(attempts, delay, func() error { return b.Do(op) })
			}))
			require.Zero(t, whileDown(func(op func() error) error { return step9.Listening(listening, attempts, delay, op) }))
			require.Zero(t, whileDown(library(again)))
		})
	})
	t.Run("the error says both", func(t *testing.T) {
		b := step8.New(recovery, judge8)
		for range 19 {
			_ = b.Do(fail)
		}
		err := step9.Listening(b, attempts, delay, fail)
		require.True(t, errors.Is(err, step8.ErrOpen) && errors.Is(err, errDown), "%v", err)
	})
}

// step8Open returns a breaker that has just opened.
func step8Open() *step8.Breaker {
	b := step8.New(recovery, judge8)
	for range 20 {
		_ = b.Do(fail)
	}
	return b
}

// A panic in a probe is a failure, and its place is free for the next one.
func TestPanicInAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, call := range map[string]caller{
			"step 6": step6.New(recovery).Do, "step 8": step8.New(recovery, judge8).Do, "library": library(),
		} {
			for range 20 {
				_ = call(fail)
			}
			time.Sleep(recovery + recovery/10) // the library adds up to 10 %
			require.Panics(t, func() { _ = call(func() error { panic("in a probe") }) }, name)
			time.Sleep(recovery + recovery/10)
			require.NoError(t, call(succeed), name)
		}
	})
}

func TestStory(t *testing.T) {
	story := bubble(t, func() string {
		var out strings.Builder
		tell(&out)
		return out.String()
	})
	t.Log("\n" + story)
	require.Contains(t, story, "     step 8   7s\n     step 9   0s\n     library  0s\n")
	require.Contains(t, story, "     step 8   closed\n     step 9   open\n     library  open\n")
}

// The page quotes what the program prints, and the size of the first step.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "from-scratch.md"))
	require.NoError(t, err)
	story := bubble(t, func() string {
		var out strings.Builder
		tell(&out)
		return out.String()
	})
	flat := func(text string) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		return b.String()
	}
	_, story, _ = strings.Cut(story, "\n") // the heading of the trace
	for _, part := range strings.Split(story, "\n\n") {
		require.Contains(t, flat(string(page)), flat(part))
	}
	file, err := os.ReadFile(filepath.Join("step1", "breaker.go"))
	require.NoError(t, err)
	require.Contains(t, string(page), fmt.Sprintf("[%d lines]", strings.Count(string(file), "\n")))
}
