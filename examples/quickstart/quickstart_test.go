package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// short is the whole experiment in little: real servers and real connections, so real time, but not much of it.
var short = []phase{
	{name: "healthy", lasts: 100 * time.Millisecond},
	{name: "fails", lasts: 200 * time.Millisecond, failing: 0.3},
	{name: "dead", lasts: 300 * time.Millisecond, dead: true},
	{name: "slow", lasts: 100 * time.Millisecond, work: 100 * time.Millisecond},
	{name: "healthy again", lasts: 100 * time.Millisecond},
}

// dead lasts until a test has seen what it waits for.
var dead = []phase{{name: "dead", lasts: time.Hour, dead: true}}

// TestLedger checks that every call, attempt and request is accounted for. It asserts no timing.
func TestLedger(t *testing.T) {
	t.Parallel()
	const interval = 20 * time.Millisecond // a busy machine must keep up with it
	var out strings.Builder
	e, err := newExperiment(&out, short)
	require.NoError(t, err)
	defer e.stop()
	e.send(t.Context(), interval, 50*time.Millisecond)

	planned := 0
	for index, phase := range short {
		calls := int(phase.lasts / interval)
		planned += calls
		for _, arm := range e.arms() {
			require.Len(t, arm.callsOf(index), calls, "%s: calls in phase %q", arm.name, phase.name)
		}
	}
	for _, arm := range e.arms() {
		require.Len(t, arm.ended(), planned, arm.name)
		succeeded := successes(arm.ended())
		require.Positive(t, succeeded, arm.name)
		require.GreaterOrEqual(t, int(arm.server.requestsOf(wholeRun)), succeeded, "%s: successes without a request", arm.name)
	}

	// The loop makes at least one attempt for each call, and at most as many as it may.
	made := int(e.loop.client.attempts.Load())
	require.GreaterOrEqual(t, made, planned)
	require.LessOrEqual(t, made, planned*attempts)

	// What the pipeline says of itself is what its client and its server have seen.
	require.Equal(t, planned, e.heard.calls, "every call is heard of once")
	require.Equal(t, int(e.pipeline.client.attempts.Load()), e.heard.attempts, "every attempt is heard of once")
}

// TestADeadServer: the loop keeps trying; the pipeline stops, and says so.
func TestADeadServer(t *testing.T) {
	t.Parallel()
	said := &lines{found: make(chan string, 1)}
	e, err := newExperiment(said, dead)
	require.NoError(t, err)
	defer e.stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sending sync.WaitGroup
	sending.Go(func() { e.send(ctx, 20*time.Millisecond, 100*time.Millisecond) })
	for _, want := range []string{"closed -> open", "rejected: ", "retries not made: "} {
		for !strings.Contains(said.String(), want) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	cancel()
	sending.Wait()

	calls := len(e.loop.ended())
	require.Equal(t, calls*attempts, int(e.loop.client.attempts.Load()), "the loop makes every try")
	require.Less(t, int(e.pipeline.client.attempts.Load()), calls*attempts, "an open breaker keeps attempts away")
	require.Zero(t, successes(e.loop.ended())+successes(e.pipeline.ended()))
}

func TestRunPrintsATable(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, short[:1], 10*time.Millisecond, time.Second))
	for _, want := range []string{"successes: loop", "requests that reached the server: loop", "median latency of a call: loop", "time asleep or queued, all calls: loop", "whole run"} {
		require.Contains(t, out.String(), want)
	}
}

func TestServer(t *testing.T) {
	tests := []struct {
		phase  phase
		path   string
		status int // 0: no answer
	}{
		{phase{name: "healthy"}, "/users/1", http.StatusOK},
		{phase{name: "missing"}, "/missing/1", http.StatusNotFound},
		{phase{name: "failing", failing: 1}, "/users/1", http.StatusServiceUnavailable},
		{phase{name: "slow", work: 10 * time.Millisecond}, "/users/1", http.StatusOK},
		{phase{name: "too slow", work: 200 * time.Millisecond}, "/users/1", 0},
		{phase{name: "dead", dead: true}, "/users/1", 0},
	}
	for _, test := range tests {
		t.Run(test.phase.name, func(t *testing.T) {
			s, err := startServer([]phase{test.phase})
			require.NoError(t, err)
			defer s.stop()
			c := newClient(s.url, 50*time.Millisecond)
			if test.phase.name != "too slow" {
				c.http.Timeout = 0
			}
			defer c.http.CloseIdleConnections()
			r, err := c.get(context.Background(), test.path)
			for s.requestsOf(wholeRun) == 0 { // on a busy machine a client may give up before it is there
				r, err = c.get(context.Background(), test.path)
			}
			require.Equal(t, int64(1), s.requestsOf(wholeRun))
			require.Equal(t, test.status == 0 || test.status >= 500, err != nil)
			if test.status > 0 {
				require.Equal(t, test.status, r.status)
			}
		})
	}
}

// TestDeath: a dead server resets the requests that it is working on as well as new connections, and can come back.
func TestDeath(t *testing.T) {
	s, err := startServer([]phase{{name: "slow", work: 200 * time.Millisecond}, {name: "dead", dead: true}, {name: "healthy"}})
	require.NoError(t, err)
	defer s.stop()
	c := newClient(s.url, 0)
	defer c.http.CloseIdleConnections()

	err = nil
	for n := int64(0); n < 20 && err == nil; n++ { // on a busy machine the request may end before the death comes
		s.enter(0)
		inFlight := make(chan error)
		go func() {
			_, err := c.get(context.Background(), "/users/1")
			inFlight <- err
		}()
		for s.requestsOf(0) <= n {
			time.Sleep(time.Millisecond)
		}
		s.enter(1)
		err = <-inFlight
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = c.get(context.Background(), "/users/1")
	if !errors.Is(err, syscall.EPIPE) { // what a write finds when the reset has come before it
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	s.enter(2)
	_, err = c.get(context.Background(), "/users/1")
	require.NoError(t, err)
}

// TestAliveConnectionsAreReused: bodies are read and closed, so one connection is enough for one caller.
func TestAliveConnectionsAreReused(t *testing.T) {
	s, err := startServer([]phase{{name: "failing", failing: 0.5}})
	require.NoError(t, err)
	defer s.stop()
	c := newClient(s.url, 0)
	defer c.http.CloseIdleConnections()
	for range 20 {
		r, err := c.get(context.Background(), "/users/1")
		require.NotNil(t, r, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.connections, 1)
}

// TestPage: the page shows both ways to call while the traffic runs, and ends with it.
func TestPage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	said := &lines{found: make(chan string, 1)}
	done := make(chan error)
	go func() { done <- runWithPage(ctx, said, dead, 10*time.Millisecond, time.Second) }()
	address := <-said.found
	page := ""
	for !strings.Contains(page, "Calls to “pipeline” are refused.") {
		time.Sleep(20 * time.Millisecond)
		page = read(t, address)
	}
	require.Contains(t, page, "loop by hand")
	cancel()
	require.NoError(t, <-done)
	_, err := http.Get(address)
	require.Error(t, err, "it is closed")
}

func read(t *testing.T, address string) string {
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Get(address)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

// lines finds the address of the page among what is printed.
type lines struct {
	mu    sync.Mutex
	text  string
	found chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	if address := regexp.MustCompile(`http://127[^ \n]+/\n`).FindString(l.text); address != "" {
		select {
		case l.found <- strings.TrimSpace(address):
		default:
		}
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}
