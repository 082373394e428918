// Package targettest is what the tests of the adapters for metrics have in common.
package targettest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// Policies returns every policy of this module that reports.
func Policies() []policy.Reporter {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	return []policy.Reporter{
		breaker.New(breaker.FailureRate(0.5, 2), breaker.SlowCalls(time.Second, 0.5, 2)),
		bulkhead.New(1, bulkhead.Queue(1, time.Second)),
		bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 10),
		ratelimit.New(1, 1, ratelimit.MaxWait(time.Second)),
		ratelimit.NewPerKey(1, 1, func(context.Context) string { return "" }),
		throttle.New(),
		retry.New(), retry.NewBudget(0.2, 10), retry.NewTokenBudget(10, 0.1), retry.NewConcurrencyBudget(0.2, 3),
		hedge.New(),
		timeout.Total(time.Second), timeout.PerAttempt(time.Second), timeout.Abandon(time.Second),
		hosts, keyed.By(func(context.Context) string { return "a" }, hosts),
	}
}

// UnderLoad calls read again and again while two goroutines make calls through a pipeline, half of which fail.
func UnderLoad(pipeline *resilience.Pipeline, read func()) {
	stop := make(chan struct{})
	var callers sync.WaitGroup
	defer callers.Wait()
	defer close(stop)
	for range 2 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_ = pipeline.Run(context.Background(), func(context.Context) error {
					if n%2 == 0 {
						return nil
					}
					return errFailed
				})
			}
		})
	}
	for range 50 {
		read()
	}
}

var errFailed = errors.New("failed")

// DocumentCompiles fails a test unless docs/observing.md has one block of code that uses the package, and the block is in
// example_test.go, which the compiler has seen. It is called in the directory of the package.
func DocumentCompiles(t *testing.T, pkg string) {
	t.Helper()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	document, examples := read("../../docs/observing.md"), unindent(read("example_test.go"))
	found := 0
	for i, block := range strings.Split(document, "```golang\n") {
		code, _, _ := strings.Cut(block, "```")
		if i == 0 || !strings.Contains(code, pkg+".") {
			continue
		}
		found++
		if !strings.Contains(examples, unindent(code)) {
			t.Errorf("not in example_test.go:\n%s", code)
		}
	}
	if found != 1 {
		t.Errorf("%d blocks of code use %s, there should be 1", found, pkg)
	}
}

func unindent(code string) string {
	lines := strings.Split(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}
