package policyhttp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

// judge is a guard that remembers the outcomes that it is told, and refuses with refusal.
type judge struct {
	refusal error

	mu       sync.Mutex
	outcomes []policy.Outcome
}

func (j *judge) Stage() policy.Stage { return policy.StageBreaker }

func (j *judge) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, j.refusal
}

func (j *judge) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outcomes = append(j.outcomes, outcome)
}

// only returns the single outcome.
func (j *judge) only(t *testing.T) policy.Outcome {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	require.Len(t, j.outcomes, 1)
	return j.outcomes[0]
}

// refuse returns a pipeline that refuses everything with err.
func refuse(err error) *resilience.Pipeline {
	return resilience.Compose(&judge{refusal: err})
}

func rejection(code string) *policy.Rejection {
	return &policy.Rejection{Kind: "test", Name: "secret-name", Reason: policy.NewReason(code, "secret reason")}
}

// status returns a handler that answers with a status.
func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

// ask lets h answer a request in memory.
func ask(h http.Handler, r *http.Request) *http.Response {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result()
}

func get() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	return string(body)
}

// bubble is a server and its client over connections in memory, for a synctest bubble.
type bubble struct {
	listener *memoryListener
	server   *http.Server
	client   *http.Client
	done     chan struct{}
}

// serveBubble serves h until the test is over.
func serveBubble(t *testing.T, h http.Handler) *bubble {
	t.Helper()
	b := &bubble{
		listener: &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})},
		server:   &http.Server{Handler: h},
		done:     make(chan struct{}),
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return b.listener.dial(ctx) },
	}
	b.client = &http.Client{Transport: transport}
	go func() {
		defer close(b.done)
		_ = b.server.Serve(b.listener)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = b.server.Close()
		<-b.done
		synctest.Wait()
	})
	return b
}

type memoryListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return "pipe" }
func (memoryAddr) String() string  { return "pipe" }

var errBoom = errors.New("boom")

// front is Handler, for tests that have no name for it.
func front(next http.Handler, layers ...policy.Layer) http.Handler {
	return policyhttp.Handler(next, resilience.Compose(layers...))
}
