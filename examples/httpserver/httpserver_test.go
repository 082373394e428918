package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every request is answered, or given up by its customer, and the pipeline's own count agrees. No timing is asserted.
func TestLedger(t *testing.T) {
	server, err := start(true)
	require.NoError(t, err)
	r := send(server.url, phase{lasts: 300 * time.Millisecond, ordinary: capacity, greedy: 2 * capacity})
	require.NoError(t, server.stop())
	calls := server.front.Report().Calls
	var served, refused int
	for _, tally := range []*tally{&r.ordinary, &r.greedy} {
		require.Equal(t, tally.sent, tally.served+tally.late+tally.limited+tally.shed)
		require.Zero(t, tally.other)
		served += tally.served
		refused += tally.limited + tally.shed
	}
	require.Equal(t, int(0.3*float64(capacity)), r.ordinary.sent)
	require.Equal(t, int(0.3*2*float64(capacity)), r.greedy.sent)
	require.GreaterOrEqual(t, int(calls.Succeeded), served)
	require.GreaterOrEqual(t, int(calls.Rejected), refused)
	require.GreaterOrEqual(t, r.ordinary.sent+r.greedy.sent,
		int(calls.Succeeded+calls.Rejected+calls.Canceled+calls.Failed+calls.Expected))
}

func TestAnswers(t *testing.T) {
	server, err := start(true)
	require.NoError(t, err)
	defer func() { require.NoError(t, server.stop()) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	get := func(path string) (response *http.Response, body string) { // with more patience than a customer has
		response, err := (&http.Client{Transport: transport}).Get(server.url + path)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response, string(text)
	}
	response, body := get("/")
	require.Equal(t, "done\n", body)
	require.Equal(t, `"customer";q=20;w=1`, response.Header.Get("RateLimit-Policy"))
	response, _ = get("/readyz")
	require.Equal(t, http.StatusOK, response.StatusCode)
	server.ready.Drain()
	response, _ = get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
}

func TestRunPrintsATable(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, []phase{{name: "little", lasts: 50 * time.Millisecond, ordinary: 100, greedy: 100}}))
	for _, want := range []string{"without a front door", "with a front door: ", "rate limit per key", "little", "the greedy one"} {
		require.Contains(t, out.String(), want)
	}
}
