package policyhttp_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

func TestUH12_ARefusalIs429ForTheQuotaAnd503ForOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := ratelimit.New(0.1, 1)
		_, err := policy.Acquire(t.Context(), limited)
		require.NoError(t, err)
		full := bulkhead.New(1, bulkhead.Queue(1, time.Second))
		_, err = policy.Acquire(t.Context(), full)
		require.NoError(t, err)
		open, forced := breaker.New(), breaker.New()
		open.Trip()
		forced.ForceOpen()
		drained := bulkhead.New(1)
		require.NoError(t, drained.Drain(t.Context()))

		for _, c := range []struct {
			name   string
			layer  policy.Layer
			status int
			code   string
			least  int // of Retry-After
			most   int
		}{
			{"rate limit", limited, 429, "ratelimit.limited", 10, 12},
			{"breaker", open, 503, "breaker.open", 5, 7},
			{"forced open", forced, 503, "breaker.open", 0, 0},
			{"forced open, of many", keyed.By(func(context.Context) string { return "" }, keyed.New(func(string) *breaker.Breaker { return forced })),
				503, "breaker.open", 0, 0},
			{"draining", drained, 503, "bulkhead.draining", 1, 2},
			{"throttle", &judge{refusal: rejection("throttle.throttled")}, 503, "throttle.throttled", 1, 2},
			{"of a third party", &judge{refusal: errBoom}, 503, "", 1, 2},
			{"of another limiter", &judge{refusal: rejection("ratelimit.shared")}, 429, "ratelimit.shared", 1, 2},
			{"the quota is closed", ratelimit.New(0, 1, ratelimit.CostOf(func(context.Context) int { return 2 })), 429, "ratelimit.cost", 0, 0},
			{"queue timeout", full, 503, "bulkhead.queue_timeout", 1, 2},
		} {
			entered := false
			handler := policyhttp.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered = true }),
				resilience.Compose(c.layer), policyhttp.CodeHeader("X-Refused-By"))
			response := ask(handler, get())
			require.False(t, entered)
			require.Equal(t, c.status, response.StatusCode, c.name)
			require.Equal(t, http.StatusText(c.status)+"\n", text(t, response))
			require.Equal(t, c.code, response.Header.Get("X-Refused-By"))
			require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
			if c.least == 0 {
				require.Empty(t, response.Header.Values("Retry-After"), "coming back is of no use")
				continue
			}
			seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
			require.NoError(t, err)
			require.GreaterOrEqual(t, seconds, c.least, c.name)
			require.LessOrEqual(t, seconds, c.most, c.name)
		}
	})
}

func TestAThrottleRefusesWith503(t *testing.T) {
	shed := throttle.New(throttle.Padding(1), throttle.K(1.1))
	handler := front(status(500), shed)
	for range 200 {
		response := ask(handler, get())
		if response.StatusCode == 503 {
			require.NotEmpty(t, response.Header.Get("Retry-After"))
			return
		}
	}
	t.Fatal("the throttle never refused")
}

// The first client who comes back when it was told to is admitted, whatever the moment of the refusal within a second.
func TestHS5_RetryAfterIsHonest(t *testing.T) {
	for _, early := range []time.Duration{0, 1, time.Millisecond, 500 * time.Millisecond, time.Second - 1, time.Second} {
		for name, layer := range map[string]func() policy.Layer{
			"rate limit": func() policy.Layer { return ratelimit.New(0.25, 1) },
			"breaker":    func() policy.Layer { return breaker.New(breaker.ConsecutiveFailures(1)) },
			"growing": func() policy.Layer {
				return breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(90*time.Second))
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				handler := front(status(500), layer())
				require.Equal(t, 500, ask(handler, get()).StatusCode)
				time.Sleep(early)
				response := ask(handler, get())
				require.NotEqual(t, 500, response.StatusCode, name)
				seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
				require.NoError(t, err)
				require.GreaterOrEqual(t, seconds, 1)
				time.Sleep(time.Duration(seconds) * time.Second)
				require.Equal(t, 500, ask(handler, get()).StatusCode, "%s, refused after %v, told to wait %d s", name, early, seconds)
			})
		}
	}
}

// told returns what Retry-After says to a client that is refused for wait.
func told(t *testing.T, wait time.Duration, options ...policyhttp.HandlerOption) int {
	t.Helper()
	refusal := &policy.Rejection{Kind: "test", Reason: errBoom}
	if wait != 0 {
		refusal.Until = time.Now().Add(wait)
	}
	value := ask(policyhttp.Handler(status(200), refuse(refusal), options...), get()).Header.Get("Retry-After")
	seconds, err := strconv.Atoi(value)
	require.NoError(t, err, value)
	return seconds
}

func TestRetryAfterIsBoundedAndJitteredUpwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			wait        time.Duration
			least, most int
		}{
			{0, 1, 2}, {-time.Hour, 1, 2}, {1, 1, 2}, {time.Second, 1, 2}, {time.Second + 1, 2, 3}, {3999 * time.Millisecond, 4, 5},
			{time.Minute, 60, 75}, {time.Hour, 3600, 4500}, {24 * time.Hour, 86400, 86400}, {1 << 62, 86400, 86400}, {1<<63 - 1, 86400, 86400},
		} {
			seen := map[int]bool{}
			for range 100 {
				seconds := told(t, c.wait)
				require.GreaterOrEqual(t, seconds, c.least, c.wait)
				require.LessOrEqual(t, seconds, c.most, c.wait)
				seen[seconds] = true
			}
			if c.least < c.most {
				require.Greater(t, len(seen), 1, "clients that are refused together must not come back together")
			}
		}
		require.GreaterOrEqual(t, told(t, 0, policyhttp.RetryAfterBounds(10*time.Second, time.Minute)), 10)
		require.Equal(t, 2, told(t, time.Hour, policyhttp.RetryAfterBounds(time.Second, 2*time.Second)))
		require.Equal(t, 2, told(t, time.Hour, policyhttp.RetryAfterBounds(time.Second, 1500*time.Millisecond)), "rounded up")
		same := func() policyhttp.HandlerOption { return policyhttp.HandlerRand(rand.NewPCG(1, 2)) }
		require.Equal(t, told(t, time.Hour, same()), told(t, time.Hour, same()))
	})
}

func FuzzRetryAfterOfARefusal(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(1<<63 - 1))
	f.Add(int64(-1 << 63))
	f.Add(int64(time.Second + 1))
	f.Fuzz(func(t *testing.T, wait int64) {
		hint := &hinted{time.Duration(wait)}
		response := ask(policyhttp.Handler(status(200), refuse(hint), policyhttp.RateLimitHeaders(policyhttp.Draft10)), get())
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, seconds, 1)
		require.LessOrEqual(t, seconds, 86400)
		require.GreaterOrEqual(t, time.Duration(seconds)*time.Second, min(hint.wait, 24*time.Hour), "not earlier than true")
	})
}

type hinted struct{ wait time.Duration }

func (h *hinted) Error() string                     { return "busy" }
func (h *hinted) RetryAfter() (time.Duration, bool) { return h.wait, true }
func (h *hinted) Is(target error) bool              { return target == policy.ErrRejected }
func (h *hinted) Unwrap() error                     { return nil }

// What a refusal knows is for the server's own logs.
func TestARefusalTellsNothing(t *testing.T) {
	secret := &policy.Rejection{Kind: "breaker", Name: "users-db-7", Reason: policy.NewReason("breaker.open", "dial tcp 10.0.0.7: refused")}
	for _, options := range [][]policyhttp.HandlerOption{
		nil, {policyhttp.ProblemDetails()}, {policyhttp.RateLimitHeaders(policyhttp.Draft10)},
	} {
		var answer strings.Builder
		require.NoError(t, ask(policyhttp.Handler(status(200), refuse(secret), options...), get()).Write(&answer))
		for _, word := range []string{"users-db", "10.0.0.7", "breaker", "open"} {
			require.NotContains(t, answer.String(), word)
		}
	}
}

func TestProblemDetails(t *testing.T) {
	for code, want := range map[string]string{
		"ratelimit.limited": `{"type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
			"title": "Quota Exceeded", "status": 429}`,
		"bulkhead.full": `{"type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
			"title": "Temporary Reduced Capacity", "status": 503}`,
	} {
		response := ask(policyhttp.Handler(status(200), refuse(rejection(code)), policyhttp.ProblemDetails()), get())
		require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
		require.JSONEq(t, want, text(t, response))
	}
	synctest.Test(t, func(t *testing.T) {
		late := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		response := ask(policyhttp.Handler(late, resilience.Compose(timeout.PerAttempt(time.Second)), policyhttp.ProblemDetails()), get())
		require.JSONEq(t, `{"title": "Service Unavailable", "status": 503}`, text(t, response))
	})
}

func TestRefuseWith(t *testing.T) {
	var got policyhttp.Refusal
	handler := policyhttp.Handler(status(200), refuse(rejection("bulkhead.full")),
		policyhttp.RefuseWith(func(w http.ResponseWriter, r *http.Request, refusal policyhttp.Refusal) {
			got = refusal
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(refusal.Status)
			_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "code": refusal.Code})
		}))
	response := ask(handler, get())
	require.Equal(t, 503, response.StatusCode)
	require.JSONEq(t, `{"path": "/", "code": "bulkhead.full"}`, text(t, response))
	require.Equal(t, 503, got.Status)
	require.ErrorIs(t, got.Err, policy.ErrRejected)
	require.Equal(t, strconv.Itoa(int(got.RetryAfter.Seconds())), response.Header.Get("Retry-After"))
}

// A refusal that looks like a success would be one to every client, balancer and cache.
func TestUH12_ARefusalIsNever200(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter) error{
		"nothing":   func(http.ResponseWriter) error { return nil },
		"no status": func(w http.ResponseWriter) error { _, err := io.WriteString(w, "later"); return err },
		"a flush":   func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
	} {
		var failed error
		handler := policyhttp.Handler(status(200), refuse(rejection("bulkhead.full")),
			policyhttp.RefuseWith(func(w http.ResponseWriter, _ *http.Request, _ policyhttp.Refusal) { failed = write(w) }))
		require.Equal(t, 503, ask(handler, get()).StatusCode, name)
		require.NoError(t, failed, name)
	}
	handler := policyhttp.Handler(status(200), refuse(rejection("bulkhead.full")),
		policyhttp.RefuseWith(func(w http.ResponseWriter, _ *http.Request, _ policyhttp.Refusal) { w.WriteHeader(429) }))
	require.Equal(t, 429, ask(handler, get()).StatusCode, "what it says counts")
}

// A middleware outside that compresses has set the field already, and wraps the writer; see golang/go#66343. One that
// announces a trailer has set that, too.
func TestARefusalIsCompressedByAMiddlewareOutside(t *testing.T) {
	door := policyhttp.Handler(status(200), refuse(rejection("bulkhead.full")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Trailer", "Took")
		compressed := gzip.NewWriter(w)
		door.ServeHTTP(compressingWriter{w, compressed}, r)
		_ = compressed.Close()
		w.Header().Set("Took", "1ms")
	}))
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.Equal(t, 503, response.StatusCode)
	require.True(t, response.Uncompressed)
	require.Equal(t, "Service Unavailable\n", text(t, response))
	require.Equal(t, "1ms", response.Trailer.Get("Took"))
}

type compressingWriter struct {
	http.ResponseWriter
	compressed io.Writer
}

func (w compressingWriter) Write(p []byte) (int, error) { return w.compressed.Write(p) }

// Who writes the answer, and who only looks on, can ask for the client.
func TestOnRefusal(t *testing.T) {
	type seen struct {
		key, path string
		refusal   policyhttp.Refusal
	}
	var told, asked []seen
	note := func(to *[]seen, r *http.Request, refusal policyhttp.Refusal) {
		*to = append(*to, seen{policyhttp.Key(r.Context()), r.URL.Path, refusal})
	}
	observe := policyhttp.OnRefusal(func(r *http.Request, refusal policyhttp.Refusal) { note(&told, r, refusal) })
	keyBy := policyhttp.KeyBy(func(r *http.Request) string { return "client " + r.Header.Get("Client") })
	source := policyhttp.HandlerRand(zeros{})
	request := httptest.NewRequest(http.MethodGet, "/path", nil)
	request.Header.Set("Client", "ada")

	rejected := refuse(rejection("bulkhead.full"))
	plain := ask(policyhttp.Handler(status(200), rejected, keyBy, source), request)
	response := ask(policyhttp.Handler(status(200), rejected, keyBy, source, observe), request)
	require.Equal(t, plain.StatusCode, response.StatusCode)
	require.Equal(t, plain.Header, response.Header)
	require.Equal(t, text(t, plain), text(t, response), "the answer is the default one")
	require.Len(t, told, 1)
	require.Equal(t, "client ada", told[0].key)
	require.Equal(t, "/path", told[0].path)
	require.Equal(t, 503, told[0].refusal.Status)
	require.Equal(t, "bulkhead.full", told[0].refusal.Code)
	require.Equal(t, strconv.Itoa(int(told[0].refusal.RetryAfter.Seconds())), response.Header.Get("Retry-After"))

	answer := policyhttp.RefuseWith(func(w http.ResponseWriter, r *http.Request, refusal policyhttp.Refusal) {
		note(&asked, r, refusal)
		w.WriteHeader(refusal.Status)
	})
	ask(policyhttp.Handler(status(200), rejected, keyBy, observe, answer), request)
	require.Len(t, told, 2)
	require.Equal(t, told[1:], asked)

	gone, leave := context.WithCancel(request.Context())
	leave()
	ask(policyhttp.Handler(status(200), rejected, keyBy, observe, answer), request.WithContext(gone))
	ask(policyhttp.Handler(status(200), resilience.Compose(), keyBy, observe, answer), request)
	require.Len(t, told, 2, "not for a client that has gone, and not without a refusal")
	require.Len(t, asked, 1)
}

// zeros is a source of no chance at all.
type zeros struct{}

func (zeros) Uint64() uint64 { return 0 }

// A body that nobody wants is not read by the handler. The server itself may drop a short one in order to keep the
// connection.
func TestTheBodyOfARefusedRequestIsNotRead(t *testing.T) {
	for _, c := range []struct {
		length int64
		closes bool
	}{{0, false}, {1, false}, {64 << 10, false}, {64<<10 + 1, true}, {-1, false}, {1 << 40, true}} {
		body := &spyBody{}
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.ContentLength = c.length
		response := ask(policyhttp.Handler(status(200), refuse(rejection("bulkhead.full"))), r)
		require.Equal(t, 503, response.StatusCode)
		require.Zero(t, body.reads.Load())
		require.Equal(t, c.closes, response.Header.Get("Connection") == "close", c.length)

		r.ProtoMajor, r.ProtoMinor = 2, 0 // where it would end the requests beside this one
		response = ask(policyhttp.Handler(status(200), refuse(rejection("bulkhead.full"))), r)
		require.Empty(t, response.Header.Get("Connection"))
	}
}

type spyBody struct{ reads atomic.Int32 }

func (b *spyBody) Read([]byte) (int, error) { b.reads.Add(1); return 0, io.EOF }

// Over a connection: a short body does not cost it, a long one does, and a client that asks first is not told to go on.
func TestARefusalOverAConnection(t *testing.T) {
	server := httptest.NewServer(policyhttp.Handler(status(200), refuse(rejection("bulkhead.full"))))
	defer server.Close()
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		return conn, bufio.NewReader(conn)
	}
	send := func(conn net.Conn, reader *bufio.Reader, request string) *http.Response {
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		require.Equal(t, "Service Unavailable\n", text(t, response))
		require.Equal(t, 503, response.StatusCode)
		return response
	}

	conn, reader := dial()
	for range 3 {
		response := send(conn, reader, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
		require.False(t, response.Close)
	}
	require.NoError(t, conn.Close())

	conn, reader = dial()
	response := send(conn, reader, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n")
	require.True(t, response.Close, "and the answer comes before the body")
	require.NoError(t, conn.Close())

	conn, reader = dial()
	response = send(conn, reader, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
	require.Equal(t, 503, response.StatusCode, "no 100 before")
	require.NoError(t, conn.Close())
}

func TestARefusalOverHTTP2KeepsTheConnection(t *testing.T) {
	handler := policyhttp.Handler(status(200), refuse(rejection("bulkhead.full")))
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	var conns atomic.Int32
	transport := server.Client().Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conns.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	for range 3 {
		response, err := server.Client().Post(server.URL, "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		require.NoError(t, err)
		require.Equal(t, 2, response.ProtoMajor)
		require.Equal(t, 503, response.StatusCode)
		_ = text(t, response)
	}
	require.Equal(t, int32(1), conns.Load())
}

func TestHEADHasNoBody(t *testing.T) {
	server := httptest.NewServer(policyhttp.Handler(status(200), refuse(rejection("bulkhead.full"))))
	defer server.Close()
	response, err := server.Client().Head(server.URL)
	require.NoError(t, err)
	require.Equal(t, 503, response.StatusCode)
	require.Equal(t, int64(len("Service Unavailable\n")), response.ContentLength)
	require.Empty(t, text(t, response))
}

// A request whose context was cancelled may still have a client. It must never get an implicit 200.
func TestACancelledRequestIsNeverA200(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		want  int
	}{
		"the client has gone": {nil, 499},
		"a cause":             {errors.New("the server shuts down"), 503},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(c.cause)
			entered := false
			response := ask(front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered = true }), &judge{}), get().WithContext(ctx))
			require.False(t, entered)
			require.Equal(t, c.want, response.StatusCode)
			if c.want == 499 {
				require.Empty(t, text(t, response))
				require.Empty(t, response.Header)
			}
		})
	}
}

// The same for one that is cancelled while it is handled, and whose handler has then nothing to say.
func TestARequestCancelledInTheHandlerIsNeverA200(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		want  int
	}{
		"the client has gone": {nil, 200}, // nobody sees it
		"a cause":             {errors.New("the server shuts down"), 503},
		"a deadline outside":  {context.DeadlineExceeded, 200}, // is answered outside
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			seen := &judge{}
			response := ask(front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Handler", "dropped")
				cancel(c.cause)
				<-r.Context().Done()
			}), seen, timeout.PerAttempt(time.Minute)), get().WithContext(ctx))
			require.Equal(t, c.want, response.StatusCode)
			if c.want == 503 {
				require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))
				require.Empty(t, response.Header.Get("X-Handler"))
				require.NotEmpty(t, response.Header.Get("Retry-After"))
			}
		})
	}
}

func TestADeadlineInTheQueueIs503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
		_, err := policy.Acquire(t.Context(), slots)
		require.NoError(t, err)
		response := ask(policyhttp.Handler(status(200), resilience.Compose(timeout.Total(time.Second), slots), policyhttp.CodeHeader("X-Code")), get())
		require.Equal(t, 503, response.StatusCode)
		require.NotEmpty(t, response.Header.Get("X-Code"))
	})
}

func TestDeadlineFrom(t *testing.T) {
	const name = "X-Envoy-Expected-Rq-Timeout-Ms"
	deadlineOf := func(t *testing.T, values []string, options ...policyhttp.HandlerOption) (left time.Duration) {
		handler := policyhttp.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if deadline, ok := r.Context().Deadline(); ok {
				left = time.Until(deadline)
			}
		}), resilience.Compose(), options...)
		r := get()
		for _, value := range values {
			r.Header.Add(name, value)
		}
		require.Equal(t, 200, ask(handler, r).StatusCode)
		return left
	}
	synctest.Test(t, func(t *testing.T) {
		require.Zero(t, deadlineOf(t, []string{"50"}), "only on request")
		for value, want := range map[string]time.Duration{
			"50": 50 * time.Millisecond, "1": time.Millisecond, "86400000": 24 * time.Hour,
			"": 0, "0": 0, "-1": 0, "+5": 0, " 5": 0, "5.5": 0, "1e3": 0, "0x10": 0, "1_000": 0, "٥": 0, "86400001": 0,
			"18446744073709551616": 0, "9223372036854775807": 0, "5s": 0, strings.Repeat("9", 10_000): 0,
		} {
			require.Equal(t, want, deadlineOf(t, []string{value}, policyhttp.DeadlineFrom(name)), value)
		}
		require.Equal(t, 50*time.Millisecond, deadlineOf(t, []string{"50", "7"}, policyhttp.DeadlineFrom(name)))
	})
}

// Otherwise anybody could open the breaker by asking for 1 ms.
func TestADeadlineOfTheClientIsNeutral(t *testing.T) {
	for _, code := range []int{0, 500, 504} {
		synctest.Test(t, func(t *testing.T) {
			seen := &judge{}
			handler := policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				if code != 0 {
					w.WriteHeader(code)
				}
			}), resilience.Compose(seen, timeout.PerAttempt(time.Minute)), policyhttp.DeadlineFrom("X-Deadline"))
			r := get()
			r.Header.Set("X-Deadline", "1")
			response := ask(handler, r)
			require.GreaterOrEqual(t, response.StatusCode, 500)
			require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))

			seen.outcomes = nil
			r.Header.Set("X-Deadline", "600000") // our own timeout comes first
			require.GreaterOrEqual(t, ask(handler, r).StatusCode, 500)
			require.Equal(t, policy.Failure, seen.only(t).Verdict(nil))
		})
	}
}
