package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// observed is a run that a test looks at.
type observed struct {
	url    string // of the server for those who look
	client *http.Client
	out    *lines
	cancel context.CancelFunc
	done   chan error
}

// begin starts a run and waits for its address.
func begin(t *testing.T, s settings) *observed {
	ctx, cancel := context.WithCancel(t.Context())
	s.listen = "127.0.0.1:0"
	if s.listener == nil {
		s.listener = listenTCP
	}
	o := &observed{
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		out:    &lines{}, cancel: cancel, done: make(chan error, 1),
	}
	go func() { o.done <- run(ctx, o.out, s) }()
	o.until(t, "the address is printed", func() bool {
		o.url = strings.TrimSuffix(regexp.MustCompile(`http://127[^ ]+/status `).FindString(o.out.String()), "/status ")
		return o.url != ""
	})
	return o
}

// until waits for something to be so, at most until the run ends.
func (o *observed) until(t *testing.T, what string, so func() bool) {
	for !so() {
		select {
		case err := <-o.done:
			t.Fatalf("the run has ended (%v) before: %s\n%s", err, what, o.out)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end ends the run and returns what it has printed.
func (o *observed) end(t *testing.T) string {
	o.cancel()
	require.NoError(t, <-o.done)
	_, err := o.client.Get(o.url)
	require.Error(t, err, "it is closed")
	return o.out.String()
}

func (o *observed) read(t *testing.T, path string) string {
	response, err := o.client.Get(o.url + path)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	return string(body)
}

// lines is what a run prints.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
