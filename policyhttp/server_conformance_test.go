package policyhttp_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/timeout"
)

// ordinary is what handlers do.
func ordinary(t *testing.T) http.Handler {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file.txt"), []byte(strings.Repeat("0123456789", 10_000)), 0o600))
	mux := http.NewServeMux()
	answer := func(pattern string, f func(w http.ResponseWriter, r *http.Request)) { mux.HandleFunc(pattern, f) }
	answer("/nothing", func(http.ResponseWriter, *http.Request) {})
	answer("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(w, "%s %s %d %q %q", r.Method, r.URL, r.ContentLength, r.TransferEncoding, body)
		fmt.Fprintf(w, " %q", r.Trailer)
	})
	answer("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscan(r.PathValue("code"), &code)
		w.WriteHeader(code)
	})
	answer("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/nothing", http.StatusFound) })
	answer("/cookies", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "d"})
	})
	answer("/trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Declared")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Declared", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	})
	answer("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "body")
	})
	answer("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zipped := gzip.NewWriter(w)
		_, _ = io.WriteString(zipped, "compressed")
		_ = zipped.Close()
	})
	answer("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "chunk")
			_ = http.NewResponseController(w).Flush()
		}
	})
	answer("/sniffed", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	answer("/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "body")
	})
	answer("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	answer("/limited", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 3))
		http.Error(w, fmt.Sprint(err), http.StatusRequestEntityTooLarge)
	})
	answer("/abort", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(dir))))
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "proxied "+r.URL.Path) }))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	mux.Handle("/proxied/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	return mux
}

// doors is a handler behind everything that can stand at a front door.
func doors(next http.Handler) http.Handler {
	hosts := keyed.New(func(string) *breaker.Breaker {
		return breaker.New(breaker.ConsecutiveFailures(1000), breaker.OpenFor(time.Minute))
	})
	return policyhttp.Handler(next, resilience.Compose(
		resilience.Name("front"), timeout.Total(time.Minute), timeout.PerAttempt(50*time.Second),
		keyed.By(policyhttp.Key, hosts), bulkhead.New(100),
	), policyhttp.ProblemDetails())
}

// view is what a client sees of an answer.
type view struct {
	Err              bool
	Status           int
	Proto            string
	Header, Trailer  http.Header
	ContentLength    int64
	TransferEncoding []string
	Uncompressed     bool
	Body             string
	BodyErr          bool
	Hints            []string
}

func see(t *testing.T, client *http.Client, server *httptest.Server, c exchangeCase) (s view) {
	t.Helper()
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		s.Hints = append(s.Hints, fmt.Sprint(code, header))
		return nil
	}}
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
		if c.chunked {
			body = struct{ io.Reader }{body}
		}
	}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), c.method, server.URL+c.path, body)
	require.NoError(t, err)
	for name, value := range c.header {
		request.Header.Set(name, value)
	}
	if c.chunked {
		request.Trailer = http.Header{"X-Sent": {"1"}}
	}
	response, err := client.Do(request)
	if err != nil {
		s.Err = true
		return s
	}
	text, err := io.ReadAll(response.Body)
	require.NoError(t, response.Body.Close())
	response.Header.Del("Date")
	s.Status, s.Proto, s.Header, s.Trailer = response.StatusCode, response.Proto, response.Header, response.Trailer
	s.ContentLength, s.TransferEncoding, s.Uncompressed = response.ContentLength, response.TransferEncoding, response.Uncompressed
	s.Body, s.BodyErr = string(text), err != nil
	return s
}

type exchangeCase struct {
	method, path string
	body         string
	chunked      bool
	header       map[string]string
}

// An ordinary server behaves behind a door exactly as without one while nothing is refused.
func TestAnOrdinaryServerBehindADoor(t *testing.T) {
	cases := []exchangeCase{
		{method: "GET", path: "/nothing"},
		{method: "GET", path: "/echo?a=b"},
		{method: "POST", path: "/echo", body: "hello"},
		{method: "POST", path: "/echo", body: "hello", chunked: true},
		{method: "POST", path: "/echo", body: "hello", header: map[string]string{"Expect": "100-continue"}},
		{method: "POST", path: "/nothing", body: strings.Repeat("x", 1<<20)},
		{method: "DELETE", path: "/echo"},
		{method: "OPTIONS", path: "/echo"},
		{method: "GET", path: "/redirect"},
		{method: "GET", path: "/cookies"},
		{method: "GET", path: "/trailers"},
		{method: "GET", path: "/hints"},
		{method: "GET", path: "/gzip"},
		{method: "GET", path: "/chunks"},
		{method: "GET", path: "/sniffed"},
		{method: "HEAD", path: "/sniffed"},
		{method: "HEAD", path: "/length"},
		{method: "GET", path: "/length"},
		{method: "GET", path: "/long"},
		{method: "POST", path: "/limited", body: "too long"},
		{method: "GET", path: "/abort"},
		{method: "GET", path: "/files/file.txt"},
		{method: "HEAD", path: "/files/file.txt"},
		{method: "GET", path: "/files/file.txt", header: map[string]string{"Range": "bytes=5-9"}},
		{method: "GET", path: "/files/missing"},
		{method: "GET", path: "/proxied/x"},
	}
	for _, code := range []int{200, 201, 204, 205, 301, 304, 400, 404, 429, 500, 501, 503, 599} {
		for _, method := range []string{"GET", "HEAD"} {
			cases = append(cases, exchangeCase{method: method, path: fmt.Sprintf("/status/%d", code)})
		}
	}
	next := ordinary(t)
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			start := func(h http.Handler) *httptest.Server {
				server := httptest.NewUnstartedServer(h)
				server.EnableHTTP2 = http2
				server.Config.ErrorLog = nil
				if http2 {
					server.StartTLS()
				} else {
					server.Start()
				}
				t.Cleanup(server.Close)
				server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				return server
			}
			bare, behind := start(next), start(doors(next))
			for _, c := range cases {
				want, got := see(t, bare.Client(), bare, c), see(t, behind.Client(), behind, c)
				require.Equal(t, want, got, "%s %s", c.method, c.path)
				if http2 {
					require.Equal(t, "HTTP/2.0", got.Proto)
				}
			}
		})
	}
}

// What ReverseProxy does with an upgrade works through two doors.
func TestAnUpgradeThroughAProxyBehindADoor(t *testing.T) {
	backend := httptest.NewServer(doors(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffer, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buffer.Flush()
		line, _ := buffer.ReadString('\n')
		_, _ = buffer.WriteString("echo " + line)
		_ = buffer.Flush()
	})))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	proxy := httptest.NewServer(doors(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}))
	defer proxy.Close()

	conn, err := net.Dial("tcp", proxy.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, 101, response.StatusCode)
	_, err = io.WriteString(conn, "hello\n")
	require.NoError(t, err)
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "echo hello\n", line)
}

// A client over HTTP/2 that goes away ends the context of its request, also in a queue.
func TestAClientOverHTTP2LeavesTheQueue(t *testing.T) {
	slots := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), slots))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer close(release)
	ask := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return err
		}
		response, err := server.Client().Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	go func() { _ = ask(context.WithoutCancel(t.Context())) }()
	require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 1 }, 10*time.Second, time.Millisecond)
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- ask(ctx) }()
	require.Eventually(t, func() bool { return slots.Snapshot().Waiting == 1 }, 10*time.Second, time.Millisecond)
	leave()
	require.True(t, errors.Is(<-gone, context.Canceled))
	require.Eventually(t, func() bool { return slots.Snapshot().Waiting == 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, slots.Snapshot().InFlight)
}
