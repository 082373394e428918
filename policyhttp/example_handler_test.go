package policyhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/policyslog"
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

// An adaptive bulkhead finds out by itself how much the service can take.
func ExampleHandler_adaptive() {
	front := resilience.Compose(
		bulkhead.Adaptive(bulkhead.AIMD(50*time.Millisecond), 10, 500),
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

// A client over its quota is refused by its own limit, and takes nothing of what all share.
func ExampleHandler_limitForAll() {
	clients := ratelimit.NewPerKey(10, 20, policyhttp.Key, ratelimit.Name("client"))
	all := ratelimit.New(500, 100, ratelimit.Name("server"))
	front := resilience.Compose(clients, all, bulkhead.New(64)) // in this order

	refuse := func(w http.ResponseWriter, _ *http.Request, refusal policyhttp.Refusal) {
		status := refusal.Status
		if rejection, ok := errors.AsType[*policy.Rejection](refusal.Err); ok && rejection.Name == "server" {
			status = http.StatusServiceUnavailable // the client has done nothing wrong
		}
		http.Error(w, http.StatusText(status), status)
	}
	handler := policyhttp.Handler(http.NotFoundHandler(), front, policyhttp.RefuseWith(refuse))

	codes := map[int]int{}
	for range 1000 { // a greedy client
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		codes[w.Code]++
	}
	for i := range 2000 { // as many clients
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1234", i/250, i%250)
		handler.ServeHTTP(w, r)
		codes[w.Code]++
	}
	fmt.Println(codes[http.StatusTooManyRequests] > 900, "that the greedy client got 429")
	fmt.Println(codes[http.StatusServiceUnavailable] > 0, "that of too many clients some got 503")
	// Output:
	// true that the greedy client got 429
	// true that of too many clients some got 503
}

func ExampleOnRefusal() {
	front := resilience.Compose(ratelimit.Per(1, time.Hour, 1, ratelimit.Name("all")))
	logged := policyhttp.OnRefusal(func(r *http.Request, refusal policyhttp.Refusal) {
		slog.InfoContext(r.Context(), "refused", "client", policyhttp.Key(r.Context()),
			"path", r.URL.Path, "code", refusal.Code, "status", refusal.Status)
	})
	handler := policyhttp.Handler(http.NotFoundHandler(), front, logged)
	for range 2 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code)
	}
	// Output:
	// 404
	// 429
}

// The front door as it stands in a file, which is changed while the server runs.
func ExampleHandler_file() {
	mux := http.NewServeMux()
	set, err := policyconfig.Load([]byte(`{"pipelines": {"front": {"layers": [
		{"kind": "ratelimit", "name": "client", "perSecond": 10, "burst": 20,
			"perKey": {"key": "client", "keys": 100000}},
		{"kind": "bulkhead", "limit": 64, "queue": {"length": 64, "wait": "100ms"}}]}}}`), policyconfig.Registry{
		Keys: map[string]func(context.Context) string{"client": policyhttp.Key},
		Check: map[string]func(*resilience.Pipeline) error{
			"front": func(p *resilience.Pipeline) error { return policyhttp.ValidateHandler(mux, p) },
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := policyhttp.Handler(mux, set.Pipeline("front")) // follows every change

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, set.Pipeline("front"))
	// Output: 404 rate limit per key "client" 10/s burst 20 > bulkhead 64+64
}

// shutdown is the end of a server in a cluster. watching ends with the loop of policyconfig's Watch, which
// stopWatching ends.
func shutdown(server *http.Server, ready *policyhttp.Ready, stopWatching func(), watching *sync.WaitGroup, log *policyslog.Log) error {
	ready.Drain()                // the balancer is told,
	time.Sleep(10 * time.Second) // asks, and sends no more
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := server.Shutdown(ctx) // what is queued and in flight ends
	stopWatching()
	watching.Wait()
	log.Flush() // last: the refusals of the last second
	return err
}

var _ = shutdown

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
