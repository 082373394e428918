package proof

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// heap returns the bytes in use after everything that can be collected was.
func heap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// grown waits until the goroutines are as many as before, and returns by how many bytes the heap has grown.
func grown(t *testing.T, goroutines int, before uint64) int64 {
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines are left behind")
	return int64(heap()) - int64(before)
}

const batch = 1000

var (
	waits  = testsize.Pick(30_000, 100_000)
	enough = 20 * waits // bytes that the runtime may keep for itself
)

// waiters are the calls that wait for an hour, and are cancelled.
func waiters() map[string]policy.Layer {
	full := bulkhead.New(1, bulkhead.Queue(batch, time.Hour))
	_, _, _ = full.Admit(context.Background())
	empty := ratelimit.Every(24*time.Hour, 1, ratelimit.MaxWait(100_000*time.Hour))
	_, _, _ = empty.Admit(context.Background())
	return map[string]policy.Layer{
		"bulkhead": full,
		"limiter":  empty,
		"retry":    retry.New(retry.Attempts(9), retry.Constant(time.Hour), retry.NoJitter(), retry.NoBudget()),
		"retry, breaker": resilience.Compose(retry.New(retry.Attempts(9), retry.Constant(time.Hour), retry.NoJitter(), retry.NoBudget()),
			breaker.New(breaker.ConsecutiveFailures(1<<30))),
		"hedge":   hedge.New(hedge.After(time.Hour), hedge.Idempotent()),
		"timeout": timeout.PerAttempt(time.Hour),
		"abandon": timeout.Abandon(time.Hour, timeout.MaxRunning(batch)),
	}
}

func TestCancelledWaitsLeaveNothing(t *testing.T) {
	layers := waiters()
	for name, layer := range layers {
		t.Run(name, func(t *testing.T) {
			var entered atomic.Int64
			op := func(ctx context.Context) (int, error) {
				entered.Add(1)
				if strings.HasPrefix(name, "retry") {
					return 0, errDown
				}
				<-ctx.Done()
				return 0, ctx.Err()
			}
			round := func() {
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, batch)
				for range batch {
					go func() {
						_, err := resilience.Do(ctx, layer, op)
						ended <- err
					}()
				}
				waiting := entered.Load
				switch layer := layer.(type) {
				case *bulkhead.Bulkhead:
					waiting = func() int64 { return int64(layer.Snapshot().Waiting) }
				case *ratelimit.Limiter:
					waiting = func() int64 { return int64(layer.Snapshot().Waiting) }
				}
				for deadline := time.Now().Add(time.Minute); waiting() < batch; time.Sleep(100 * time.Microsecond) {
					if time.Now().After(deadline) {
						t.Errorf("only %d wait", waiting())
						break
					}
				}
				cancel()
				for range batch {
					if err := <-ended; !errors.Is(err, context.Canceled) {
						t.Errorf("ended with %v", err)
					}
				}
				if layer, ok := layer.(*timeout.Abandoner); ok { // its operations may end a little later than their callers
					for layer.Snapshot().Running > 0 {
						runtime.Gosched()
					}
				}
				entered.Store(0)
			}
			round() // what is allocated once
			goroutines, before := runtime.NumGoroutine(), heap()
			for range waits / batch {
				round()
			}
			more := grown(t, goroutines, before)
			require.Less(t, more, int64(enough), "the heap has grown")
			t.Logf("%d waits: the heap has grown by %d bytes", waits, more)
			runtime.KeepAlive(layer)
		})
	}
}

// The check notices a leak of one small object per wait.
func TestALeakIsNoticed(t *testing.T) {
	goroutines, before := runtime.NumGoroutine(), heap()
	var leaked []context.Context
	for range waits {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		leaked = append(leaked, ctx)
	}
	require.Greater(t, grown(t, goroutines, before), int64(enough))
	runtime.KeepAlive(leaked)
}

// makers make each policy and use it once.
func makers() map[string]func() policy.Layer {
	return map[string]func() policy.Layer{
		"breaker": func() policy.Layer {
			return breaker.New(breaker.FailureRate(0.5, 2), breaker.OnChange(func(breaker.Change) {}))
		},
		"bulkhead":  func() policy.Layer { return bulkhead.New(1, bulkhead.Queue(1, time.Hour)) },
		"adaptive":  func() policy.Layer { return bulkhead.Adaptive(bulkhead.Vegas(), 1, 9) },
		"limiter":   func() policy.Layer { return ratelimit.New(1, 1, ratelimit.MaxWait(time.Hour)) },
		"retry":     func() policy.Layer { return retry.New(retry.Constant(time.Nanosecond)) },
		"hedge":     func() policy.Layer { return hedge.New(hedge.After(time.Hour), hedge.Idempotent()) },
		"throttle":  func() policy.Layer { return throttle.New() },
		"timeout":   func() policy.Layer { return timeout.PerAttempt(time.Hour) },
		"abandoner": func() policy.Layer { return timeout.Abandon(time.Hour) },
		"keyed": func() policy.Layer {
			return keyed.By(func(context.Context) string { return "key" }, keyed.New(func(string) *breaker.Breaker { return breaker.New() }))
		},
		"pipeline": func() policy.Layer {
			return resilience.Compose(retry.New(retry.Constant(time.Nanosecond)), breaker.New(), ratelimit.New(1000, 10), bulkhead.New(1), timeout.PerAttempt(time.Second))
		},
	}
}

func TestDroppedPoliciesAreCollected(t *testing.T) {
	for name, make := range makers() {
		t.Run(name, func(t *testing.T) {
			collected := watch(make(), func(layer policy.Layer) {
				_, err := resilience.Do(context.Background(), layer, func(context.Context) (int, error) { return 0, errDown })
				if err == nil {
					t.Error("the call did not happen")
				}
			})
			require.Eventually(t, func() bool {
				runtime.GC()
				return collected()
			}, time.Minute, time.Millisecond, "something keeps the policy alive")
		})
	}
}

func TestAKeptPolicyIsNotCollected(t *testing.T) {
	kept := breaker.New()
	collected := watch(kept, func(policy.Layer) {})
	for range 5 {
		runtime.GC()
	}
	time.Sleep(10 * time.Millisecond)
	require.False(t, collected(), "the check says yes to everything")
	runtime.KeepAlive(kept)
}

// watch uses a layer and returns how to ask whether it was collected.
func watch(layer policy.Layer, use func(policy.Layer)) (collected func() bool) {
	done := make(chan struct{})
	notify := func(done chan struct{}) { close(done) }
	switch layer := layer.(type) {
	case *breaker.Breaker:
		runtime.AddCleanup(layer, notify, done)
	case *bulkhead.Bulkhead:
		runtime.AddCleanup(layer, notify, done)
	case *ratelimit.Limiter:
		runtime.AddCleanup(layer, notify, done)
	case *retry.Retrier:
		runtime.AddCleanup(layer, notify, done)
	case *hedge.Hedge:
		runtime.AddCleanup(layer, notify, done)
	case *throttle.Throttle:
		runtime.AddCleanup(layer, notify, done)
	case *timeout.Timeout:
		runtime.AddCleanup(layer, notify, done)
	case *timeout.Abandoner:
		runtime.AddCleanup(layer, notify, done)
	case *keyed.Guard[string, *breaker.Breaker]:
		runtime.AddCleanup(layer, notify, done)
	case *resilience.Pipeline:
		runtime.AddCleanup(layer, notify, done)
	default:
		panic(fmt.Sprintf("%T is not watched", layer))
	}
	use(layer)
	return func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}
