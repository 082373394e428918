package policyhttp_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// lines answers with status and a line every 300 ms.
func lines(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(status)
		for i := range 4 {
			_, _ = fmt.Fprintf(w, "data: %d\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(300 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	}
}

// TestTheBodyOfAFailureStreams: what the server sends is there at once, also behind a 503. Only a response after which there
// may be another attempt is looked at for up to 50 ms, since its connection can be used again when its body has ended.
func TestTheBodyOfAFailureStreams(t *testing.T) {
	const looked = 50 * time.Millisecond
	again, aside := atOnce(1), hedge.New(hedge.After(time.Hour))
	for name, c := range map[string]struct {
		status int
		method string
		body   io.Reader
		layers []policy.Layer
		wait   time.Duration
	}{
		"no failure":                {status: 404, layers: []policy.Layer{again}},
		"no retry":                  {status: 503, layers: []policy.Layer{timeout.Total(time.Minute)}},
		"a status that ends a call": {status: 505, layers: []policy.Layer{again}},
		"a POST":                    {status: 503, method: "POST", layers: []policy.Layer{again}},
		"a body that is gone":       {status: 503, method: "PUT", body: once{strings.NewReader("x")}, layers: []policy.Layer{again}},
		"a retry":                   {status: 503, layers: []policy.Layer{again}, wait: looked},
		"an attempt timeout":        {status: 503, layers: []policy.Layer{again, timeout.PerAttempt(time.Second)}, wait: looked},
		"a hedge":                   {status: 503, layers: []policy.Layer{aside}, wait: looked},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := serve(t, lines(c.status))
				start := time.Now()
				response, err := transport(n.base, c.layers...).RoundTrip(request(t, c.method, "http://example.com/", c.body))
				require.NoError(t, err)
				require.Equal(t, c.wait, time.Since(start), "the headers")
				scanner := bufio.NewScanner(response.Body)
				for i := range 4 {
					require.True(t, scanner.Scan())
					require.Equal(t, fmt.Sprintf("data: %d", i), scanner.Text())
					require.Equal(t, max(c.wait, time.Duration(i)*300*time.Millisecond), time.Since(start))
				}
				require.False(t, scanner.Scan())
				require.NoError(t, response.Body.Close())
				n.close()
			})
		})
	}
}

// A body that is known to be longer than what would be read of it is not waited for.
func TestALongBodyOfAFailureIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		base := tripper(func(*http.Request) (*http.Response, error) {
			r := answer(503, reader)
			r.ContentLength = 4<<10 + 1
			return r, nil
		})
		start := time.Now()
		response, err := transport(base, atOnce(1)).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		go func() {
			_, _ = writer.Write([]byte("text"))
			_ = writer.Close()
		}()
		require.Equal(t, "text", read(t, response))
	})
}

// The reader of a body that was looked at waits for the piece that is on its way, until that comes, fails, or is given up.
func TestTheReaderOfABodyThatWasLookedAt(t *testing.T) {
	open := func(t *testing.T) (*http.Response, *io.PipeWriter) {
		reader, writer := io.Pipe()
		go func() { _, _ = writer.Write([]byte("be")) }()
		base := tripper(func(*http.Request) (*http.Response, error) { return answer(503, reader), nil })
		response, err := transport(base, atOnce(1)).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		n, err := response.Body.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
		b := make([]byte, 1)
		_, err = response.Body.Read(b)
		require.NoError(t, err)
		require.Equal(t, "b", string(b), "a part of what has come")
		return response, writer
	}
	t.Run("comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			response, writer := open(t)
			go func() {
				time.Sleep(time.Second)
				_, _ = writer.Write([]byte("fore"))
				_ = writer.Close()
			}()
			require.Equal(t, "efore", read(t, response))
		})
	})
	t.Run("fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			response, writer := open(t)
			time.AfterFunc(time.Second, func() { _ = writer.CloseWithError(io.ErrUnexpectedEOF) })
			b, err := io.ReadAll(response.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, "e", string(b))
			require.NoError(t, response.Body.Close())
		})
	})
	t.Run("is given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			response, _ := open(t)
			time.AfterFunc(time.Second, func() { _ = response.Body.Close() })
			b, err := io.ReadAll(response.Body)
			require.EqualError(t, err, "http: read on closed response body")
			require.Equal(t, "e", string(b))
		})
	})
}

// An empty Read for ever is no reason to read for ever.
func TestABodyThatReadsNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := make(chan struct{})
		base := tripper(func(*http.Request) (*http.Response, error) {
			return answer(503, &body{Reader: readerFunc(func([]byte) (int, error) {
				time.Sleep(time.Millisecond)
				select {
				case reads <- struct{}{}:
				default:
				}
				return 0, nil
			})}), nil
		})
		response, err := transport(base, atOnce(1)).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		time.Sleep(time.Second)
		select {
		case <-reads:
			require.Fail(t, "it is read still")
		case <-time.After(time.Second):
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The base transport writes the trailer into its response at the end of the body. The caller's must not change before the
// caller has read so far, although its body may be looked at meanwhile: ReverseProxy asks for the announced fields first.
func TestTheTrailerOfABodyThatWasLookedAtComesAtItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		announced, after http.Header
		pause            time.Duration
	}{
		"announced, in time": {http.Header{"Sum": nil}, http.Header{"Sum": {"4"}}, 10 * time.Millisecond},
		"announced, later":   {http.Header{"Sum": nil}, http.Header{"Sum": {"4"}}, 80 * time.Millisecond},
		"a surprise":         {nil, http.Header{"Sum": {"4"}}, 80 * time.Millisecond},
		"none":               {nil, nil, 80 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := tripper(func(*http.Request) (*http.Response, error) {
					r := answer(503, nil)
					r.Trailer = maps.Clone(c.announced)
					r.Body = &body{Reader: io.MultiReader(strings.NewReader("text"), atEnd(func() {
						time.Sleep(c.pause)
						switch { // as net/http
						case r.Trailer == nil:
							r.Trailer = c.after
						default:
							maps.Copy(r.Trailer, c.after)
						}
					}))}
					return r, nil
				})
				response, err := transport(base, atOnce(2)).RoundTrip(request(t, "GET", "http://example.com/", nil))
				require.NoError(t, err)
				trailer := response.Trailer
				require.Equal(t, c.announced, trailer)
				time.Sleep(time.Second)
				require.Equal(t, c.announced, response.Trailer)
				require.Equal(t, "text", read(t, response))
				require.Equal(t, c.after, response.Trailer)
				if c.announced != nil {
					require.Equal(t, c.after, trailer, "it is the same map")
				}
			})
		})
	}
}

// The server sends a line only when the one before was read.
func TestTheBodyOfAFailureStreamsInEveryProtocol(t *testing.T) {
	for _, protocol := range []int{1, 2} {
		for name, layers := range map[string][]policy.Layer{
			"no retry": nil,
			"a retry":  {atOnce(1), timeout.PerAttempt(time.Minute)},
			"a hedge":  {hedge.New(hedge.After(time.Hour))},
		} {
			t.Run(fmt.Sprintf("HTTP/%d, %s", protocol, name), func(t *testing.T) {
				next := make(chan struct{}, 8)
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(503)
					for {
						_, _ = io.WriteString(w, "line\n")
						_ = http.NewResponseController(w).Flush()
						select {
						case <-next:
						case <-r.Context().Done():
							return
						}
					}
				}))
				server.EnableHTTP2 = protocol == 2
				server.StartTLS()
				defer server.Close()
				response, err := transport(server.Client().Transport, layers...).RoundTrip(request(t, "GET", server.URL, nil))
				require.NoError(t, err)
				require.Equal(t, protocol, response.ProtoMajor)
				scanner := bufio.NewScanner(response.Body)
				for range 3 {
					require.True(t, scanner.Scan())
					require.Equal(t, "line", scanner.Text())
					next <- struct{}{}
				}
				require.NoError(t, response.Body.Close())
			})
		}
	}
}

// A connection is worth the wait for a body that ends soon: the context of the attempt ends when the next one begins.
func TestFault200_ABodyThatEndsSoonLeavesItsConnection(t *testing.T) {
	for _, c := range []struct {
		pause time.Duration
		size  int
		dials int64
	}{
		{20 * time.Millisecond, 100, 1},
		{20 * time.Millisecond, 4<<10 - 1, 1},
		{60 * time.Millisecond, 100, 3},
		{0, 4<<10 + 1, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			n := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls++; calls < 3 {
					w.WriteHeader(503)
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(c.pause)
				_, _ = io.WriteString(w, strings.Repeat("x", c.size))
			})
			response, err := transport(n.base, atOnce(3), timeout.PerAttempt(time.Second)).
				RoundTrip(request(t, "GET", "http://example.com/", nil))
			require.NoError(t, err)
			require.Equal(t, 200, response.StatusCode)
			require.Len(t, read(t, response), c.size)
			require.Equal(t, c.dials, n.dials.Load(), "%v", c)
			n.close()
		})
	}
}
