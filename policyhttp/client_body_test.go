package policyhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestH2_TheRequestBodyIsClosedOnce(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{
		"plain": nil, "retry": {atOnce(3)}, "timeouts": {timeout.Total(time.Minute), timeout.PerAttempt(time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(w, r.Body)
			}))
			defer server.Close()
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			sent := newBody("hello")
			r := request(t, "PUT", server.URL, sent)
			response, err := transport(base, layers...).RoundTrip(r)
			require.NoError(t, err)
			require.Equal(t, "hello", read(t, response))
			require.EqualValues(t, 1, sent.closes.Load())
			require.Same(t, sent, r.Body)
		})
	}
}

// TestA3_TheRequestBodyIsClosedWhateverHappens uses base transports that close nothing, too.
func TestA3_TheRequestBodyIsClosedWhateverHappens(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	open := breaker.New()
	open.ForceOpen()
	closing := func(r *http.Request) { _ = r.Body.Close() }
	for name, c := range map[string]struct {
		ctx   context.Context
		layer policy.Layer
		base  tripper
		panic bool
	}{
		"context ended before the first attempt": {ctx: ended, layer: atOnce(3)},
		"breaker open":                           {layer: open},
		"three attempts fail, base closes": {layer: atOnce(3), base: func(r *http.Request) (*http.Response, error) {
			closing(r)
			return nil, errors.New("reset")
		}},
		"three attempts fail, base does not close": {layer: atOnce(3), base: func(*http.Request) (*http.Response, error) {
			return nil, errors.New("reset")
		}},
		"panic": {layer: atOnce(3), panic: true, base: func(*http.Request) (*http.Response, error) { panic("base") }},
		"panic after closing": {layer: atOnce(3), panic: true, base: func(r *http.Request) (*http.Response, error) {
			closing(r)
			panic("base")
		}},
		"no response and no error": {layer: atOnce(3), base: func(*http.Request) (*http.Response, error) { return nil, nil }},
	} {
		for _, replayable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, replayable %v", name, replayable), func(t *testing.T) {
				sent := newBody("hello")
				r := request(t, "PUT", "http://example.com/", sent)
				if c.ctx != nil {
					r = r.WithContext(c.ctx)
				}
				var again []*body
				if replayable {
					r.GetBody = func() (io.ReadCloser, error) {
						again = append(again, newBody("hello"))
						return again[len(again)-1], nil
					}
				}
				round := func() {
					_, err := transport(c.base, c.layer).RoundTrip(r)
					require.Error(t, err)
				}
				if c.panic {
					require.PanicsWithValue(t, "base", round)
				} else {
					round()
				}
				require.EqualValues(t, 1, sent.closes.Load())
				for _, b := range again {
					require.EqualValues(t, 1, b.closes.Load())
				}
			})
		}
	}
}

func TestH3_GetBodyIsUsedAndNothingBuffered(t *testing.T) {
	base := newScript(503, 503, 200)
	r := request(t, "PUT", "http://example.com/", once{strings.NewReader("original")})
	asked := 0
	r.GetBody = func() (io.ReadCloser, error) {
		asked++
		return io.NopCloser(strings.NewReader(fmt.Sprintf("again %d", asked))), nil
	}
	response, err := transport(base, atOnce(3)).RoundTrip(r)
	require.NoError(t, err)
	read(t, response)
	require.Equal(t, []string{"original", "again 1", "again 2"}, base.received)
}

func TestFault202_UH1_TheSameBytesThreeTimes(t *testing.T) {
	for _, size := range []int{825, 1 << 20} {
		payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		var received []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			received = append(received, string(b))
			if err != nil || len(received) < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		base := &http.Transport{}
		r := request(t, "POST", server.URL, bytes.NewReader(payload))
		r.Header.Set("Idempotency-Key", "1")
		response, err := transport(base, atOnce(3), timeout.PerAttempt(10*time.Second)).RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, 200, response.StatusCode)
		read(t, response)
		require.Len(t, received, 3)
		for _, b := range received {
			require.Equal(t, string(payload), b)
		}
		base.CloseIdleConnections()
		server.Close()
	}
}

func TestTheTrailerOfEachAttemptIsThatOfItsBody(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got = append(got, r.Trailer.Get("Sum"))
		w.WriteHeader(503)
	}))
	defer server.Close()
	r := request(t, "PUT", server.URL, nil)
	r.Trailer = http.Header{"Sum": nil}
	bodies := 0
	r.GetBody = func() (io.ReadCloser, error) {
		bodies++
		sum := fmt.Sprint(bodies)
		return io.NopCloser(io.MultiReader(strings.NewReader("x"), atEnd(func() { r.Trailer.Set("Sum", sum) }))), nil
	}
	r.Body, _ = r.GetBody()
	response, err := transport(server.Client().Transport, atOnce(3)).RoundTrip(r)
	require.NoError(t, err)
	read(t, response)
	require.Equal(t, []string{"1", "2", "3"}, got)
}

func TestAGetBodyThatReturnsNothingIsNoBody(t *testing.T) {
	base := newScript(503)
	r := request(t, "PUT", "http://example.com/", newBody("x"))
	r.GetBody = func() (io.ReadCloser, error) { return nil, nil } //nolint:nilnil // as users do
	response, err := transport(base, atOnce(2)).RoundTrip(r)
	require.NoError(t, err)
	read(t, response)
	require.Equal(t, []string{"x", ""}, base.received)
}

func TestAGetBodyThatFailsIsNoAttempt(t *testing.T) {
	base, gone := newScript(503), errors.New("the file is gone")
	r := request(t, "PUT", "http://example.com/", newBody("x"))
	r.GetBody = func() (io.ReadCloser, error) { return nil, gone }
	_, err := transport(base, atOnce(3)).RoundTrip(r)
	require.ErrorIs(t, err, gone)
	call, _ := policyhttp.Info(nil, err)
	require.Equal(t, 1, call.Attempts)
	require.Equal(t, 1, base.calls())
}

func TestFault202_UH2_ABodyThatCannotBeReplayedIsSentOnce(t *testing.T) {
	base := newScript(503)
	response, err := transport(base, atOnce(3)).RoundTrip(request(t, "PUT", "http://example.com/", once{strings.NewReader("x")}))
	require.NoError(t, err)
	read(t, response)
	require.Equal(t, 1, base.calls())
	call, _ := policyhttp.Info(response, nil)
	require.ErrorIs(t, call.Reason, policyhttp.ErrBodyNotReplayable)
	require.Equal(t, "http.body_not_replayable", call.Code())

	failing := tripper(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return nil, io.ErrUnexpectedEOF
	})
	_, err = transport(failing, atOnce(3)).RoundTrip(request(t, "PUT", "http://example.com/", once{strings.NewReader("x")}))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	call, _ = policyhttp.Info(nil, err)
	require.Equal(t, 1, call.Attempts)
	require.ErrorIs(t, call.Reason, policyhttp.ErrBodyNotReplayable)

	for _, b := range []io.Reader{nil, http.NoBody} {
		base := newScript(503)
		response, err := transport(base, atOnce(3)).RoundTrip(request(t, "PUT", "http://example.com/", b))
		require.NoError(t, err)
		read(t, response)
		require.Equal(t, 3, base.calls())
	}
}

func TestUH2_ABodyNobodyHasReadYetIsSentAfterAll(t *testing.T) {
	attempts := 0
	base := tripper(func(r *http.Request) (*http.Response, error) {
		if attempts++; attempts < 3 {
			trace := httptrace.ContextClientTrace(r.Context())
			trace.GetConn("example.com:80")
			_ = r.Body.Close()
			return nil, errors.New("connection refused")
		}
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		return answer(200, newBody(string(b))), err
	})
	sent := newBody("stream")
	response, err := transport(base, atOnce(3)).RoundTrip(request(t, "POST", "http://example.com/", sent))
	require.NoError(t, err)
	require.Equal(t, "stream", read(t, response))
	require.Equal(t, 3, attempts)
	require.EqualValues(t, 1, sent.closes.Load())
}

func TestUH2_BufferedBodies(t *testing.T) {
	send := func(length, limit int, known bool) (calls int, received []string, closes int64, call policyhttp.Call) {
		base := newScript(503, 503, 200)
		tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)), policyhttp.Buffer(int64(limit)))
		text := strings.Repeat("x", length)
		sent := newBody(text)
		r := request(t, "PUT", "http://example.com/", sent)
		if known {
			r.ContentLength = int64(length)
		}
		response, err := tr.RoundTrip(r)
		require.NoError(t, err)
		read(t, response)
		call, _ = policyhttp.Info(response, nil)
		return base.calls(), base.received, sent.closes.Load(), call
	}
	for _, known := range []bool{false, true} {
		calls, received, closes, _ := send(100, 100, known)
		require.Equal(t, 3, calls)
		require.EqualValues(t, 1, closes)
		for _, b := range received {
			require.Len(t, b, 100)
		}
		calls, received, closes, call := send(101, 100, known)
		require.Equal(t, 1, calls)
		require.Len(t, received[0], 101)
		require.EqualValues(t, 1, closes)
		require.ErrorIs(t, call.Reason, policyhttp.ErrBodyNotReplayable)
	}
}

func TestFault206_H4_TheContextLivesUntilTheBodyIsClosed(t *testing.T) {
	const size = 512 << 10
	payload := strings.Repeat("x", size)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, payload)
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	var sent context.Context
	spy := tripper(func(r *http.Request) (*http.Response, error) {
		sent = r.Context()
		return base.RoundTrip(r)
	})
	tr := transport(spy, timeout.Total(time.Minute), atOnce(3), timeout.PerAttempt(30*time.Second))
	response, err := tr.RoundTrip(request(t, "GET", server.URL, nil))
	require.NoError(t, err)
	require.NoError(t, sent.Err())
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Len(t, b, size)
	require.Error(t, sent.Err(), "the end of the body releases everything")
	require.NoError(t, response.Body.Close())

	response, err = tr.RoundTrip(request(t, "GET", server.URL, nil))
	require.NoError(t, err)
	require.NoError(t, sent.Err())
	require.NoError(t, response.Body.Close())
	require.Error(t, sent.Err(), "a closed body releases everything")
}

func TestTheAttemptTimeoutBoundsTheHeadersAndTheTotalTimeoutTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			for range 10 {
				_, _ = io.WriteString(w, "0123456789")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		})
		response, err := transport(n.base, timeout.Total(time.Minute), timeout.PerAttempt(2*time.Second)).
			RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Len(t, read(t, response), 100, "a body may take longer than an attempt")

		judge := breaker.New(breaker.ConsecutiveFailures(1))
		response, err = transport(n.base, timeout.Total(5*time.Second), judge).
			RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		_, err = io.ReadAll(response.Body)
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, response.Body.Close())
		require.Equal(t, breaker.Open, judge.State())
		n.close()
	})
}

func TestFault200_UH5_DiscardedResponsesLeaveTheirConnection(t *testing.T) {
	for name, attempt := range map[string]policy.Layer{
		"without timeout": nil, "with attempt timeout": timeout.PerAttempt(10 * time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // elsewhere a body may take longer than it is waited for
				calls := 0
				n := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					if calls++; calls < 3 {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
					_, _ = io.WriteString(w, strings.Repeat("x", 4<<10))
				})
				var fresh, reused atomic.Int64
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
					if info.Reused {
						reused.Add(1)
					} else {
						fresh.Add(1)
					}
				}})
				layers := []policy.Layer{atOnce(3)}
				if attempt != nil {
					layers = append(layers, attempt)
				}
				response, err := transport(n.base, layers...).RoundTrip(request(t, "GET", "http://example.com/", nil).WithContext(ctx))
				require.NoError(t, err)
				require.Equal(t, 200, response.StatusCode)
				require.Len(t, read(t, response), 4<<10)
				require.EqualValues(t, 1, fresh.Load())
				require.EqualValues(t, 2, reused.Load())
				n.close()
			})
		})
	}
}

func TestFault200_ASlowOrLargeBodyIsClosedUndrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		n := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch calls++; calls {
			case 1: // slow
				w.WriteHeader(503)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			case 2: // endless
				w.WriteHeader(503)
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<10)); err != nil {
						return
					}
				}
			default:
				w.WriteHeader(200)
			}
		})
		start := time.Now()
		response, err := transport(n.base, atOnce(3)).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, 200, response.StatusCode)
		require.LessOrEqual(t, time.Since(start), 100*time.Millisecond)
		read(t, response)
		require.EqualValues(t, 3, n.dials.Load())
		n.close()
	})
}

func TestA8_TheLastResponseIsReadableHoweverSlowAndLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			for range 3 {
				_, _ = io.WriteString(w, strings.Repeat("x", 4<<10))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		})
		tr := transport(n.base, timeout.Total(time.Minute), atOnce(2), timeout.PerAttempt(500*time.Millisecond))
		response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, 503, response.StatusCode)
		require.Len(t, read(t, response), 12<<10)
		n.close()
	})
}

// The beginning of the body of a failure is read on another goroutine, where nobody could recover from a panic.
func TestFault058_APanicInABodyIsTheReaders(t *testing.T) {
	base := tripper(func(*http.Request) (*http.Response, error) {
		return answer(503, &body{Reader: io.MultiReader(strings.NewReader("text"), atEnd(func() { panic("boom") }))}), nil
	})
	response, err := transport(base, atOnce(2)).RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	text := make([]byte, 4)
	_, err = io.ReadFull(response.Body, text)
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
	require.PanicsWithValue(t, "boom", func() { _, _ = response.Body.Read(text) })
	require.NoError(t, response.Body.Close())
}

func TestNothingCanBeReadAfterClose(t *testing.T) {
	for _, status := range []int{200, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "text")
		}))
		bare := server.Client().Transport
		for _, tr := range []http.RoundTripper{bare, transport(bare, atOnce(1))} {
			response, err := tr.RoundTrip(request(t, "GET", server.URL, nil))
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			n, err := response.Body.Read(make([]byte, 1))
			require.Zero(t, n)
			require.EqualError(t, err, "http: read on closed response body")
			require.NoError(t, response.Body.Close(), "a second time")
		}
		server.Close()
	}
}

func TestFault205_AnErrorInTheBodyCountsOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	judge, slots := breaker.New(breaker.ConsecutiveFailures(2)), bulkhead.New(1)
	tr := transport(base, judge, slots)
	for range 3 {
		response, err := tr.RoundTrip(request(t, "GET", server.URL, nil))
		require.NoError(t, err)
		_, err = io.ReadAll(response.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		_, err = response.Body.Read(make([]byte, 1))
		require.Error(t, err)
		require.NoError(t, response.Body.Close())
		require.Zero(t, slots.Snapshot().InFlight)
		// Each call was a success when its headers came, and a failure when its body broke.
		require.Equal(t, breaker.Closed, judge.State())
	}
}

// The body is a pipe, not one of net/http: since Go 1.27 Close lets a running Read of that wait for a moment, behind a
// mutex for which the clock of a bubble does not go on.
func TestClosingABodyEarlyIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := io.Pipe()
		base := tripper(func(*http.Request) (*http.Response, error) { return answer(200, body), nil })
		judge := breaker.New(breaker.ConsecutiveFailures(1))
		response, err := transport(base, judge).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		done := make(chan error)
		go func() {
			_, err := response.Body.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, response.Body.Close())
		require.Error(t, <-done)
		require.Equal(t, breaker.Closed, judge.State())
	})
}

func TestResponsesWithoutABodyGiveTheSlotBackAtOnce(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
	}{{"HEAD", 200}, {"GET", 204}, {"GET", 304}} {
		slots := bulkhead.New(1)
		base := tripper(func(*http.Request) (*http.Response, error) { return answer(c.status, http.NoBody), nil })
		response, err := transport(base, slots).RoundTrip(request(t, c.method, "http://example.com/", nil))
		require.NoError(t, err)
		require.Zero(t, slots.Snapshot().InFlight)
		require.Empty(t, read(t, response))
		_, ok := policyhttp.Info(response, nil)
		require.True(t, ok)
	}
}

// TestFault207_TimeoutsAreToldApart is also about Info behind the body of an http.Client.
func TestFault207_TimeoutsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(time.Minute)
			}
		})
		get := func(clientLimit, total, attempt time.Duration, path string) (*http.Response, error) {
			tr := transport(n.base, timeout.Total(total), atOnce(1), timeout.PerAttempt(attempt))
			client := &http.Client{Transport: tr, Timeout: clientLimit}
			return client.Do(request(t, "GET", "http://example.com"+path, nil))
		}
		timedOut := func(err error) {
			t.Helper()
			var timeout interface{ Timeout() bool }
			require.True(t, errors.As(err, &timeout))
			require.True(t, timeout.Timeout())
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		_, err := get(time.Second, 3*time.Second, 2*time.Second, "/slow")
		timedOut(err)
		require.NotErrorIs(t, err, timeout.ErrTimeout)
		// Whether its text names Client.Timeout is a race between two timers of net/http.

		_, err = get(time.Minute, 3*time.Second, 2*time.Second, "/slow")
		timedOut(err)
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.ErrorContains(t, err, "attempt timeout 2s")
		call, ok := policyhttp.Info(nil, err)
		require.True(t, ok)
		require.Equal(t, 1, call.Attempts)

		_, err = get(0, 2*time.Second, time.Second+999*time.Millisecond, "/slow")
		timedOut(err)
		require.ErrorIs(t, err, timeout.ErrTimeout)

		response, err := get(time.Minute, 3*time.Second, 2*time.Second, "/")
		require.NoError(t, err)
		read(t, response)
		call, ok = policyhttp.Info(response, nil)
		require.True(t, ok, "Client.Timeout hides the body")
		require.Equal(t, 1, call.Attempts)
		n.close()
	})
}

func TestTheAttemptTimeoutIsRetriedWhileTheCallerHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		n := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				<-r.Context().Done()
			}
		})
		tr := transport(n.base, retry.New(retry.Constant(time.Second), retry.NoJitter()), timeout.PerAttempt(2*time.Second))
		start := time.Now()
		response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(start))
		read(t, response)
		n.close()
	})
}

// lingering is a body whose Close ends a Read at once, and takes its time.
type lingering struct{ closed chan struct{} }

func (l lingering) Read([]byte) (int, error) {
	<-l.closed
	return 0, http.ErrBodyReadAfterClose
}

func (l lingering) Close() error {
	close(l.closed)
	time.Sleep(time.Second)
	return nil
}

func TestAReadThatACloseEndsIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		judge := breaker.New(breaker.ConsecutiveFailures(1))
		base := tripper(func(*http.Request) (*http.Response, error) {
			return answer(200, lingering{make(chan struct{})}), nil
		})
		response, err := transport(base, judge).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		go func() { _, _ = response.Body.Read(make([]byte, 1)) }()
		synctest.Wait()
		require.NoError(t, response.Body.Close())
		require.Equal(t, breaker.Closed, judge.State())
	})
}

// TestABodyThatIsStillBeingSentIsTheBases: a server may answer before it has read everything.
func TestABodyThatIsStillBeingSentIsTheBases(t *testing.T) {
	for _, options := range [][]policyhttp.Option{nil, {policyhttp.Buffer(10)}} {
		var given io.ReadCloser
		base := tripper(func(r *http.Request) (*http.Response, error) {
			given = r.Body
			return answer(200, newBody("x")), nil
		})
		sent := newBody("hello")
		response, err := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)), options...).
			RoundTrip(request(t, "PUT", "http://example.com/", sent))
		require.NoError(t, err)
		_, err = io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Zero(t, sent.closes.Load())
		b, err := io.ReadAll(given)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b))
		require.NoError(t, given.Close())
		require.NoError(t, given.Close())
		require.EqualValues(t, 1, sent.closes.Load())
		require.NoError(t, response.Body.Close())
		require.EqualValues(t, 1, sent.closes.Load())
	}
}
