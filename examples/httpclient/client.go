package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

// newClient returns a client with retries, timeouts, and a breaker for each host. It logs what it tries again, and what
// it gives up.
func newClient(base http.RoundTripper, log *slog.Logger) *http.Client {
	observer := policy.ObserveOnly(policy.ObserverFunc(func(ctx context.Context, event policy.Event) {
		log.InfoContext(ctx, "resilience", "event", event)
	}), policy.EventRetry, policy.EventStopped)
	hosts := policyhttp.PerHost(func(host string) *resilience.Pipeline {
		return policyhttp.Standard(host, resilience.Observe(observer))
	})
	return &http.Client{Transport: policyhttp.NewTransport(base, hosts)}
}

// order sends an order. The key lets the server recognise it when it comes twice, so it may be sent again.
func order(ctx context.Context, client *http.Client, url, key, item string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(item))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Idempotency-Key", key)
	return client.Do(request)
}

// download requests a file. Its body is read while it comes; until it is closed, it holds a slot of the host.
func download(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}
