package policyhttp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
)

func ExampleHandler() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })

	clients := ratelimit.NewPerKey(10, 20, policyhttp.Key, ratelimit.Name("client"))
	front := resilience.Compose(
		resilience.Name("front"),
		clients,
		bulkhead.New(64, bulkhead.Queue(64, 100*time.Millisecond)),
	)
	handler := policyhttp.Handler(mux, front)

	for range 21 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusOK {
			fmt.Println(w.Code, w.Header().Get("Retry-After") != "", strings.TrimSpace(w.Body.String()))
		}
	}
	fmt.Println(front.Report().Calls.Succeeded, "served")
	// Output:
	// 429 true Too Many Requests
	// 20 served
}

// An adaptive bulkhead finds out by itself how much the service can take. At the stage of shedding it stands before
// everything else.
func ExampleHandler_adaptive() {
	front := resilience.Compose(
		policy.At(policy.StageShed, bulkhead.Adaptive(bulkhead.AIMD(50*time.Millisecond), 10, 500)),
	)
	fmt.Println(front)
	// Output: bulkhead aimd 10 to 500
}

// forwarded returns the client that a proxy of ours has seen: the last address, which that proxy has
// appended. What stands before it comes from the client.
func forwarded(r *http.Request) string {
	fields := r.Header.Values("X-Forwarded-For")
	if len(fields) == 0 {
		return ""
	}
	list := fields[len(fields)-1]
	last := strings.TrimSpace(list[strings.LastIndex(list, ",")+1:])
	return policyhttp.RemoteAddr(&http.Request{RemoteAddr: last})
}

func ExampleKeyBy() {
	front := resilience.Compose(ratelimit.NewPerKey(10, 20, policyhttp.Key))
	handler := policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, policyhttp.Key(r.Context()))
	}), front, policyhttp.KeyBy(forwarded))

	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Add("X-Forwarded-For", "203.0.113.9, 2001:db8::5")
	handler.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: 2001:db8::/64
}

func ExampleRefuseWith() {
	refuse := func(w http.ResponseWriter, r *http.Request, refusal policyhttp.Refusal) {
		slog.DebugContext(r.Context(), "refused", "path", r.URL.Path, "error", refusal.Err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(refusal.Status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": "please come back later", "seconds": refusal.RetryAfter.Seconds()})
	}
	front := resilience.Compose(ratelimit.Per(1, time.Hour, 1))
	handler := policyhttp.Handler(http.NotFoundHandler(), front, policyhttp.RefuseWith(refuse))
	for range 2 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code, w.Header().Get("Content-Type"))
	}
	// Output:
	// 404 text/plain; charset=utf-8
	// 429 application/json
}

func ExampleReadiness() {
	ledger := breaker.New(breaker.Name("ledger"))
	backend := resilience.Compose(ledger)

	mux := http.NewServeMux()
	ready := policyhttp.Readiness(policyhttp.Needs(backend, "ledger"))
	mux.Handle("/readyz", ready) // not behind the front door

	ask := func() int {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code
	}
	fmt.Println(ask())
	ledger.Trip()
	fmt.Println(ask())
	ledger.Reset()
	ready.Drain() // before server.Shutdown
	fmt.Println(ask())
	// Output:
	// 200
	// 503
	// 503
}
