package policyhttp_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// canned answers at once, and allocates nothing.
var canned = tripper(func(r *http.Request) (*http.Response, error) {
	cannedResponse.Body = http.NoBody
	return cannedResponse, nil
})

var cannedResponse = &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}

func BenchmarkRoundTrip(b *testing.B) {
	guards := []policy.Layer{retry.New(), breaker.New(), bulkhead.New(10)}
	limits := []policy.Layer{timeout.Total(time.Minute), timeout.PerAttempt(time.Second)}
	for name, tr := range map[string]http.RoundTripper{
		"bare":     canned,
		"guards":   transport(canned, guards...),
		"limits":   transport(canned, append(limits, guards...)...),
		"standard": policyhttp.NewTransport(canned, policyhttp.Standard("users")),
	} {
		b.Run(name, func(b *testing.B) {
			r := request(b, "GET", "http://example.com/", nil)
			b.ReportAllocs()
			for b.Loop() {
				response, err := tr.RoundTrip(r)
				if err != nil || response.StatusCode != 200 {
					b.Fatal(response, err)
				}
				_ = response.Body.Close()
			}
		})
	}
}

func BenchmarkOpenAlone(b *testing.B) {
	p := resilience.Compose(retry.New(), breaker.New(), bulkhead.New(10))
	op := func(context.Context) (*http.Response, error) { return cannedResponse, nil }
	b.ReportAllocs()
	ctx := b.Context()
	for b.Loop() {
		_, permit, _ := resilience.Open(ctx, p, op)
		permit.Done(nil)
	}
}

func BenchmarkContextsByHand(b *testing.B) {
	r := request(b, "GET", "http://example.com/", nil)
	b.ReportAllocs()
	for b.Loop() {
		total, end := context.WithTimeout(r.Context(), time.Minute)
		attempt, cancel := context.WithTimeout(total, time.Second)
		r := r.WithContext(attempt)
		_ = r
		cancel()
		end()
	}
}
