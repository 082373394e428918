package policyhttp_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/timeout"
)

// Every request is answered once, and what the clients saw is what the pipeline counted.
func TestALedgerOfManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		clients := keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(3, 3) })
		slots := bulkhead.New(8, bulkhead.Queue(8, 50*time.Millisecond))
		pipeline := resilience.Compose(resilience.Name("front"), keyed.By(policyhttp.Key, clients), slots,
			breaker.New(breaker.FailureRate(0.9, 1000)), timeout.PerAttempt(100*time.Millisecond))
		var entered int
		var mu sync.Mutex
		handler := policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			entered++
			kind, took := random.IntN(8), time.Duration(random.IntN(80))*time.Millisecond
			mu.Unlock()
			select {
			case <-time.After(took):
			case <-r.Context().Done():
			}
			switch kind {
			case 0:
				w.WriteHeader(500)
			case 1:
				w.WriteHeader(404)
			case 2:
				panic(http.ErrAbortHandler)
			case 3:
				<-r.Context().Done() // too late, or the client leaves
			default:
				_, _ = io.WriteString(w, "fine")
			}
		}), pipeline)

		const requests = 3000
		var group sync.WaitGroup
		saw := map[int]int{}
		for range requests {
			mu.Lock()
			pause, client := time.Duration(random.IntN(5))*time.Millisecond, random.IntN(20)
			leaves, after := random.IntN(10) == 0, time.Duration(random.IntN(60))*time.Millisecond
			mu.Unlock()
			time.Sleep(pause)
			group.Go(func() {
				r := from(fmt.Sprintf("192.0.2.%d:80", client))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if leaves {
					time.AfterFunc(after, cancel)
				}
				w := httptest.NewRecorder()
				status := 0
				if caught(func() { handler.ServeHTTP(w, r.WithContext(ctx)) }) == nil {
					status = w.Code
				}
				if ctx.Err() != nil {
					status = -1
				}
				mu.Lock()
				defer mu.Unlock()
				saw[status]++
			})
		}
		group.Wait()
		calls := pipeline.Report().Calls
		t.Logf("%v %+v", saw, *calls)
		require.Equal(t, uint64(requests), calls.Succeeded+calls.Expected+calls.Failed+calls.Rejected+calls.Canceled+calls.Panicked)
		require.LessOrEqual(t, entered, requests-int(calls.Rejected))
		require.GreaterOrEqual(t, entered, requests-int(calls.Rejected+calls.Canceled), "one that left in the queue was not entered")
		for _, status := range []int{0, 200, 404, 429, 500, 503} {
			require.Positive(t, saw[status], status)
		}
		require.GreaterOrEqual(t, int(calls.Succeeded), saw[200])
		require.GreaterOrEqual(t, int(calls.Expected), saw[404])
		require.GreaterOrEqual(t, int(calls.Rejected), saw[429])
		require.GreaterOrEqual(t, int(calls.Panicked), saw[0])
		require.LessOrEqual(t, int(calls.Canceled), saw[-1])
		require.Zero(t, slots.Snapshot().InFlight)
		require.Zero(t, slots.Snapshot().Waiting)
		require.LessOrEqual(t, slots.Snapshot().PeakInFlight, 8)
	})
}

// randomly is a handler that does random things to its writer. It sends no informational answers, which a recorder takes for
// final ones.
func randomly(t *rapid.T) http.HandlerFunc {
	type step struct {
		kind int
		n    int
	}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{rapid.IntRange(0, 6).Draw(t, "kind"), rapid.SampledFrom([]int{101, 200, 204, 404, 429, 500, 503, 505}).Draw(t, "n")}
	}), 0, 6).Draw(t, "steps")
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, s := range steps {
			switch s.kind {
			case 0:
				w.WriteHeader(s.n)
			case 1:
				_, _ = w.Write([]byte("x"))
			case 2:
				_, _ = w.Write(nil)
			case 3:
				_, _ = io.WriteString(w, "y")
			case 4:
				_ = http.NewResponseController(w).Flush()
			case 5:
				_, _ = io.Copy(w, strings.NewReader("z"))
			case 6:
				w.Header().Set("X-Step", "set")
			}
		}
	}
}

// Whatever a handler does, its answer is what it would be without a door, and the policies judge the status that is sent.
func TestAnAnswerIsNeverChanged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		next := randomly(rt)
		bare, behind, judge := httptest.NewRecorder(), httptest.NewRecorder(), &judge{}
		next.ServeHTTP(bare, get())
		policyhttp.Handler(next, resilience.Compose(judge)).ServeHTTP(behind, get())
		want, got := bare.Result(), behind.Result()
		require.Equal(rt, want, got)
		require.Equal(rt, bare.Flushed, behind.Flushed)
		outcome := judge.only(t)
		if want.StatusCode < 400 {
			require.NoError(rt, outcome.Err)
			return
		}
		coded, ok := outcome.Err.(interface{ StatusCode() int })
		require.True(rt, ok)
		require.Equal(rt, want.StatusCode, coded.StatusCode())
		require.Equal(rt, want.StatusCode >= 500, outcome.Verdict(nil) == policy.Failure)
	})
}
