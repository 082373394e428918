package policyhttp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
)

// quiet drops what a server complains of.
var quiet = log.New(io.Discard, "", 0)

// classes is row 13 of the table of adapters.
var classes = map[int]policy.Class{
	200: policy.Unclassified, 201: policy.Unclassified, 204: policy.Unclassified, 301: policy.Unclassified,
	304: policy.Unclassified, 307: policy.Unclassified,
	400: policy.Expected, 401: policy.Expected, 403: policy.Expected, 404: policy.Expected, 409: policy.Expected,
	410: policy.Expected, 413: policy.Expected, 422: policy.Expected, 425: policy.Expected, 451: policy.Expected,
	408: policy.Transient, 429: policy.Throttled,
	500: policy.Transient, 501: policy.Expected, 502: policy.Transient, 503: policy.Transient, 504: policy.Transient,
	505: policy.Permanent, 507: policy.Permanent, 511: policy.Permanent, 521: policy.Permanent, 599: policy.Permanent,
}

func TestFault204_ClassesOfStatuses(t *testing.T) {
	for status, class := range classes {
		attempts, verdict := 1, policy.Success
		switch class {
		case policy.Transient:
			attempts, verdict = 3, policy.Failure
		case policy.Throttled:
			attempts, verdict = 3, policy.Neutral
		case policy.Permanent:
			verdict = policy.Failure
		}
		var outcomes []policy.Outcome
		observe := resilience.Observe(policy.ObserverFunc(func(_ context.Context, e policy.Event) {
			if e.Kind == policy.EventAttempt {
				outcomes = append(outcomes, e.Outcome)
			}
		}))
		base := newScript(status)
		response, err := transport(base, atOnce(3), breaker.New(), observe).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, status, response.StatusCode)
		require.NoError(t, response.Body.Close())
		require.Equal(t, attempts, base.calls(), "status %d", status)
		for _, outcome := range outcomes {
			require.Equal(t, verdict, outcome.Verdict(nil), "status %d", status)
		}
		err = policyhttp.Check(answer(status, nil))
		if verdict == policy.Success {
			require.NoError(t, err)
		} else {
			require.Equal(t, class, policy.ClassOf(err), "status %d", status)
		}
	}
}

func TestFault204_413WithRetryAfterIsAThrottle(t *testing.T) {
	base := newScript(413)
	base.header = []string{"Retry-After", "0"}
	_, _, call := roundTrip(t, transport(base, atOnce(3)))
	require.Equal(t, 3, call.Attempts)
}

func TestUH8_A429IsNeutralForTheBreaker(t *testing.T) {
	judge := breaker.New(breaker.ConsecutiveFailures(1))
	base := newScript(429)
	tr := transport(base, atOnce(3), judge)
	for range 5 {
		status, _, _ := roundTrip(t, tr)
		require.Equal(t, 429, status)
	}
	require.Equal(t, breaker.Closed, judge.State())
	require.Equal(t, 15, base.calls())
}

func TestFault204_H6_AnUntrustedCertificateIsPermanent(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quiet
	server.StartTLS()
	defer server.Close()
	dials := 0
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	counting := tripper(func(r *http.Request) (*http.Response, error) {
		dials++
		return base.RoundTrip(r)
	})
	judge := breaker.New(breaker.ConsecutiveFailures(1))
	for _, method := range []string{"GET", "POST"} { // nothing was sent, and yet it is not tried again
		dials = 0
		_, err := transport(counting, atOnce(3)).RoundTrip(request(t, method, server.URL, nil))
		_, ok := errors.AsType[x509.UnknownAuthorityError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 1, dials)
	}
	_, err := transport(base, judge).RoundTrip(request(t, "GET", server.URL, nil))
	require.Error(t, err)
	require.Equal(t, breaker.Open, judge.State())

	base.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	base.TLSClientConfig.ServerName = "other.example"
	dials = 0
	_, err = transport(counting, atOnce(3)).RoundTrip(request(t, "GET", server.URL, nil))
	_, ok := errors.AsType[x509.HostnameError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 1, dials)
}

func TestFault204_AServerWithoutTLSIsPermanentAndSaysSo(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	url := strings.Replace(server.URL, "http:", "https:", 1)
	_, bare := (&http.Client{Transport: base}).Get(url) //nolint:noctx // the plain use
	require.ErrorIs(t, bare, http.ErrSchemeMismatch)
	for name, tr := range map[string]http.RoundTripper{
		"a retry":     transport(base, atOnce(3)),
		"two inside":  transport(transport(base, atOnce(3))),
		"all retried": transport(base, atOnce(3, retry.If(func(error) bool { return true }))),
	} {
		_, err := (&http.Client{Transport: tr}).Get(url) //nolint:noctx // the plain use
		require.ErrorIs(t, err, http.ErrSchemeMismatch, name)
		require.Equal(t, policy.Permanent, policyhttp.Classify(err), name)
		_, ok := errors.AsType[tls.RecordHeaderError](err)
		require.True(t, ok, name)
		_, ok = policyhttp.Info(nil, err)
		require.True(t, ok, name)
		if name != "all retried" {
			require.EqualError(t, err, bare.Error(), name)
		}
		_, err = tr.RoundTrip(request(t, "GET", url, nil))
		_, ok = err.(*policyhttp.CallError) //nolint:errorlint // the very type
		require.True(t, ok, name)
	}
}

func TestFault204_RedirectsWithoutEndArePermanent(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
	defer server.Close()
	client := server.Client()
	calls := 0
	_, err := resilience.Do(t.Context(), resilience.Compose(atOnce(3), resilience.Classify(policyhttp.Classify)),
		func(ctx context.Context) (*http.Response, error) {
			calls++
			r, err := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
			if err != nil {
				return nil, err
			}
			response, err := client.Do(r)
			if response != nil {
				_ = response.Body.Close()
			}
			return response, err
		})
	require.ErrorContains(t, err, "stopped after 10 redirects")
	require.Equal(t, 1, calls)
}

// TestFault204_TheCallersMistakes are neither retried nor held against the server.
func TestFault204_TheCallersMistakes(t *testing.T) {
	base := &http.Transport{}
	for name, spoil := range map[string]func(*http.Request){
		"no URL":       func(r *http.Request) { r.URL = nil },
		"no host":      func(r *http.Request) { r.URL.Host = "" },
		"scheme":       func(r *http.Request) { r.URL.Scheme = "gopher" },
		"method":       func(r *http.Request) { r.Method = "GE T" },
		"field name":   func(r *http.Request) { r.Header["a b"] = []string{"x"} },
		"field value":  func(r *http.Request) { r.Header.Set("A", "x\r\nB: y") },
		"no header":    func(r *http.Request) { r.Header = nil },
		"trailer":      func(r *http.Request) { r.Method = "PUT"; r.Body = newBody("x"); r.Trailer = http.Header{"a b": nil} },
		"no body":      func(r *http.Request) { r.ContentLength = 5 },
		"short body":   func(r *http.Request) { r.Method = "PUT"; r.Body = newBody("x"); r.ContentLength = 5 },
		"broken body":  func(r *http.Request) { r.Method = "PUT"; r.Body = io.NopCloser(brokenReader{}) },
		"broken again": func(r *http.Request) { r.Method = "PUT"; r.Body = io.NopCloser(brokenReader{}); r.GetBody = getBroken },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			}))
			defer server.Close()
			defer base.CloseIdleConnections()
			judge := breaker.New(breaker.ConsecutiveFailures(1))
			again := retry.New(retry.Attempts(3), retry.Constant(0))
			for what, source := range map[string]resilience.Source{
				"pipeline": resilience.Compose(again, judge),
				"per host": policyhttp.PerHost(func(string) *resilience.Pipeline { return resilience.Compose(again, judge) }),
			} {
				r := request(t, "GET", server.URL, nil)
				spoil(r)
				_, err := policyhttp.NewTransport(base, source).RoundTrip(r)
				require.Error(t, err, what)
				require.Equal(t, breaker.Closed, judge.State(), what)
				call, ok := policyhttp.Info(nil, err)
				require.True(t, ok)
				require.Equal(t, 1, call.Attempts, what)
				require.Equal(t, policy.Ignored, policy.ClassOf(err))
			}
		})
	}
}

// Closing the channel Cancel of a request is the older way for its caller to leave. http.Client.Timeout uses it as well,
// but that is a deadline, and the context has it too: which of the two ends first must not matter.
func TestFault204_TheCallersCancelChannel(t *testing.T) {
	base := tripper(func(r *http.Request) (*http.Response, error) {
		//lint:ignore SA1019 what is tested
		<-r.Cancel
		return nil, errors.New("net/http: request canceled")
	})
	synctest.Test(t, func(t *testing.T) {
		judge, cancel := &judge{}, make(chan struct{})
		r := request(t, "GET", "http://a.example", nil)
		//lint:ignore SA1019 what is tested
		r.Cancel = cancel
		go func() {
			time.Sleep(time.Second)
			close(cancel)
		}()
		_, err := transport(base, atOnce(3), judge).RoundTrip(r)
		require.ErrorContains(t, err, "request canceled")
		require.Equal(t, policy.Ignored, judge.only(t).Class)
	})
	synctest.Test(t, func(t *testing.T) {
		judge := &judge{}
		client := &http.Client{Transport: transport(base, judge), Timeout: time.Second}
		_, err := client.Do(request(t, "GET", "http://a.example", nil))
		require.ErrorContains(t, err, "Client.Timeout exceeded")
		require.Equal(t, policy.Transient, judge.only(t).Class, "as with a deadline of the context")
	})
}

// net/http finds out while it writes, and may have the answer of the server before.
func TestFault204_ABodyThatIsLongerThanItSays(t *testing.T) {
	base := tripper(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return nil, errors.New("http: ContentLength=5 with Body length 6")
	})
	judge := breaker.New(breaker.ConsecutiveFailures(1))
	r := request(t, "PUT", "http://example.com/", strings.NewReader("123456"))
	r.ContentLength = 5
	_, err := transport(base, atOnce(3), judge).RoundTrip(r)
	require.Equal(t, policy.Ignored, policy.ClassOf(err))
	require.Equal(t, breaker.Closed, judge.State())
}

// A base transport may know other schemes: what it says about those is about the server.
func TestFault204_ASchemeOfTheBaseTransport(t *testing.T) {
	base := tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no such socket") })
	judge := breaker.New(breaker.ConsecutiveFailures(3))
	_, err := transport(base, atOnce(3), judge).RoundTrip(request(t, "GET", "unix:///run/docker.sock", nil))
	call, _ := policyhttp.Info(nil, err)
	require.Equal(t, 3, call.Attempts)
	require.Equal(t, breaker.Open, judge.State())
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("disk broken") }

func getBroken() (io.ReadCloser, error) { return nil, errors.New("no copy") }

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		want policy.Class
	}{
		{nil, policy.Unclassified},
		{io.ErrUnexpectedEOF, policy.Unclassified},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, policy.Unclassified},
		{&url.Error{Op: "Get", Err: x509.HostnameError{}}, policy.Permanent},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, policy.Permanent},
		{tls.RecordHeaderError{}, policy.Permanent},
		{fmt.Errorf("get: %w", &url.Error{Op: "Get", Err: errors.New("stopped after 10 redirects")}), policy.Permanent},
		{policyhttp.Check(answer(429, nil)), policy.Throttled},
		{fmt.Errorf("get: %w", policyhttp.Check(answer(503, nil))), policy.Transient},
	} {
		require.Equal(t, c.want, policyhttp.Classify(c.err), "%v", c.err)
	}
}

func TestRetryStatuses(t *testing.T) {
	attempts := func(status int, opts ...policyhttp.Option) (int, breaker.State) {
		base := newScript(status)
		base.header = []string{"Retry-After", "0"}
		judge := breaker.New(breaker.ConsecutiveFailures(3))
		tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3), judge), opts...)
		_, _, call := roundTrip(t, tr)
		return call.Attempts, judge.State()
	}
	only := policyhttp.RetryStatuses(502, 404)
	for status, want := range map[int]int{502: 3, 404: 3, 503: 1, 500: 1, 429: 1, 413: 1, 408: 1, 200: 1, 403: 1} {
		n, _ := attempts(status, only)
		require.Equal(t, want, n, "status %d", status)
	}
	_, state := attempts(404, only)
	require.Equal(t, breaker.Open, state, "a status that is added is a failure")

	forbidden := policyhttp.ClassifyResponse(func(r *http.Response) policy.Class {
		if r.StatusCode == 403 && r.Header.Get("Retry-After") != "" {
			return policy.Throttled
		}
		return policy.Unclassified
	})
	n, state := attempts(403, forbidden)
	require.Equal(t, 3, n)
	require.Equal(t, breaker.Closed, state)
	n, _ = attempts(503, forbidden)
	require.Equal(t, 3, n)
	n, _ = attempts(503, policyhttp.ClassifyResponse(func(*http.Response) policy.Class { return policy.Expected }))
	require.Equal(t, 1, n)
}

// TestNoResponseIsLeftOpenByAClassifierThatDoesNotReturn: nobody else could close it.
func TestNoResponseIsLeftOpenByAClassifierThatDoesNotReturn(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("classifier") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			sent, got := newBody("hello"), newBody("x")
			base := tripper(func(*http.Request) (*http.Response, error) { return answer(503, got), nil })
			tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(2)), policyhttp.ClassifyResponse(
				func(*http.Response) policy.Class {
					leave()
					return policy.Expected
				}))
			var left sync.WaitGroup
			left.Go(func() {
				defer func() { _ = recover() }()
				_, _ = tr.RoundTrip(request(t, "PUT", "http://example.com/", sent))
			})
			left.Wait()
			require.EqualValues(t, 1, got.closes.Load())
			require.EqualValues(t, 1, sent.closes.Load())
		})
	}
}

// Of two options the one about statuses stands where the other one says nothing.
func TestRetryStatusesBesideClassifyResponse(t *testing.T) {
	says := policy.Unclassified
	for _, c := range []struct {
		says     policy.Class
		status   int
		attempts int
	}{
		{policy.Unclassified, 429, 1},
		{policy.Unclassified, 502, 1},
		{policy.Unclassified, 503, 3},
		{policy.Throttled, 429, 3},
		{policy.Transient, 502, 3},
		{policy.Permanent, 503, 1},
	} {
		says = c.says
		base := newScript(c.status)
		tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)),
			policyhttp.RetryStatuses(503), policyhttp.ClassifyResponse(func(*http.Response) policy.Class { return says }))
		_, _, call := roundTrip(t, tr)
		require.Equal(t, c.attempts, call.Attempts, "%v of a %d", c.says, c.status)
	}
}

func TestRetryNotIdempotent(t *testing.T) {
	for status, want := range map[int]int{429: 3, 503: 3, 500: 1, 504: 1} {
		base := newScript(status)
		tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)), policyhttp.RetryNotIdempotent(429, 503))
		response, err := tr.RoundTrip(request(t, "POST", "http://example.com/", strings.NewReader("order")))
		require.NoError(t, err)
		read(t, response)
		require.Equal(t, want, base.calls(), "status %d", status)
	}
}

// Where the body is gone, the server's answer is the last one, as for any other request.
func TestRetryNotIdempotentWithoutTheBody(t *testing.T) {
	for name, options := range map[string][]policyhttp.Option{
		"not kept": nil,
		"too long": {policyhttp.Buffer(3)},
	} {
		for _, method := range []string{"POST", "PUT"} {
			base := newScript(503)
			tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)), append(options, policyhttp.RetryNotIdempotent(503))...)
			response, err := tr.RoundTrip(request(t, method, "http://example.com/", once{strings.NewReader("order")}))
			require.NoError(t, err, name)
			require.Equal(t, "answer Service Unavailable", read(t, response))
			require.Equal(t, 1, base.calls())
			call, _ := policyhttp.Info(response, nil)
			require.Equal(t, 1, call.Attempts)
			require.ErrorIs(t, call.Reason, policyhttp.ErrBodyNotReplayable)
		}
	}
	call := func(layers ...policy.Layer) policyhttp.Call {
		tr := policyhttp.NewTransport(newScript(503), resilience.Compose(layers...), policyhttp.RetryNotIdempotent(503))
		response, err := tr.RoundTrip(request(t, "POST", "http://example.com/", strings.NewReader("order")))
		require.NoError(t, err)
		read(t, response)
		call, _ := policyhttp.Info(response, nil)
		return call
	}
	require.ErrorIs(t, call(atOnce(3)).Reason, retry.ErrExhausted)
	require.NoError(t, call().Reason, "nobody would have tried again")
}

// A server that is asked first, and says no, leaves the body as it was.
func TestRetryNotIdempotentBeforeTheBodyIsSent(t *testing.T) {
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	base := &http.Transport{ExpectContinueTimeout: time.Hour}
	defer base.CloseIdleConnections()
	r := request(t, "POST", server.URL, once{strings.NewReader("order")})
	r.Header.Set("Expect", "100-continue")
	response, err := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)), policyhttp.RetryNotIdempotent(503)).RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, "order", read(t, response))
	require.EqualValues(t, 2, calls.Load())
}

// A base transport may begin to read when its answer is there. The body is then promised to the next attempt.
func TestRetryNotIdempotentWhenTheBodyIsReadLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, late, calls := newBody("order"), error(nil), 0
		base := tripper(func(r *http.Request) (*http.Response, error) {
			if calls++; calls == 2 {
				return answer(200, r.Body), nil
			}
			time.AfterFunc(time.Second, func() {
				_, late = io.ReadAll(r.Body)
				_ = r.Body.Close()
			})
			return answer(503, http.NoBody), nil
		})
		again := resilience.Compose(atOnce(3, retry.Constant(2*time.Second), retry.NoJitter()))
		response, err := policyhttp.NewTransport(base, again, policyhttp.RetryNotIdempotent(503)).RoundTrip(request(t, "POST", "http://a.example", own))
		require.NoError(t, err)
		require.Equal(t, "order", read(t, response))
		require.ErrorIs(t, late, http.ErrBodyReadAfterClose)
		require.EqualValues(t, 1, own.closes.Load())
	})
}

func TestCheckAndDiscardInARoundTripOfOnesOwn(t *testing.T) {
	base := newScript(503, 503, 503)
	get := func(ctx context.Context) (*http.Response, error) {
		return base.RoundTrip(request(t, "GET", "http://example.com/", nil))
	}
	backend := resilience.Compose(atOnce(3, retry.OnDiscard(policyhttp.Discard)))
	response, permit, err := resilience.Open(t.Context(), backend, policy.Check(get, policyhttp.Check))
	failed, ok := errors.AsType[*policyhttp.Error](err)
	require.True(t, ok)
	require.Equal(t, 503, failed.Status)
	require.True(t, failed.Live())
	require.NotNil(t, permit)
	require.Equal(t, "answer Service Unavailable", read(t, response))
	require.True(t, permit.Done(nil))
	for _, b := range base.bodies {
		require.EqualValues(t, 1, b.closes.Load())
	}
	policyhttp.Discard(nil)
	policyhttp.Discard(42)
	policyhttp.Discard((*http.Response)(nil))
	policyhttp.Discard(&http.Response{})
}

func TestAResponseThatWasRetriedInsideIsFinalOutside(t *testing.T) {
	base := newScript(503)
	inner := transport(base, atOnce(3))
	_, _, call := roundTrip(t, transport(inner, atOnce(3)))
	require.Equal(t, 3, base.calls())
	require.Equal(t, 1, call.Attempts)

	base = newScript(503)
	client := &http.Client{Transport: transport(base, atOnce(3))}
	get := func(ctx context.Context) (*http.Response, error) {
		return client.Do(request(t, "GET", "http://example.com/", nil))
	}
	response, err := resilience.Do(t.Context(), atOnce(3), policy.Check(get, policyhttp.Check))
	require.Error(t, err)
	require.Equal(t, 3, base.calls())
	read(t, response)

	failing := 0
	refusing := tripper(func(*http.Request) (*http.Response, error) {
		failing++
		return nil, errors.New("reset")
	})
	_, err = transport(transport(refusing, atOnce(3)), atOnce(3)).RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.Error(t, err)
	require.Equal(t, 3, failing)
}
