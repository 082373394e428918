package policyhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// The frames of HTTP/2 that are needed here, RFC 9113.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0x0, 0x1, 0x3, 0x4, 0x7

	flagEndStream, flagAck, flagEndHeaders = 0x1, 0x1, 0x4

	internalError, refusedStream = 0x2, 0x7
)

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload ...byte) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	frame = append(frame, flags)
	frame = binary.BigEndian.AppendUint32(frame, stream)
	_, _ = w.Write(append(frame, payload...))
}

// queued is a connection whose writes wait for no reader, and keep their order.
type queued struct {
	net.Conn
	mu     sync.Mutex
	closed bool
	writes chan []byte
}

func queue(conn net.Conn) *queued {
	q := &queued{Conn: conn, writes: make(chan []byte, 64)}
	go func() {
		defer conn.Close()
		for frame := range q.writes {
			if _, err := conn.Write(frame); err != nil {
				for range q.writes { // until it is closed
				}
			}
		}
	}()
	return q
}

func (q *queued) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, net.ErrClosed
	}
	q.writes <- bytes.Clone(p)
	return len(p), nil
}

// Close closes the connection when everything is written.
func (q *queued) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.writes)
	}
	return nil
}

// serveFrames speaks HTTP/2 on conn, as far as is needed, and calls request for each stream that ends.
func serveFrames(conn net.Conn, request func(stream uint32)) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	if _, err := r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	writeFrame(conn, frameSettings, 0, 0)
	for {
		header := make([]byte, 9)
		if _, err := io.ReadFull(r, header); err != nil {
			return
		}
		length := int(header[0])<<16 | int(header[1])<<8 | int(header[2])
		if _, err := r.Discard(length); err != nil {
			return
		}
		kind, flags, stream := header[3], header[4], binary.BigEndian.Uint32(header[5:])
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			writeFrame(conn, frameSettings, flagAck, 0)
		case (kind == frameHeaders || kind == frameData) && flags&flagEndStream != 0:
			request(stream)
		}
	}
}

// TestUH9_HTTP2 sends requests to a server that refuses the first of them in some way, and answers 200 to the rest.
func TestUH9_HTTP2(t *testing.T) {
	reset := func(code byte) func(net.Conn, uint32) {
		return func(conn net.Conn, stream uint32) { writeFrame(conn, frameReset, 0, stream, 0, 0, 0, code) }
	}
	goAway := func(last byte) func(net.Conn, uint32) {
		return func(conn net.Conn, _ uint32) {
			writeFrame(conn, frameGoAway, 0, 0, 0, 0, 0, last, 0, 0, 0, 0)
			_ = conn.Close()
		}
	}
	for name, c := range map[string]struct {
		refuse    func(net.Conn, uint32)
		post, get int // how often each is sent
	}{
		"REFUSED_STREAM":                         {reset(refusedStream), 2, 2},
		"GOAWAY before the request":              {goAway(0), 2, 2},
		"INTERNAL_ERROR":                         {reset(internalError), 1, 2},
		"GOAWAY after the request, and then cut": {goAway(1), 1, 2},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					requests := 0
					var conns []net.Conn
					defer func() {
						for _, conn := range conns {
							_ = conn.Close()
						}
						time.Sleep(time.Minute)
					}()
					base := &http.Transport{Protocols: new(http.Protocols)}
					base.Protocols.SetUnencryptedHTTP2(true)
					base.DialContext = func(context.Context, string, string) (net.Conn, error) {
						client, pipe := net.Pipe()
						server := queue(pipe)
						conns = append(conns, client)
						go serveFrames(server, func(stream uint32) {
							if requests++; requests == 1 {
								c.refuse(server, stream)
								return
							}
							const status200 = 0x88 // in the static table of HPACK
							writeFrame(server, frameHeaders, flagEndHeaders|flagEndStream, stream, status200)
						})
						return client, nil
					}
					want := c.get
					r := request(t, method, "http://example.com/", nil)
					if method == "POST" {
						want = c.post
						r = request(t, method, "http://example.com/", strings.NewReader("order"))
					}
					response, err := transport(base, atOnce(3)).RoundTrip(r)
					require.Equal(t, want > 1, err == nil, "%v", err)
					if err == nil {
						require.Equal(t, "HTTP/2.0", response.Proto)
						read(t, response)
					} else {
						call, _ := policyhttp.Info(nil, err)
						require.ErrorIs(t, call.Reason, policyhttp.ErrNotIdempotent)
					}
					require.Equal(t, want, requests)
				})
			})
		}
	}
}

func TestUH9_AStreamThatIsAlwaysRefusedWasNeverSent(t *testing.T) {
	// What net/http says after it has tried several times itself, as its own test of As makes it.
	attempts := 0
	base := tripper(func(*http.Request) (*http.Response, error) {
		attempts++
		return nil, fmt.Errorf("http2: %w", StreamError{StreamID: 1, Code: refusedStream})
	})
	_, err := transport(base, atOnce(3)).RoundTrip(request(t, "POST", "http://example.com/", strings.NewReader("order")))
	require.Error(t, err)
	require.Equal(t, 3, attempts)
}

// StreamError is as that of net/http: errors.As copies it to any struct with the same fields.
type StreamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e StreamError) Error() string { return "stream refused" }

func (e StreamError) As(target any) bool {
	return policyhttp.CopyStreamError(target, e.StreamID, e.Code, e.Cause)
}

func TestUH9_APOSTIsTriedAgainWhenNothingWasSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer server.Close()
	for name, dialError := range map[string]error{
		"connection refused": &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")},
		"no such host":       &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", IsNotFound: true}},
		"anything":           errors.New("no way there"),
	} {
		t.Run(name, func(t *testing.T) {
			dials := 0
			base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials++; dials < 3 {
					return nil, dialError
				}
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}}
			defer base.CloseIdleConnections()
			for what, b := range map[string]io.Reader{"replayable": strings.NewReader("order"), "stream": once{strings.NewReader("order")}} {
				dials = 0
				response, err := transport(base, atOnce(3)).RoundTrip(request(t, "POST", server.URL, b))
				require.NoError(t, err, what)
				require.Equal(t, "order", read(t, response))
				base.CloseIdleConnections()
			}
		})
	}
}

func TestUH9_APOSTThatTimesOutInTheQueueForAConnectionWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		requests := 0
		n := serve(t, func(http.ResponseWriter, *http.Request) { requests++ })
		dial := n.base.DialContext
		n.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dial(ctx, network, address)
		}
		tr := transport(n.base, atOnce(3), timeout.PerAttempt(time.Second))
		response, err := tr.RoundTrip(request(t, "POST", "http://example.com/", strings.NewReader("order")))
		require.NoError(t, err)
		read(t, response)
		require.Equal(t, 1, requests)
		n.close()
	})
}

func TestAPOSTThatMayHaveArrivedIsSentOnce(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter, *http.Request){
		"reset":   func(w http.ResponseWriter, _ *http.Request) { reset(w) },
		"timeout": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				n := serve(t, func(w http.ResponseWriter, r *http.Request) {
					requests++
					_, _ = io.Copy(io.Discard, r.Body)
					fail(w, r)
				})
				slots := bulkhead.New(1)
				tr := transport(n.base, atOnce(3), slots, timeout.PerAttempt(time.Second))
				_, err := tr.RoundTrip(request(t, "POST", "http://example.com/", strings.NewReader("order")))
				require.Error(t, err)
				require.Equal(t, 1, requests)
				call, _ := policyhttp.Info(nil, err)
				require.ErrorIs(t, call.Reason, policyhttp.ErrNotIdempotent)
				require.Equal(t, "http.not_idempotent", call.Code())
				n.close()
			})
		})
	}
}

// TestABaseThatTellsNothing is not believed to have sent nothing.
func TestABaseThatTellsNothing(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{io.ErrUnexpectedEOF, 1},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, 1},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, 3},
		{retry.NotSent(errors.New("said so")), 3},
	} {
		attempts := 0
		base := tripper(func(*http.Request) (*http.Response, error) {
			attempts++
			return nil, c.err
		})
		_, err := transport(base, atOnce(3)).RoundTrip(request(t, "POST", "http://example.com/", nil))
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.want, attempts, "%v", c.err)
	}
}
