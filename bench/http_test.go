package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// inMemory answers every request at once.
type inMemory struct{}

func (inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// handMade is what two timeouts cost without a library: two contexts and a copy of the request.
type handMade struct{ base http.RoundTripper }

func (h handMade) RoundTrip(r *http.Request) (*http.Response, error) {
	total, endTotal := context.WithTimeout(r.Context(), totalLimit)
	attempt, end := context.WithTimeout(total, attemptLimit)
	response, err := h.base.RoundTrip(r.WithContext(attempt))
	if err != nil {
		end()
		endTotal()
		return nil, err
	}
	response.Body = &endingBody{response.Body, func() { end(); endTotal() }}
	return response, nil
}

type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// transports are round trippers over base. "guards" is a retry, a breaker and a bulkhead; "limits" adds a total timeout and
// one for each attempt. The peers retry, and where they can break and limit, do so as well.
func transports(base http.RoundTripper) map[string]http.RoundTripper {
	guards := resilience.Compose(retry.New(), breaker.New(), bulkhead.New(unlimitedSlots))
	hashicorp := retryablehttp.NewClient()
	hashicorp.HTTPClient = &http.Client{Transport: base}
	hashicorp.Logger = nil
	again := failsafehttp.NewRetryPolicyBuilder().Build()
	circuit := circuitbreaker.NewBuilder[*http.Response]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build()
	return map[string]http.RoundTripper{
		"bare":                   base,
		"limits/by-hand":         handMade{base},
		"guards/" + ours:         policyhttp.NewTransport(base, guards),
		"limits/" + ours:         policyhttp.NewTransport(base, resilience.Compose(guards, timeout.Total(totalLimit), timeout.PerAttempt(attemptLimit))),
		"retry/" + ours:          policyhttp.NewTransport(base, resilience.Compose(retry.New())),
		"retry/go-retryablehttp": &retryablehttp.RoundTripper{Client: hashicorp},
		"retry/failsafehttp":     failsafehttp.NewRoundTripper(base, again),
		"guards/failsafehttp":    failsafehttp.NewRoundTripper(base, again, circuit),
		"limits/failsafehttp":    failsafehttp.NewRoundTripperWithExecutor(base, failsafe.With(again, circuit, failsafetimeout.New[*http.Response](attemptLimit))),
	}
}

func benchmarkTransport(b *testing.B, tr http.RoundTripper, url string) {
	call := func(r *http.Request) {
		response, err := tr.RoundTrip(r)
		must(err == nil && response.StatusCode == http.StatusOK, fmt.Sprint(err))
		_, err = io.Copy(io.Discard, response.Body)
		must(err == nil, "body")
		_ = response.Body.Close()
	}
	request := func() *http.Request {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		must(err == nil, "request")
		return r
	}
	b.ReportAllocs()
	r := request()
	for b.Loop() {
		call(r)
	}
}

func BenchmarkHTTPInMemory(b *testing.B) {
	for name, tr := range transports(inMemory{}) {
		b.Run(name, func(b *testing.B) { benchmarkTransport(b, tr, "http://example.com/") })
	}
}

func BenchmarkHTTPLoopback(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	for name, tr := range transports(base) {
		b.Run(name, func(b *testing.B) { benchmarkTransport(b, tr, server.URL) })
	}
}

// BenchmarkHTTPStream reads 1 GiB. The contexts by hand are not among the subjects: the limit of their attempt cuts the body.
func BenchmarkHTTPStream(b *testing.B) {
	const size = 1 << 30
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		chunk := make([]byte, 256<<10)
		for sent := 0; sent < size; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	all := transports(base)
	for _, name := range []string{"bare", "limits/" + ours} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			benchmarkTransport(b, all[name], server.URL)
		})
	}
}
