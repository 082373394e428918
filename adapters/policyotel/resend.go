package policyotel

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/retry"
)

// ResendCount returns a transport that sets http.request.resend_count, as the semantic conventions say, on the span of
// a request that is sent again: 1 for the second time, 2 for the third. Put it inside the transport that makes the
// spans:
//
//	client.Transport = policyhttp.NewTransport(otelhttp.NewTransport(policyotel.ResendCount(http.DefaultTransport)), users)
//
// Extra attempts of a hedge count as well. A nil base is [http.DefaultTransport].
func ResendCount(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &resend{base}
}

type resend struct{ base http.RoundTripper }

func (r *resend) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if again := retry.Attempt(ctx) - 1 + hedge.Attempt(ctx) - 1; again > 0 {
		trace.SpanFromContext(ctx).SetAttributes(attribute.Int(attrResendCount, again))
	}
	return r.base.RoundTrip(request)
}

// CloseIdleConnections closes those of the base, if it can.
func (r *resend) CloseIdleConnections() {
	if base, ok := r.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
