package policyhttp_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestHandlerRefusesNonsense(t *testing.T) {
	fine := resilience.Compose(bulkhead.New(1))
	var noPipeline *resilience.Pipeline
	for want, make := range map[string]func() error{
		"the handler is nil":         func() error { return policyhttp.ValidateHandler(nil, fine) },
		"the pipeline is nil":        func() error { return policyhttp.ValidateHandler(status(200), nil) },
		"pipeline in force is nil":   func() error { return policyhttp.ValidateHandler(status(200), &source{}) },
		"made with Compose":          func() error { return policyhttp.ValidateHandler(status(200), &resilience.Pipeline{}) },
		"the handler is nil: a func": func() error { return policyhttp.ValidateHandler(http.HandlerFunc(nil), fine) },
		"the handler is nil: a mux":  func() error { return policyhttp.ValidateHandler((*http.ServeMux)(nil), fine) },
		"retry 3: repeats":           func() error { return policyhttp.ValidateHandler(status(200), resilience.Compose(fine, retry.New())) },
		"retry 3: repeats, and": func() error {
			return policyhttp.ValidateHandler(status(200), resilience.Compose(policy.At(policy.StageBulkhead, retry.New())))
		},
		"wraps, and a handler must not run twice": func() error {
			return policyhttp.ValidateHandler(status(200), resilience.Compose(hedge.New()))
		},
		"wraps": func() error {
			return policyhttp.ValidateHandler(status(200), resilience.Compose(timeout.Abandon(time.Second)))
		},
		"option 1 is nil":                    func() error { return policyhttp.ValidateHandler(status(200), fine, nil) },
		"KeyBy: the function is nil":         func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.KeyBy(nil)) },
		"RefuseWith: the function is nil":    func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.RefuseWith(nil)) },
		"OnRefusal: the function is nil":     func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.OnRefusal(nil)) },
		"OnConfigError: the function is nil": func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.OnConfigError(nil)) },
		"HandlerRand: the source is nil":     func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.HandlerRand(nil)) },
		"RateLimitHeaders(0)":                func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.RateLimitHeaders(0)) },
		"RateLimitHeaders(3)":                func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.RateLimitHeaders(3)) },
		"RetryAfterBounds(999ms, 1m0s)": func() error {
			return policyhttp.ValidateHandler(status(200), fine, policyhttp.RetryAfterBounds(999*time.Millisecond, time.Minute))
		},
		"RetryAfterBounds(1m0s, 1s)": func() error {
			return policyhttp.ValidateHandler(status(200), fine, policyhttp.RetryAfterBounds(time.Minute, time.Second))
		},
		`DeadlineFrom("")`:     func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.DeadlineFrom("")) },
		`CodeHeader("a\r\nb")`: func() error { return policyhttp.ValidateHandler(status(200), fine, policyhttp.CodeHeader("a\r\nb")) },
		"ProblemDetails: RefuseWith writes": func() error {
			return policyhttp.ValidateHandler(status(200), fine, policyhttp.ProblemDetails(), policyhttp.RefuseWith(func(http.ResponseWriter, *http.Request, policyhttp.Refusal) {}))
		},
	} {
		err := make()
		want, _, _ = strings.Cut(want, ": a ")
		require.ErrorContains(t, err, want)
		var config *policy.ConfigError
		require.ErrorAs(t, err, &config)
		require.Equal(t, "policyhttp.Handler", config.Policy)
	}
	require.EqualError(t, policyhttp.ValidateHandler(nil, noPipeline, policyhttp.KeyBy(nil)),
		"policyhttp.Handler: KeyBy: the function is nil; the handler is nil; the pipeline is nil", "all problems at once")
	require.NoError(t, policyhttp.ValidateHandler(status(200), fine))
	require.Panics(t, func() { policyhttp.Handler(nil, fine) })
}

// source is a source whose pipeline is replaced while it runs.
type source struct {
	pipeline atomic.Pointer[resilience.Pipeline]
}

func (s *source) Current() *resilience.Pipeline { return s.pipeline.Load() }

func TestAPipelineIsReplacedWhileTheServerRuns(t *testing.T) {
	s := &source{}
	s.pipeline.Store(resilience.Compose(bulkhead.New(1)))
	var told []error
	entered := 0
	handler := policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered++
		w.WriteHeader(500)
	}), s, policyhttp.OnConfigError(func(err error) { told = append(told, err) }),
		policyhttp.RateLimitHeaders(policyhttp.Draft10))
	require.Equal(t, 500, ask(handler, get()).StatusCode)

	limited := resilience.Compose(ratelimit.New(1, 1, ratelimit.Name("new")))
	s.pipeline.Store(limited)
	response := ask(handler, get())
	require.Equal(t, 500, response.StatusCode)
	require.Contains(t, response.Header.Get("RateLimit"), "new")
	require.Equal(t, 429, ask(handler, get()).StatusCode)
	require.Equal(t, 2, entered)

	for _, unfit := range []*resilience.Pipeline{nil, resilience.Compose(retry.New()), {}, nil} {
		told = nil
		s.pipeline.Store(unfit)
		for range 3 {
			require.Equal(t, 429, ask(handler, get()).StatusCode, "the last good one stays in force")
		}
		require.Equal(t, 2, entered, "no request is handled twice")
		require.Len(t, told, 1)
		var config *policy.ConfigError
		require.ErrorAs(t, told[0], &config)
	}

	s.pipeline.Store(resilience.Compose())
	require.Equal(t, 500, ask(handler, get()).StatusCode)
	require.Equal(t, 3, entered)
}

// The handler's request has the context of the pipeline.
func TestTheRequestHasThePipelinesContext(t *testing.T) {
	type key struct{}
	var value any
	handler := front(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { value = r.Context().Value(key{}) }),
		&judge{}, timeout.Total(time.Minute), breaker.New())
	ask(handler, get().WithContext(context.WithValue(t.Context(), key{}, 1)))
	require.Equal(t, 1, value)
}
