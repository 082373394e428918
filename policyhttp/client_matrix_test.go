package policyhttp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// slowReader gives a byte a second.
type slowReader struct{ io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.Reader.Read(p[:1])
}

// counted counts how often bodies are closed.
type counted struct {
	mu     sync.Mutex
	opened []*body
}

func (c *counted) track(b *body) *body {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, b)
	return b
}

func (c *counted) check(t *testing.T, what string, exactly bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range c.opened {
		if n := b.closes.Load(); exactly && n != 1 || n == 0 {
			t.Errorf("%s %d of %d was closed %d times", what, i+1, len(c.opened), n)
		}
	}
}

// watching is a base transport that notes what becomes of the bodies of responses.
type watching struct {
	http.RoundTripper
	counted
}

func (w *watching) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.RoundTripper.RoundTrip(r)
	if err == nil && response.Body != http.NoBody {
		inner := response.Body
		b := &closingBody{ReadCloser: inner, body: &body{}}
		w.track(b.body)
		response.Body = b
	}
	return response, err
}

type closingBody struct {
	io.ReadCloser
	body *body
}

func (c *closingBody) Close() error {
	_ = c.body.Close()
	return c.ReadCloser.Close()
}

// TestMatrix is every kind of body with every outcome and every way to leave the response: the caller's body is closed once,
// so are the bodies of all responses, all slots come back, and no goroutine stays.
func TestMatrix(t *testing.T) {
	text := "0123456789"
	bodies := map[string]func(sent *counted) (io.ReadCloser, func() (io.ReadCloser, error)){
		"none": func(*counted) (io.ReadCloser, func() (io.ReadCloser, error)) { return nil, nil },
		"replayable": func(sent *counted) (io.ReadCloser, func() (io.ReadCloser, error)) {
			return sent.track(newBody(text)), func() (io.ReadCloser, error) { return sent.track(newBody(text)), nil }
		},
		"not replayable": func(sent *counted) (io.ReadCloser, func() (io.ReadCloser, error)) {
			return sent.track(&body{Reader: once{strings.NewReader(text)}}), nil
		},
		"slow": func(sent *counted) (io.ReadCloser, func() (io.ReadCloser, error)) {
			return sent.track(&body{Reader: slowReader{strings.NewReader(text)}}), nil
		},
		"failing": func(sent *counted) (io.ReadCloser, func() (io.ReadCloser, error)) {
			return sent.track(&body{Reader: io.MultiReader(strings.NewReader(text), brokenReader{})}), nil
		},
	}
	outcomes := map[string]http.HandlerFunc{
		"200": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
		},
		"503": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(503)
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
		},
		"503 before the body": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
		},
		"reset before the headers": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			reset(w)
		},
		"reset in the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", "10000")
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			reset(w)
		},
		"timeout": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(time.Minute)
		},
		"cancel": nil,
		"panic":  nil,
	}
	leave := map[string]func(response *http.Response){
		"at once": func(response *http.Response) { _ = response.Body.Close() },
		"read to the end": func(response *http.Response) {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		},
		"read and not closed": func(response *http.Response) { _, _ = io.Copy(io.Discard, response.Body) },
		"never, until the total timeout": func(response *http.Response) {
			time.Sleep(time.Hour)
			_ = response.Body.Close() // a slot that is never given back is the caller's
		},
	}
	for bodyName, makeBody := range bodies {
		for outcome, handler := range outcomes {
			for leaving, leave := range leave {
				t.Run(bodyName+"/"+outcome+"/"+leaving, func(t *testing.T) {
					for _, options := range [][]policyhttp.Option{nil, {policyhttp.Buffer(64)}} {
						synctest.Test(t, func(t *testing.T) {
							ctx, cancel := context.WithCancel(t.Context())
							defer cancel()
							h := handler
							if h == nil {
								h = func(_ http.ResponseWriter, r *http.Request) { cancel(); time.Sleep(time.Second) }
							}
							n := serve(t, h)
							n.server.ErrorLog = quiet
							watched := &watching{RoundTripper: n.base}
							var base http.RoundTripper = watched
							if outcome == "panic" {
								base = tripper(func(r *http.Request) (*http.Response, error) {
									if r.Body != nil {
										_, _ = r.Body.Read(make([]byte, 1))
									}
									panic(outcome)
								})
							}
							slots := bulkhead.New(1)
							pipeline := resilience.Compose(timeout.Total(30*time.Minute), retry.New(retry.NoBudget()), breaker.New(breaker.ProbeLease(time.Minute)), slots,
								timeout.PerAttempt(20*time.Second))
							tr := policyhttp.NewTransport(base, pipeline, options...)
							sent := &counted{}
							r := request(t, "PUT", "http://example.com/", nil).WithContext(ctx)
							if b, again := makeBody(sent); b != nil {
								r.Body, r.GetBody, r.ContentLength = b, again, -1
							}
							func() {
								defer func() { require.Equal(t, outcome == "panic", recover() != nil) }()
								response, err := tr.RoundTrip(r)
								require.True(t, (err == nil) != (response == nil))
								if err == nil {
									leave(response)
									require.Zero(t, slots.Snapshot().InFlight)
								}
							}()
							require.Zero(t, slots.Snapshot().InFlight)
							time.Sleep(time.Hour)
							sent.check(t, "request body", true)
							if leaving != "read and not closed" {
								watched.check(t, "response body", false)
							}
							n.close()
						})
					}
				})
			}
		}
	}
}

// reset ends a connection at once.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
		return
	}
	panic(http.ErrAbortHandler)
}
