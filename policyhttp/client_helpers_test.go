package policyhttp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
)

// whole says that tests which take long run whole.
var whole = testsize.Whole()

// tripper is a function that is a base transport.
type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// atOnce is a retry without delays and without a budget.
func atOnce(attempts int, opts ...retry.Option) *retry.Retrier {
	return retry.New(append([]retry.Option{retry.Attempts(attempts), retry.Constant(0), retry.NoBudget()}, opts...)...)
}

// body is a body that counts what is done with it.
type body struct {
	io.Reader
	closes atomic.Int64
}

func newBody(text string) *body { return &body{Reader: strings.NewReader(text)} }

func (b *body) Close() error {
	b.closes.Add(1)
	return nil
}

// answer returns a response.
func answer(status int, b io.ReadCloser, header ...string) *http.Response {
	r := &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: b, ContentLength: -1,
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// script answers with one status after the other, the last one for ever, and keeps the bodies.
type script struct {
	mu       sync.Mutex
	statuses []int
	header   []string
	requests []*http.Request
	received []string // bodies
	bodies   []*body
}

func newScript(statuses ...int) *script { return &script{statuses: statuses} }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	received := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		received = string(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.statuses[min(len(s.requests), len(s.statuses)-1)]
	s.requests = append(s.requests, r)
	s.received = append(s.received, received)
	b := newBody("answer " + http.StatusText(status))
	s.bodies = append(s.bodies, b)
	return answer(status, b, s.header...), nil
}

func (s *script) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// request returns a request, with a body if there is one.
func request(t testing.TB, method, url string, b io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, b)
	require.NoError(t, err)
	return r
}

func read(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	return string(b)
}

// transport returns a Transport over base with a pipeline of layers.
func transport(base http.RoundTripper, layers ...policy.Layer) *policyhttp.Transport {
	return policyhttp.NewTransport(base, resilience.Compose(layers...))
}

// once is a reader that is nothing else: http.NewRequest finds no GetBody for it.
type once struct{ io.Reader }

// network is a server and the client's transport to it over pipes, inside a bubble of virtual time.
type network struct {
	listener *pipeListener
	server   *http.Server
	base     *http.Transport
	dials    atomic.Int64
}

// serve starts a server. It must be called inside a synctest bubble, and be closed there.
func serve(t *testing.T, handler http.HandlerFunc) *network {
	n := &network{listener: newPipeListener(), server: &http.Server{Handler: handler}}
	n.base = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		n.dials.Add(1)
		return n.listener.dial(ctx)
	}}
	go func() { _ = n.server.Serve(n.listener) }()

	return n
}

func (n *network) close() {
	for range 2 { // a connection that was dialled and not needed becomes idle a little later
		n.base.CloseIdleConnections()
		_ = n.server.Close()
		time.Sleep(time.Hour) // handlers that sleep end
	}
}

// pipeListener is a listener whose connections are pipes.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
