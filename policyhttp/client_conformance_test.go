package policyhttp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/timeout"
)

// site is a server that does all that a client can meet.
func site() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-Twice", "1")
		w.Header().Add("X-Twice", "2")
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RawQuery, r.UserAgent())
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("X-Transfer", fmt.Sprint(r.TransferEncoding))
		w.Header().Set("X-Expect", r.Header.Get("Expect"))
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Trailer", fmt.Sprint(r.Trailer))
		_, _ = w.Write(b)
	})
	for _, status := range []int{204, 205, 304, 400, 401, 404, 416, 500, 501, 503, 505} {
		mux.HandleFunc(fmt.Sprintf("/status/%d", status), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		mux.Handle(fmt.Sprintf("/redirect/%d", status), http.RedirectHandler("/echo", status))
	}
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.HandleFunc("/cookie", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("visit"); err == nil {
			_, _ = io.WriteString(w, c.Value)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "visit", Value: "second", Path: "/"})
		http.Redirect(w, r, "/cookie", http.StatusSeeOther)
	})
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		fail(w, r)
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("Sum", "4")
		w.Header().Set(http.TrailerPrefix+"Late", "5")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		_, _ = io.WriteString(w, "body")
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fail(w, r)
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, strings.Repeat("compressed ", 1000))
		_ = z.Close()
	})
	mux.HandleFunc("/broken-gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fail(w, r)
		_, _ = io.WriteString(w, "no gzip")
	})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "chunk %d\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fail(w, r)
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "bye")
	})
	mux.HandleFunc("/range", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "range.txt", time.Time{}, strings.NewReader("0123456789"))
	})
	mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		fail(w, r)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "body")
		}
	})
	mux.HandleFunc("/connect", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_ = http.NewResponseController(w).Flush()
		line := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, line)
		_, _ = w.Write(line)
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) { // does not read the body
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	return mux
}

// fail begins the answer with a 503 if the query asks for that.
func fail(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery == "fail" {
		w.WriteHeader(503)
	}
}

// seen is all that a client can see of an exchange.
type seen struct {
	Error, BodyError        string
	Status, Proto           string
	Code, Major, Minor      int
	Header, Trailer         http.Header
	Length                  int64
	Transfer                []string
	Close, Uncompressed     bool
	TLS                     bool
	URL, Method, Host       string
	SameRequest             bool
	Body                    string
	BodyIsNil               bool
	Informational, Continue []string
	Sent                    int64 // how often the body was closed
}

func look(t *testing.T, client *http.Client, r *http.Request, sent *body) seen {
	t.Helper()
	var s seen
	var mu sync.Mutex
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			s.Informational = append(s.Informational, fmt.Sprint(code, header))
			return nil
		},
		Got100Continue: func() {
			mu.Lock()
			defer mu.Unlock()
			s.Continue = append(s.Continue, "continue")
		},
	}))
	response, err := client.Do(r)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Status, s.Code, s.Proto, s.Major, s.Minor = response.Status, response.StatusCode, response.Proto, response.ProtoMajor, response.ProtoMinor
	s.Header, s.Length, s.Transfer = response.Header.Clone(), response.ContentLength, response.TransferEncoding
	s.Header.Del("Date")
	s.Close, s.Uncompressed, s.TLS = response.Close, response.Uncompressed, response.TLS != nil
	s.URL, s.Method, s.Host = response.Request.URL.Path, response.Request.Method, response.Request.Host
	s.SameRequest = response.Request == r
	s.BodyIsNil = response.Body == nil
	b, err := io.ReadAll(response.Body)
	s.Body = string(b)
	if err != nil {
		s.BodyError = streamNumber.ReplaceAllString(err.Error(), "stream")
	}
	if err := response.Body.Close(); err != nil {
		s.BodyError += "; " + err.Error()
	}
	s.Trailer = response.Trailer.Clone()
	if sent != nil {
		require.Eventually(t, func() bool { return sent.closes.Load() > 0 }, 10*time.Second, time.Millisecond)
		s.Sent = sent.closes.Load()
	}
	return s
}

// streamNumber differs: a failure is tried again.
var streamNumber = regexp.MustCompile(`stream ID [0-9]+`)

// exchanges are what a client does.
var exchanges = map[string]func(t *testing.T, base string) (*http.Request, *body){
	"get":      simple("GET", "/plain?a=1&b=2"),
	"head":     simple("HEAD", "/plain"),
	"options":  simple("OPTIONS", "/plain"),
	"delete":   simple("DELETE", "/plain"),
	"204":      simple("GET", "/status/204"),
	"205":      simple("GET", "/status/205"),
	"304":      simple("GET", "/status/304"),
	"400":      simple("GET", "/status/400"),
	"401":      simple("GET", "/status/401"),
	"404":      simple("GET", "/status/404"),
	"416":      simple("GET", "/status/416"),
	"500":      simple("GET", "/status/500"),
	"501":      simple("GET", "/status/501"),
	"503":      simple("GET", "/status/503"),
	"505":      simple("GET", "/status/505"),
	"head 503": simple("HEAD", "/status/503"),
	"301":      sending("POST", "/redirect/301"),
	"302":      sending("POST", "/redirect/302"),
	"303":      sending("POST", "/redirect/303"),
	"307":      sending("POST", "/redirect/307"),
	"308":      sending("PUT", "/redirect/308"),
	"loop":     simple("GET", "/loop"),
	"cookie":   simple("GET", "/cookie"),
	"trailer":  simple("GET", "/trailer"),
	"hints":    simple("GET", "/hints"),
	"gzip":     simple("GET", "/gzip"),
	"no gzip":  simple("GET", "/broken-gzip"),
	"chunks":   simple("GET", "/chunks"),
	"abort":    simple("GET", "/abort"),
	"close":    simple("GET", "/close"),
	"length":   simple("HEAD", "/length"),

	"503 with a trailer":        simple("GET", "/trailer?fail"),
	"503 with gzip":             simple("GET", "/gzip?fail"),
	"503 without gzip":          simple("GET", "/broken-gzip?fail"),
	"503 that breaks":           simple("GET", "/abort?fail"),
	"503 with a length":         simple("GET", "/length?fail"),
	"503 with a length to head": simple("HEAD", "/length?fail"),

	"range": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "GET", base+"/range", nil)
		r.Header.Set("Range", "bytes=2-4")
		return r, nil
	},
	"unsatisfiable range": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "GET", base+"/range", nil)
		r.Header.Set("Range", "bytes=20-")
		return r, nil
	},
	"connect": func(t *testing.T, base string) (*http.Request, *body) {
		reader, writer := io.Pipe()
		go func() {
			_, _ = writer.Write([]byte("hello"))
		}()
		t.Cleanup(func() { _ = writer.Close() })
		return request(t, "CONNECT", base+"/connect", reader), nil
	},
	"length not known": func(t *testing.T, base string) (*http.Request, *body) {
		r, b := sending("PUT", "/echo")(t, base)
		r.ContentLength = -1
		return r, b
	},
	"a GetBody without a body": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "PUT", base+"/echo", nil)
		r.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
		return r, nil
	},
	"307 without a GetBody": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "POST", base+"/redirect/307", once{strings.NewReader("streamed")})
		return r, nil
	},
	"307 with a GetBody that fails": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "POST", base+"/redirect/307", strings.NewReader("text"))
		r.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
		return r, nil
	},
	"nowhere": simple("GET", "/nowhere"),
	"post":    sending("POST", "/echo"),
	"put":     sending("PUT", "/echo"),
	"early":   sending("POST", "/early"),
	"stream": func(t *testing.T, base string) (*http.Request, *body) {
		b := &body{Reader: once{strings.NewReader("streamed")}}
		return request(t, "POST", base+"/echo", b), b
	},
	"empty stream": func(t *testing.T, base string) (*http.Request, *body) {
		b := &body{Reader: once{strings.NewReader("")}}
		return request(t, "PUT", base+"/echo", b), b
	},
	"known length": func(t *testing.T, base string) (*http.Request, *body) {
		b := newBody("known")
		r := request(t, "PUT", base+"/echo", b)
		r.ContentLength = 5
		return r, b
	},
	"body of a get": func(t *testing.T, base string) (*http.Request, *body) {
		b := newBody("unusual")
		return request(t, "GET", base+"/echo", b), b
	},
	"no body": func(t *testing.T, base string) (*http.Request, *body) {
		return request(t, "POST", base+"/echo", http.NoBody), nil
	},
	"expect": func(t *testing.T, base string) (*http.Request, *body) {
		r, b := sending("PUT", "/echo")(t, base)
		r.Header.Set("Expect", "100-continue")
		return r, b
	},
	"expect refused": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "PUT", base+"/early", strings.NewReader(strings.Repeat("x", 1<<20)))
		r.Header.Set("Expect", "100-continue")
		return r, nil
	},
	"trailer of the request": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "POST", base+"/echo", once{strings.NewReader("body")})
		r.Trailer = http.Header{"Sum": {"4"}}
		return r, nil
	},
	"trailer known at the end": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "POST", base+"/echo", nil)
		r.Trailer = http.Header{"Sum": nil}
		r.Body = newBody("")
		r.Body.(*body).Reader = io.MultiReader(strings.NewReader("body"), atEnd(func() { r.Trailer.Set("Sum", "4") }))
		return r, nil
	},
	"deadline": func(t *testing.T, base string) (*http.Request, *body) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		return request(t, "GET", base+"/plain", nil).WithContext(ctx), nil
	},
	"own host": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "GET", base+"/plain", nil)
		r.Host = "virtual.example"
		return r, nil
	},
	"user": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "GET", base+"/plain", nil)
		r.URL.User = url.UserPassword("user", "secret")
		return r, nil
	},
	"accept-encoding": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "GET", base+"/gzip", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		return r, nil
	},
	"bad scheme": func(t *testing.T, base string) (*http.Request, *body) {
		return request(t, "GET", "gopher://example.com/", nil), nil
	},
	"no host": func(t *testing.T, base string) (*http.Request, *body) { return request(t, "GET", "http:///", nil), nil },
	"bad field": func(t *testing.T, base string) (*http.Request, *body) {
		r := request(t, "GET", base+"/plain", nil)
		r.Header.Set("A", "b\r\nC: d")
		return r, nil
	},
}

// atEnd is an empty reader that calls a function when that is found out.
type atEnd func()

func (f atEnd) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func simple(method, path string) func(*testing.T, string) (*http.Request, *body) {
	return func(t *testing.T, base string) (*http.Request, *body) { return request(t, method, base+path, nil), nil }
}

func sending(method, path string) func(*testing.T, string) (*http.Request, *body) {
	return func(t *testing.T, base string) (*http.Request, *body) {
		text := "content"
		b := newBody(text)
		r := request(t, method, base+path, b)
		r.ContentLength = int64(len(text))
		r.GetBody = func() (io.ReadCloser, error) { return newBody(text), nil }
		return r, b
	}
}

// TestConformance lets the same client do the same through our transport and through the bare one.
func TestConformance(t *testing.T) {
	// What runs short: each pipeline once, and each of the rest with both values.
	short := map[string]bool{
		"empty/1m0s/false": true, "timeouts/0s/true": true, "standard/0s/false": true, "hedged/0s/true": true, "per host/1m0s/true": true,
	}
	pipelines := map[string]func() resilience.Source{
		"empty": func() resilience.Source { return resilience.Compose() },
		"timeouts": func() resilience.Source {
			return resilience.Compose(timeout.Total(time.Minute), timeout.PerAttempt(time.Minute/2))
		},
		"standard": func() resilience.Source { return policyhttp.Standard("site", atOnce(3)) },
		"hedged": func() resilience.Source {
			return policyhttp.Standard("site", atOnce(3), hedge.New(hedge.After(9*time.Second)))
		},
		"per host": func() resilience.Source {
			return policyhttp.PerHost(func(host string) *resilience.Pipeline { return policyhttp.Standard(host, atOnce(3)) })
		},
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		server := httptest.NewUnstartedServer(site())
		server.Config.ErrorLog = quiet
		if protocol == "HTTP/2" {
			server.EnableHTTP2 = true
			server.StartTLS()
		} else {
			server.Start()
		}
		defer server.Close()
		for name, pipeline := range pipelines {
			for _, limit := range []time.Duration{0, time.Minute} { // of http.Client
				for _, through := range []bool{false, true} { // a middleware of the user's, which is no *http.Transport
					variant := fmt.Sprintf("%s/%v/%v", name, limit, through)
					if !whole && !short[variant] {
						continue
					}
					t.Run(protocol+"/"+variant, func(t *testing.T) {
						newBase := func() *http.Transport {
							base := server.Client().Transport.(*http.Transport).Clone()
							base.ExpectContinueTimeout = time.Minute
							t.Cleanup(base.CloseIdleConnections)
							return base
						}
						bareBase, base := newBase(), newBase()
						var ourBase http.RoundTripper = base
						if through {
							ourBase = tripper(base.RoundTrip)
						}
						client := func(tr http.RoundTripper) *http.Client {
							jar, err := cookiejar.New(nil)
							require.NoError(t, err)
							return &http.Client{Transport: tr, Jar: jar, Timeout: limit}
						}
						for _, what := range slices.Sorted(maps.Keys(exchanges)) {
							exchange := exchanges[what]
							r, sent := exchange(t, server.URL)
							bare := look(t, client(bareBase), r, sent)
							tr := policyhttp.NewTransport(ourBase, pipeline()) // another one: failures open a breaker
							r, sent = exchange(t, server.URL)
							ours := look(t, client(tr), r, sent)
							if sent != nil && !strings.HasPrefix(what, "30") { // there, http.Client closes it too
								require.EqualValues(t, 1, ours.Sent, what)
							}
							ours.Sent = bare.Sent
							if bare.SameRequest { // over a connection that is used again, the bare one copies it at times
								require.True(t, ours.SameRequest, what)
							}
							ours.SameRequest = bare.SameRequest
							require.Equal(t, bare, ours, what)
						}
					})
				}
			}
		}
	}
}

func TestConformanceThroughAProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s by %s", r.URL, r.Header.Get("Proxy-Authorization"))
	}))
	defer proxy.Close()
	through, err := url.Parse(strings.Replace(proxy.URL, "http://", "http://user:secret@", 1))
	require.NoError(t, err)
	base := &http.Transport{Proxy: http.ProxyURL(through)}
	defer base.CloseIdleConnections()
	var texts []string
	for _, tr := range []http.RoundTripper{base, policyhttp.NewTransport(base, policyhttp.Standard("x"))} {
		response, err := (&http.Client{Transport: tr}).Do(request(t, "GET", "http://somewhere.example/a?b", nil))
		require.NoError(t, err)
		texts = append(texts, read(t, response))
	}
	require.Equal(t, texts[0], texts[1])
	require.Contains(t, texts[0], "http://somewhere.example/a?b")
}

// upgrading answers 101 and echoes lines until the client closes its direction, then says bye.
func upgrading(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "echo" {
		http.Error(w, "upgrade", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_ = buffered.Flush()
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = buffered.WriteString(line)
		_ = buffered.Flush()
	}
}

func TestA1_Upgrades(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(upgrading))
	defer backend.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	slots := bulkhead.New(1)
	tr := transport(base, timeout.Total(time.Minute), atOnce(3), slots, timeout.PerAttempt(time.Minute/2))
	talk := func(t *testing.T, url string, tr http.RoundTripper) {
		r := request(t, "GET", url, nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "echo")
		response, err := tr.RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
		conn, ok := response.Body.(io.ReadWriteCloser)
		require.True(t, ok)
		lines := bufio.NewReader(conn)
		for i := range 3 {
			_, err := fmt.Fprintf(conn, "line %d\n", i)
			require.NoError(t, err)
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("line %d\n", i), line)
			require.Equal(t, 1, slots.Snapshot().InFlight)
		}
		call, ok := policyhttp.Info(response, nil)
		require.Equal(t, tr != http.RoundTripper(base), ok)
		require.Equal(t, ok, call.Attempts == 1)
		require.NoError(t, conn.Close())
	}
	t.Run("direct", func(t *testing.T) {
		talk(t, backend.URL, tr)
		require.Zero(t, slots.Snapshot().InFlight)
	})
	t.Run("through a reverse proxy", func(t *testing.T) {
		to, err := url.Parse(backend.URL)
		require.NoError(t, err)
		proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
		defer proxy.Close()
		talk(t, proxy.URL, base)
		require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 }, 10*time.Second, time.Millisecond)
	})
}

// halfCloser is a connection whose directions are closed one by one.
type halfCloser struct {
	body
	bytes.Buffer
	halves int
}

func (h *halfCloser) Read(p []byte) (int, error)  { return h.body.Read(p) }
func (h *halfCloser) Write(p []byte) (int, error) { return h.Buffer.Write(p) }
func (h *halfCloser) CloseWrite() error           { h.halves++; return nil }

func TestA1_AnUpgradedConnectionIsInUseUntilItIsClosed(t *testing.T) {
	conn := &halfCloser{body: body{Reader: strings.NewReader("hello")}}
	slots := bulkhead.New(1)
	base := tripper(func(*http.Request) (*http.Response, error) { return answer(101, conn), nil })
	response, err := transport(base, slots).RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	require.Equal(t, 1, slots.Snapshot().InFlight, "the other direction may still be in use")
	_, err = io.WriteString(response.Body.(io.Writer), "bye")
	require.NoError(t, err)
	require.NoError(t, response.Body.(interface{ CloseWrite() error }).CloseWrite())
	require.NoError(t, response.Body.Close())
	require.Zero(t, slots.Snapshot().InFlight)
	require.Equal(t, 1, conn.halves)
	require.Equal(t, "bye", conn.Buffer.String())
}

// TestTheCallersTraceIsKept: httptrace of the caller's beside ours.
func TestTheCallersTraceIsKept(t *testing.T) {
	server := httptest.NewServer(site())
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	var events []string
	var mu sync.Mutex
	note := func(event string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn:          func(string) { note("get") },
		WroteHeaderField: func(string, []string) { note("field") },
		WroteHeaders:     func() { note("headers") },
		WroteRequest:     func(httptrace.WroteRequestInfo) { note("request") },
	})
	trace := httptrace.ContextClientTrace(ctx)
	before := *trace
	for _, method := range []string{"GET", "POST"} {
		events = nil
		response, err := transport(base).RoundTrip(request(t, method, server.URL+"/plain", nil).WithContext(ctx))
		require.NoError(t, err)
		read(t, response)
		for _, want := range []string{"get", "field", "headers", "request"} {
			require.Contains(t, events, want, method)
		}
	}
	require.Equal(t, fmt.Sprintf("%p", before.GetConn), fmt.Sprintf("%p", trace.GetConn), "the caller's own is not changed")
}
