package policyhttp_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
)

// TestA9_AnAnswerIsReadableAlthoughAnotherAttemptFailedLater: also if it is longer than what is read in advance.
func TestA9_AnAnswerIsReadableAlthoughAnotherAttemptFailedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := bytes.Repeat([]byte("busy "), 100<<10)
		n := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(15 * time.Millisecond)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(page)
		})
		slots := bulkhead.New(2)
		base := tripper(func(r *http.Request) (*http.Response, error) {
			if hedge.Attempt(r.Context()) == 1 {
				return n.base.RoundTrip(r)
			}
			time.Sleep(time.Second)
			return nil, errors.New("connection refused")
		})
		response, err := transport(base, hedged(), slots).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		require.Equal(t, string(page), read(t, response))
		require.Zero(t, slots.Snapshot().InFlight)
		n.close()
	})
}
