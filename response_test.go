package resilience_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/retry"
)

// unreliableServer answers its first request with 503 and the others with a greeting. The client has a single connection.
func unreliableServer() (*httptest.Server, *http.Client) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(make([]byte, 1<<20)) // more than the client reads ahead
			return
		}
		_, _ = w.Write([]byte("hello, "))
	}))
	server.Client().Transport.(*http.Transport).MaxConnsPerHost = 1
	return server, server.Client()
}

// The documented way to make an error of a response closes it: with one connection for each host, the next attempt would
// otherwise wait for ever.
func TestFault254_AFailedResponseIsClosed(t *testing.T) {
	server, client := unreliableServer()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var body strings.Builder
	require.NoError(t, download(ctx, resilience.Compose(retry.New()), get(client, server.URL), &body))
	require.Equal(t, "hello, ", body.String())
}
