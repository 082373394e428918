package policyhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// flaky answers the first request with 503.
func flaky() *httptest.Server {
	calls := 0
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
}

func ExampleNewTransport() {
	server := flaky()
	defer server.Close()
	client := &http.Client{Transport: policyhttp.NewTransport(nil, policyhttp.Standard("users"))}
	defer client.CloseIdleConnections()

	response, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	call, _ := policyhttp.Info(response, err)
	fmt.Println(response.StatusCode, "after", call.Attempts, "attempts")
	// Output: 200 after 2 attempts
}

// A reverse proxy that retries, and says whether its backend has failed or was not asked.
func ExampleNewTransport_reverseProxy() {
	server := flaky()
	defer server.Close()
	backend, _ := url.Parse(server.URL)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		// The body of a request that a server has received has no GetBody.
		Transport:    policyhttp.NewTransport(nil, policyhttp.Standard("backend"), policyhttp.Buffer(64<<10)),
		ErrorHandler: noAnswer,
	}

	recorder := httptest.NewRecorder()
	proxy.ServeHTTP(recorder, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("new")))
	fmt.Println(recorder.Code)
	// Output: 200
}

func noAnswer(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusBadGateway // what it is without an ErrorHandler
	switch {
	case errors.Is(err, policy.ErrRejected):
		status = http.StatusServiceUnavailable
		if wait, ok := policy.RetryAfter(err); ok {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		}
	case errors.Is(err, timeout.ErrTimeout):
		status = http.StatusGatewayTimeout
	}
	w.WriteHeader(status)
}

func ExampleStandard() {
	// A layer that is given takes the place of the preset's at its stage.
	users := policyhttp.Standard("users", timeout.Total(6*time.Second), retry.New(retry.Attempts(2)))
	fmt.Println(users)
	// Output: total timeout 6s > retry 2 > breaker "users" > bulkhead "users" 1000 > attempt timeout 2s
}

// A client that logs, and shows on a page what its policies do.
func ExampleStandardBreaker() {
	log := policyslog.New(slog.Default())
	defer log.Flush() // the refusals of the last second
	page := policystatus.New(policystatus.Title("checkout"))
	defer page.Close()

	users := policyhttp.Standard("users",
		policyhttp.StandardBreaker("users", breaker.OnChange(log.Change)),
		resilience.Observe(log, page),
	)
	page.Add(users)
	client := &http.Client{Transport: policyhttp.NewTransport(nil, users)}
	defer client.CloseIdleConnections()

	operators := http.NewServeMux() // on a port of its own
	operators.Handle("/debug/resilience/", page)
	fmt.Println(users.Name())
	// Output: users
}

func ExamplePerHost() {
	hosts := policyhttp.PerHost(func(host string) *resilience.Pipeline {
		if host == "slow.example" {
			return policyhttp.Standard(host, timeout.PerAttempt(20*time.Second))
		}
		return policyhttp.Standard(host)
	}, keyed.Max(1000))
	client := &http.Client{Transport: policyhttp.NewTransport(nil, hosts)}
	defer client.CloseIdleConnections()
	for host, pipeline := range hosts.All() {
		fmt.Println(host, pipeline.Report().Name)
	}
	fmt.Println(hosts.Current().Name(), "is for hosts without a place")
	// Output: * is for hosts without a place
}

func ExampleInfo() {
	dead := breaker.New(breaker.Name("users"))
	dead.ForceOpen()
	client := &http.Client{Transport: policyhttp.NewTransport(nil, resilience.Compose(retry.New(), dead))}

	response, err := client.Get("http://users.example/")
	call, _ := policyhttp.Info(response, err)
	fmt.Println(call.Attempts, call.Code(), errors.Is(err, breaker.ErrOpen))
	// Output: 0 breaker.open true
}

func ExampleIdempotent() {
	server := flaky()
	defer server.Close()
	client := &http.Client{Transport: policyhttp.NewTransport(nil, policyhttp.Standard("search"))}
	defer client.CloseIdleConnections()

	// A POST that only searches may be sent twice.
	ctx := policyhttp.Idempotent(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(`{"query": "tea"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.StatusCode)
	// Output: 200
}

func ExampleCheck() {
	server := flaky()
	defer server.Close()
	// A round trip of one's own, without a Transport.
	get := func(ctx context.Context) (*http.Response, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return nil, err
		}
		return server.Client().Do(request)
	}
	backend := resilience.Compose(
		resilience.Classify(policyhttp.Classify),
		retry.New(retry.OnDiscard(policyhttp.Discard)),
		breaker.New(),
	)
	response, permit, err := resilience.Open(context.Background(), backend, policy.Check(get, policyhttp.Check))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer permit.Done(nil)
	defer response.Body.Close()
	fmt.Println(response.StatusCode)
	// Output: 200
}

func ExampleRoute() {
	replicas := []string{"a.example", "b.example"}
	breakers := keyed.New(func(host string) *breaker.Breaker { return breaker.New(breaker.Name(host)) })
	// The second attempt goes to the second replica; so does the first while the first replica's breaker is open.
	route := policyhttp.Route(func(ctx context.Context, request *http.Request) *url.URL {
		target := *request.URL
		for i := range replicas {
			target.Host = replicas[(retry.Attempt(ctx)-1+i)%len(replicas)]
			if breakers.Get(target.Host).Ready(ctx) == nil {
				break
			}
		}
		return &target
	})
	pipeline := resilience.Compose(retry.New(), keyed.By(policyhttp.Host, breakers))
	client := &http.Client{Transport: policyhttp.NewTransport(nil, pipeline, route)}
	defer client.CloseIdleConnections()
	fmt.Println(pipeline)
	// Output: retry 3 > per key breaker
}

func ExamplePauseHost() {
	// After a 429 with a Retry-After, nobody asks that host before the time has come.
	github := policyhttp.Standard("github", policyhttp.PauseHost(time.Minute))
	fmt.Println(github)
	// Output: total timeout 30s > retry "github" 3 > breaker "github" > host pause 1m0s > bulkhead "github" 1000 > attempt timeout 10s
}

// documented is the code on the page about HTTP.
func documented(base http.RoundTripper, request *http.Request, log *slog.Logger) error {
	client := &http.Client{Transport: policyhttp.NewTransport(base, policyhttp.PerHost(
		func(host string) *resilience.Pipeline { return policyhttp.Standard(host) },
	))}

	response, err := client.Do(request)
	call, _ := policyhttp.Info(response, err)
	log.Info("answered", "call", call) // attempts, waits, why there was no further attempt
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

var _ = documented
