package main

import (
	"io"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyotel"
	"github.com/go-resilience/resilience/policyhttp"
)

// newService returns the service: it answers GET /users/{id} with what the dependency says. Every request has a span,
// which is the caller's span that events are added to.
func newService(dependency string, base http.RoundTripper, users *resilience.Pipeline, otel *telemetry) http.Handler {
	instruments := []otelhttp.Option{otelhttp.WithTracerProvider(otel.tracers), otelhttp.WithMeterProvider(otel.meters)}
	attempts := otelhttp.NewTransport(policyotel.ResendCount(base), instruments...) // a span for each attempt
	client := &http.Client{Transport: policyhttp.NewTransport(attempts, users)}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, dependency+r.URL.EscapedPath(), nil)
		if err != nil {
			http.Error(w, "no such user", http.StatusBadRequest)
			return
		}
		response, err := client.Do(request)
		if err != nil { // refused by a policy, or not answered: the observers know why
			http.Error(w, "users are not available", http.StatusServiceUnavailable)
			return
		}
		defer func() { _ = response.Body.Close() }()
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, io.LimitReader(response.Body, 1<<20))
	})
	return otelhttp.NewHandler(mux, "service", instruments...)
}

// forOperators returns the handler for operators. It has its own server, which the users of the service cannot reach.
func forOperators(o *observers) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/status", o.page)
	mux.Handle("/status/", o.page)
	mux.Handle("GET /metrics", o.prometheus)
	mux.HandleFunc("GET /otel/metrics", o.otel.serveMetrics)
	mux.HandleFunc("GET /otel/spans", o.otel.serveSpans)
	mux.Handle("GET /{$}", http.RedirectHandler("/status", http.StatusFound))
	return mux
}
