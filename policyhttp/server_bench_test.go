package policyhttp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/timeout"
)

// handlers are a bare handler and the same behind doors.
func handlers() []struct {
	name    string
	handler http.Handler
	allocs  float64
} {
	clients := keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(ratelimit.MaxRate, ratelimit.MaxBurst) })
	next := status(http.StatusNoContent)
	return []struct {
		name    string
		handler http.Handler
		allocs  float64
	}{
		{"bare", next, 0},
		{"nothing", front(next), 3}, // what is kept of the exchange, the operation, the copy of the request
		{"bulkhead", front(next, bulkhead.New(1<<20)), 3},
		{"client+bulkhead", front(next, keyed.By(policyhttp.Key, clients), bulkhead.New(1<<20)), 5},
		{"timeout+bulkhead", front(next, bulkhead.New(1<<20), timeout.PerAttempt(time.Minute)), 7},
		{"refused", policyhttp.Handler(next, refuse(rejection("bulkhead.full"))), 30},
	}
}

func TestAllocationsOfAHandler(t *testing.T) {
	if handlerRaced {
		t.Skip("the race detector allocates")
	}
	for _, h := range handlers() {
		w, r := &nullWriter{header: http.Header{}}, get()
		allocs := testing.AllocsPerRun(200, func() { h.handler.ServeHTTP(w, r) })
		t.Log(h.name, allocs)
		require.LessOrEqual(t, allocs, h.allocs, h.name)
	}
}

func BenchmarkHandler(b *testing.B) {
	for _, h := range handlers() {
		b.Run(h.name, func(b *testing.B) {
			b.ReportAllocs()
			w, r := &nullWriter{header: http.Header{}}, get()
			for b.Loop() {
				h.handler.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkHandlerParallel(b *testing.B) {
	handler := policyhttp.Handler(status(http.StatusNoContent), resilience.Compose(policy.At(policy.StageShed, bulkhead.New(1<<20))))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w, r := &nullWriter{header: http.Header{}}, get()
		for pb.Next() {
			handler.ServeHTTP(w, r)
		}
	})
}
