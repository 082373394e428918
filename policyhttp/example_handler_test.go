package policyhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

	for refused := false; !refused; {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if refused = w.Code != http.StatusOK; refused {
			fmt.Println(w.Code, w.Header().Get("Retry-After") != "", strings.TrimSpace(w.Body.String()))
		}
	}
	fmt.Println(front.Report().Calls.Succeeded >= 20, "that the burst was served")
	// Output:
	// 429 true Too Many Requests
	// true that the burst was served
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

// ourProxies are the networks of our proxies.
var ourProxies = netip.MustParsePrefix("10.0.0.0/8")

// forwarded returns the client that a proxy of ours has seen: the last address, which that proxy has
// appended. What stands before it comes from the client, and so does all of it if the request comes
// from elsewhere.
func forwarded(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	fields := r.Header.Values("X-Forwarded-For")
	if err != nil || !ourProxies.Contains(peer.Addr().Unmap()) || len(fields) == 0 {
		return "" // its remote address
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

	for _, from := range []string{"10.1.2.3:1234", "192.0.2.7:1234"} { // our proxy, and somebody else
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = from
		r.Header.Add("X-Forwarded-For", "203.0.113.9, 2001:db8::5")
		handler.ServeHTTP(w, r)
		fmt.Println(w.Body)
	}
	// Output:
	// 2001:db8::/64
	// 192.0.2.7
}

type accountKey struct{}

// accountOf returns the account whose API key a request has shown.
func accountOf(ctx context.Context) string {
	account, _ := ctx.Value(accountKey{}).(string)
	return account
}

// authenticated looks up the API key of a request. It needs a limit per address in front of it, or strangers
// try keys as fast as they like.
func authenticated(accounts map[string]string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, ok := accounts[r.Header.Get("X-Api-Key")]
		if !ok {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), accountKey{}, account)))
	})
}

// Two doors: one for addresses, which sees everybody, and inside, behind the authentication, one for accounts.
func ExampleHandler_accounts() {
	accounts := map[string]string{"key of ada": "ada", "another key of ada": "ada", "key of bob": "bob"}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })

	outer := resilience.Compose(ratelimit.NewPerKey(50, 100, policyhttp.Key, ratelimit.Name("address")))
	inner := resilience.Compose(ratelimit.NewPerKey(1.0/60, 2, accountOf, ratelimit.Name("account")))
	handler := policyhttp.Handler(authenticated(accounts, policyhttp.Handler(hello, inner)), outer)

	for _, key := range []string{"key of ada", "another key of ada", "key of ada", "key of bob", "no key"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Api-Key", key)
		handler.ServeHTTP(w, r)
		fmt.Println(key, w.Code)
	}
	// Output:
	// key of ada 200
	// another key of ada 200
	// key of ada 429
	// key of bob 200
	// no key 401
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
