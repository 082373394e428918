package policyhttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

// What docs/testing.md shows of a test in virtual time.

type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	return w.Result(), nil
}

func TestAnOutageOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, began := 0, time.Now()
		server := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			if time.Since(began) < time.Minute {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		client := &http.Client{Transport: policyhttp.NewTransport(handlerTransport{server}, policyhttp.Standard("users"))}
		answered := 0
		for range 180 { // one a second
			response, err := client.Get("http://users.internal/")
			if err == nil {
				if response.StatusCode == http.StatusOK {
					answered++
				}
				_ = response.Body.Close()
			}
			time.Sleep(time.Second)
		}
		require.Less(t, requests, 180, "the server was spared")
		require.Greater(t, answered, 110, "and found again")
	})
}

// A breaker made to be observed is the one of the preset otherwise.
func TestStandardBreaker(t *testing.T) {
	own := policyhttp.StandardBreaker("users", breaker.OnChange(func(breaker.Change) {}))
	preset, replaced := policyhttp.Standard("users"), policyhttp.Standard("users", own)
	require.Equal(t, preset.String(), replaced.String())
	require.Equal(t, append(settingsOf(t, preset), policy.Setting{Name: "OnChange", Code: true}), settingsOf(t, replaced))
	require.Contains(t, replaced.Layers(), policy.Layer(own))
}

func settingsOf(t *testing.T, p *resilience.Pipeline) []policy.Setting {
	t.Helper()
	for _, layer := range p.Report().Layers {
		if layer.Kind == "breaker" {
			return layer.Settings
		}
	}
	t.Fatal("no breaker")
	return nil
}
