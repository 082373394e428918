package policyhttp_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// TestLedger has 64 goroutines call a server that fails 30 % of the time, each call with a deadline, and balances what was
// sent, answered, refused and retried with what the server saw.
func TestLedger(t *testing.T) {
	lasts := 300 * time.Millisecond
	if whole {
		lasts = time.Minute
	}
	var handled, answered, failed atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handled.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		switch p := rand.Float64(); {
		case p < 0.2:
			failed.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		case p < 0.25:
			failed.Add(1)
			reset(w)
		case p < 0.3:
			failed.Add(1)
			time.Sleep(700 * time.Millisecond) // longer than an attempt may take
		default:
			answered.Add(1)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	server.Config.ErrorLog = quiet
	defer server.Close()
	base := &http.Transport{MaxIdleConnsPerHost: 256}
	defer base.CloseIdleConnections()
	var sent atomic.Int64
	counting := tripper(func(r *http.Request) (*http.Response, error) {
		sent.Add(1)
		return base.RoundTrip(r)
	})
	var attempts, retries, rejections, calls atomic.Int64
	observer := policy.ObserverFunc(func(_ context.Context, e policy.Event) {
		switch e.Kind {
		case policy.EventAttempt:
			attempts.Add(1)
		case policy.EventRetry:
			retries.Add(1)
		case policy.EventRejected:
			rejections.Add(1)
		case policy.EventCall:
			calls.Add(1)
		}
	})
	slots := bulkhead.New(40)
	again := retry.New(retry.Constant(time.Millisecond), retry.NoBudget())
	judge := breaker.New(breaker.FailureRate(0.7, 100), breaker.OpenFor(10*time.Millisecond), breaker.ProbeLease(time.Second))
	pipeline := resilience.Compose(resilience.Name("ledger"), timeout.Total(3*time.Second), again, judge, slots,
		hedge.New(hedge.After(200*time.Millisecond), hedge.Limit(0.1, 100)), timeout.PerAttempt(500*time.Millisecond),
		resilience.Observe(observer))
	client := &http.Client{Transport: policyhttp.NewTransport(counting, pipeline)}
	var made, good, bad, refused, gaveUp, byInfo atomic.Int64
	var wait sync.WaitGroup
	end := time.Now().Add(lasts)
	for range 64 {
		wait.Go(func() {
			for time.Now().Before(end) {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				method, b := "GET", io.Reader(nil)
				switch rand.IntN(3) {
				case 1:
					method, b = "PUT", strings.NewReader("hello")
				case 2:
					method, b = "POST", strings.NewReader("hello")
				}
				r, err := http.NewRequestWithContext(ctx, method, server.URL, b)
				if err != nil {
					panic(err)
				}
				made.Add(1)
				response, err := client.Do(r)
				call, ok := policyhttp.Info(response, err)
				if !ok {
					panic("no info")
				}
				byInfo.Add(int64(call.Attempts))
				switch {
				case err == nil && response.StatusCode == 200:
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					good.Add(1)
				case err == nil:
					_ = response.Body.Close()
					bad.Add(1)
				case errors.Is(err, policy.ErrRejected) && call.Attempts == 0:
					refused.Add(1)
				default:
					gaveUp.Add(1)
				}
				cancel()
			}
		})
	}
	wait.Wait()
	require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 && handled.Load() == answered.Load()+failed.Load() },
		10*time.Second, time.Millisecond)
	require.Equal(t, made.Load(), good.Load()+bad.Load()+refused.Load()+gaveUp.Load())
	require.Equal(t, made.Load(), calls.Load())
	few := max(3, made.Load()/100) // on a busy machine there may be fewer than a hundred calls
	require.GreaterOrEqual(t, attempts.Load(), sent.Load(), "an attempt of a hedge may begin as the call ends, and is not sent then")
	require.LessOrEqual(t, attempts.Load()-sent.Load(), few)
	require.GreaterOrEqual(t, sent.Load(), byInfo.Load(), "an attempt of a hedge may begin as the call ends")
	require.LessOrEqual(t, sent.Load()-byInfo.Load(), few)
	report := pipeline.Report().Calls
	require.EqualValues(t, made.Load(), report.Succeeded+report.Expected+report.Failed+report.Rejected+report.Canceled+report.Panicked)
	require.EqualValues(t, retries.Load(), again.Snapshot().Retries)
	t.Logf("%d calls: %d answered, %d failed responses, %d refused, %d given up; %d attempts (%d by Info), %d retries, %d rejections; "+
		"the server saw %d, failed %d", made.Load(), good.Load(), bad.Load(), refused.Load(), gaveUp.Load(), sent.Load(), byInfo.Load(),
		retries.Load(), rejections.Load(), handled.Load(), failed.Load())
	require.LessOrEqual(t, handled.Load(), sent.Load()+max(3, sent.Load()/20), "net/http replaces a connection that was closed")
}
