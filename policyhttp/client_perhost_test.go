package policyhttp_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
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
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestPerHostKeepsHostsApart(t *testing.T) {
	hosts := policyhttp.PerHost(func(host string) *resilience.Pipeline {
		return resilience.Compose(resilience.Name(host), breaker.New(breaker.Name(host), breaker.ConsecutiveFailures(1)))
	})
	base := tripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Hostname() == "sick.example" {
			return nil, errors.New("connection refused")
		}
		return answer(200, http.NoBody), nil
	})
	client := &http.Client{Transport: policyhttp.NewTransport(base, hosts)}
	get := func(url string) error {
		response, err := client.Do(request(t, "GET", url, nil))
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	}
	require.NotErrorIs(t, get("http://sick.example/"), breaker.ErrOpen)
	for _, same := range []string{"http://sick.example/other", "http://SICK.example", "http://sick.example:80/", "http://sick.example.:80/"} {
		require.ErrorIs(t, get(same), breaker.ErrOpen, same)
	}
	for _, other := range []string{"https://sick.example/", "http://sick.example:8080/"} {
		require.NotErrorIs(t, get(other), breaker.ErrOpen, other)
	}
	require.NoError(t, get("http://well.example/"))
	names := map[string]int{}
	for host, pipeline := range hosts.All() {
		require.Equal(t, host, pipeline.Name())
		names[host]++
	}
	require.Equal(t, map[string]int{"sick.example": 2, "sick.example:8080": 1, "well.example": 1}, names)
	require.Equal(t, policyhttp.OtherHosts, hosts.Current().Name())
	require.NotEmpty(t, hosts.Report().Values)
}

func TestA11_TenThousandHosts(t *testing.T) {
	hosts := policyhttp.PerHost(func(host string) *resilience.Pipeline {
		return resilience.Compose(breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Hour)))
	}, keyed.Max(100))
	base := tripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Host, "sick") {
			return nil, errors.New("connection refused")
		}
		return answer(200, http.NoBody), nil
	})
	tr := policyhttp.NewTransport(base, hosts)
	for i := range 10 {
		_, err := tr.RoundTrip(request(t, "GET", fmt.Sprintf("http://sick%d.example/", i), nil))
		require.Error(t, err)
	}
	r := request(t, "GET", "http://example.com/", nil)
	for i := range 10_000 {
		r.URL.Host = fmt.Sprintf("host%d.example", i)
		response, err := tr.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	for i := range 10 {
		_, err := tr.RoundTrip(request(t, "GET", fmt.Sprintf("http://sick%d.example/", i), nil))
		require.ErrorIs(t, err, breaker.ErrOpen)
	}
	count := 0
	for range hosts.All() {
		count++
	}
	require.LessOrEqual(t, count, 100)
}

func TestPerHostIsRefused(t *testing.T) {
	require.PanicsWithError(t, "policyhttp.PerHost: make is nil", func() { policyhttp.PerHost(nil) })
	require.Panics(t, func() { policyhttp.PerHost(func(string) *resilience.Pipeline { return nil }) })
	require.Panics(t, func() {
		policyhttp.PerHost(func(string) *resilience.Pipeline { return resilience.Compose() }, keyed.Max(0))
	})
}

func TestHost(t *testing.T) {
	require.Empty(t, policyhttp.Host(t.Context()))
	var got string
	base := tripper(func(r *http.Request) (*http.Response, error) {
		got = policyhttp.Host(r.Context())
		return answer(200, http.NoBody), nil
	})
	for given, want := range map[string]string{
		"http://Example.COM/":         "example.com",
		"http://example.com:80/":      "example.com",
		"https://example.com:443/":    "example.com",
		"https://example.com:80/":     "example.com:80",
		"http://example.com.:8080/":   "example.com:8080",
		"http://example.com./":        "example.com",
		"http://example.com:/":        "example.com",
		"http://[::1]:80/":            "[::1]",
		"http://[FE80::1%25en0]:81/":  "[fe80::1%en0]:81",
		"http://user:secret@a.b:80/x": "a.b",
	} {
		response, err := transport(base).RoundTrip(request(t, "GET", given, nil))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, got, given)
	}
}

func FuzzHosts(f *testing.F) {
	for _, seed := range []string{"example.com", "EXAMPLE.com:80", "a.:443", "[::1]:80", "", ":", ".", "..", "ä.example", "%", "*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name := func(u *url.URL) (key string) {
			hosts := policyhttp.PerHost(func(h string) *resilience.Pipeline {
				key = h
				return resilience.Compose()
			})
			if hosts.PipelineFor(&http.Request{URL: u}) == nil {
				t.Fatal("no pipeline")
			}
			return key
		}
		for _, scheme := range []string{"http", "https"} {
			once := name(&url.URL{Scheme: scheme, Host: host})
			if strings.ContainsAny(once, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || len(once) > max(len(host), 1) {
				t.Fatalf("%q became %q", host, once)
			}
			if again := name(&url.URL{Scheme: strings.ToUpper(scheme), Host: strings.ToUpper(once)}); isASCII(host) && again != once &&
				!strings.HasSuffix(once, ".") && !strings.HasSuffix(once, ":") && !strings.Contains(once, ".:") &&
				!strings.HasSuffix(once, ":80") && !strings.HasSuffix(once, ":443") {
				t.Fatalf("%q became %q and then %q", host, once, again)
			}
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func TestA6_PauseHost(t *testing.T) {
	for _, pausing := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var first, second atomic.Int64
			base := tripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "first.example" {
					if first.Add(1) == 1 {
						return answer(429, http.NoBody, "Retry-After", "2"), nil
					}
					return answer(200, http.NoBody), nil
				}
				second.Add(1)
				return answer(200, http.NoBody), nil
			})
			var layers []policy.Layer
			if pausing {
				layers = append(layers, policyhttp.PauseHost(time.Minute))
			}
			tr := transport(base, layers...)
			_, err := tr.RoundTrip(request(t, "GET", "http://first.example/", nil))
			require.NoError(t, err)
			ask := func(host string) (refused int) {
				for range 50 {
					response, err := tr.RoundTrip(request(t, "GET", "http://"+host+"/", nil))
					if err == nil {
						require.NoError(t, response.Body.Close())
						continue
					}
					require.ErrorIs(t, err, policyhttp.ErrPaused)
					require.ErrorIs(t, err, policy.ErrRejected)
					require.Equal(t, "http.paused", policy.Code(err))
					wait, ok := policy.RetryAfter(err)
					require.True(t, ok)
					require.LessOrEqual(t, wait, 2*time.Second)
					refused++
				}
				return refused
			}
			time.Sleep(2*time.Second - 1)
			if !pausing {
				require.Zero(t, ask("first.example"))
				return
			}
			require.Equal(t, 50, ask("first.example"))
			require.EqualValues(t, 1, first.Load())
			require.Zero(t, ask("second.example"))
			require.EqualValues(t, 50, second.Load())
			time.Sleep(1)
			require.Zero(t, ask("first.example"))
			require.EqualValues(t, 51, first.Load())
		})
	}
}

func TestPauseHostIsBoundedAndCanBeWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pause := policyhttp.PauseHost(10 * time.Second)
		base := newScript(503, 200)
		base.header = []string{"Retry-After", "9223372036854775807"}
		impatient := transport(base, pause)
		response, err := impatient.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		read(t, response)
		require.False(t, pause.Idle())
		start := time.Now()
		patient := transport(base, retry.New(retry.RetryRejections(policyhttp.ErrPaused), retry.NoJitter()), pause)
		response, err = patient.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, time.Since(start))
		read(t, response)
		require.True(t, pause.Idle())
		require.Equal(t, "host pause 10s", pause.String())
		value, ok := pause.Report().Value("pauses", "")
		require.True(t, ok)
		require.EqualValues(t, 1, value.Number)
	})
	require.Panics(t, func() { policyhttp.PauseHost(0) })
}

func TestPauseHostKeepsTheRulesOfGuards(t *testing.T) {
	policytest.Guard(t, func() policy.Guard { return policyhttp.PauseHost(time.Minute) })
}

func TestA10_TheDeadlineHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "X-Envoy-Expected-Rq-Timeout-Ms"
		var got []string
		base := tripper(func(r *http.Request) (*http.Response, error) {
			got = append(got, strings.Join(r.Header.Values(name), ","))
			time.Sleep(300 * time.Millisecond)
			return answer(503, http.NoBody), nil
		})
		send := func(ctx context.Context, own string, opts []policyhttp.Option, layers ...policy.Layer) []string {
			got = nil
			r := request(t, "GET", "http://example.com/", nil).WithContext(ctx)
			if own != "" {
				r.Header.Set(name, own)
			}
			response, err := policyhttp.NewTransport(base, resilience.Compose(layers...), opts...).RoundTrip(r)
			if err == nil {
				require.NoError(t, response.Body.Close())
			}
			require.Equal(t, own, r.Header.Get(name))
			return got
		}
		with := []policyhttp.Option{policyhttp.DeadlineHeader("x-envoy-expected-rq-timeout-ms")}
		total := timeout.Total(time.Second)
		ctx := t.Context()
		require.Equal(t, []string{"", "", ""}, send(ctx, "", nil, total, atOnce(3)), "never by default")
		require.Equal(t, []string{"1000", "700", "400"}, send(ctx, "", with, total, atOnce(3)))
		require.Equal(t, []string{"500", "500", "400"}, send(ctx, "", with, total, atOnce(3), timeout.PerAttempt(500*time.Millisecond)))
		require.Equal(t, []string{""}, send(ctx, "", with), "without a limit")
		require.Equal(t, []string{"77"}, send(ctx, "77", with, total))
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond+500*time.Microsecond)
		defer cancel()
		require.Equal(t, []string{"300", "1"}, send(ctx, "", with, atOnce(2)))
	})
}

// What the header says is the limit of the pipeline that the call began with, whatever the source has come to since.
func TestTheDeadlineHeaderIsThatOfTheCallsPipeline(t *testing.T) {
	limited := func(limit time.Duration) *resilience.Pipeline {
		return resilience.Compose(atOnce(2), timeout.PerAttempt(limit))
	}
	source := &replaceable{}
	source.Store(limited(2 * time.Second))
	var got []string
	base := tripper(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.Header.Get("X-Left"))
		source.Store(limited(time.Second))
		return answer(503, http.NoBody), nil
	})
	tr := policyhttp.NewTransport(base, source, policyhttp.DeadlineHeader("X-Left"))
	for range 2 {
		response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	require.Equal(t, []string{"2000", "2000", "1000", "1000"}, got)
}

func TestA2_CloseIdleConnectionsReachesTheBase(t *testing.T) {
	base := &closing{RoundTripper: newScript(200)}
	(&http.Client{Transport: transport(base)}).CloseIdleConnections()
	require.Equal(t, 1, base.closes)
	(&http.Client{Transport: transport(newScript(200))}).CloseIdleConnections()
	(&http.Client{Transport: transport(transport(base))}).CloseIdleConnections()
	require.Equal(t, 2, base.closes)
}

type closing struct {
	http.RoundTripper
	closes int
}

func (c *closing) CloseIdleConnections() { c.closes++ }

// replaceable is a source whose pipeline is replaced while it is in use.
type replaceable struct {
	atomic.Pointer[resilience.Pipeline]
}

func (r *replaceable) Current() *resilience.Pipeline { return r.Load() }

func TestASourceThatIsReplaced(t *testing.T) {
	source := &replaceable{}
	slots := bulkhead.New(1)
	source.Store(resilience.Compose(slots))
	base := newScript(503)
	tr := policyhttp.NewTransport(base, source)
	response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	source.Store(resilience.Compose(atOnce(3)))
	status, _, call := roundTrip(t, tr)
	require.Equal(t, 503, status)
	require.Equal(t, 3, call.Attempts)
	read(t, response) // a call ends with the pipeline that it began with
	require.Zero(t, slots.Snapshot().InFlight)
}

func TestStandard(t *testing.T) {
	require.Equal(t, `total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 10s`,
		policyhttp.Standard("users").String())
	require.Equal(t, "users", policyhttp.Standard("users").Name())
	shared := breaker.New(breaker.Name("shared"))
	p := policyhttp.Standard("users",
		timeout.Total(5*time.Second), timeout.PerAttempt(time.Second), retry.New(retry.Attempts(5)), shared,
		ratelimit.New(100, 10), resilience.Name("other"))
	require.Equal(t, `total timeout 5s > retry 5 > breaker "shared" > rate limit 100/s burst 10 > bulkhead "users" 1000 > attempt timeout 1s`,
		p.String())
	require.Equal(t, "other", p.Name())
	require.PanicsWithError(t, "policyhttp.Standard: the name is empty", func() { policyhttp.Standard("") })
}

// A timeout that is given changes what the preset's other layers derive from it: none of these calls may need a second
// option to be accepted.
func TestStandardFitsAGivenTimeout(t *testing.T) {
	for _, tc := range []struct {
		given []policy.Layer
		want  string
	}{
		{[]policy.Layer{timeout.Total(6 * time.Second)},
			`total timeout 6s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 2s`},
		{[]policy.Layer{policy.At(policy.StageTotalTimeout, timeout.Total(6*time.Second))},
			`total timeout 6s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 2s`},
		{[]policy.Layer{timeout.Total(time.Minute)},
			`total timeout 1m0s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 10s`},
		{[]policy.Layer{timeout.PerAttempt(20 * time.Second)},
			`total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 20s`},
		{[]policy.Layer{timeout.PerAttempt(20*time.Second + 1)}, // the window is no multiple of its buckets
			`total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 20.000000001s`},
		{[]policy.Layer{timeout.PerAttempt(30*time.Second - 1)},
			`total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 29.999999999s`},
		{[]policy.Layer{timeout.Total(2)},
			`total timeout 2ns > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 1ns`},
		{[]policy.Layer{timeout.Total(math.MaxInt64), timeout.PerAttempt(10_000 * time.Hour)},
			`total timeout 2562047h47m16.854775807s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 10000h0m0s`},
		{[]policy.Layer{policy.At(policy.StageChaos, timeout.PerAttempt(2*time.Second))}, // another one, inside the preset's
			`total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 10s > attempt timeout 2s`},
		{[]policy.Layer{policy.At(policy.StageChaos, timeout.Total(5*time.Second))}, // of each attempt, and its body
			`total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 10s > total timeout 5s`},
		{[]policy.Layer{policy.At(policy.StageBulkhead, timeout.Total(6*time.Second))},
			`total timeout 30s > retry "users" 3 > breaker "users" > total timeout 6s > attempt timeout 2s`},
		{[]policy.Layer{policy.At(policy.StageAttemptTimeout, timeout.Total(5*time.Second))},
			`total timeout 30s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > total timeout 5s`},
		{[]policy.Layer{timeout.Total(6 * time.Second), policyhttp.StandardBreaker("users", breaker.Successes(2))},
			`total timeout 6s > retry "users" 3 > breaker "users" > bulkhead "users" 1000 > attempt timeout 2s`},
	} {
		require.Equal(t, tc.want, policyhttp.Standard("users", tc.given...).String())
	}
	require.PanicsWithError(t, "resilience.Compose: attempt timeout 1m0s: must be below the total timeout 30s around it",
		func() { policyhttp.Standard("users", timeout.PerAttempt(time.Minute)) }, "how long in all is the caller's decision")
	require.PanicsWithError(t, "resilience.Compose: attempt timeout 1ns: must be below the total timeout 1ns around it",
		func() { policyhttp.Standard("users", timeout.Total(1)) })
}

func TestOptionsAreChecked(t *testing.T) {
	err := policyhttp.Validate(policyhttp.RetryStatuses(200), policyhttp.RetryNotIdempotent(600), policyhttp.ClassifyResponse(nil),
		policyhttp.Route(nil), policyhttp.Buffer(0), policyhttp.DeadlineHeader("a b"), nil)
	var problems *policy.ConfigError
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems.Problems, 7)
	for i, want := range []string{"option 7 is nil", "RetryStatuses(200)", "RetryNotIdempotent(600)", "ClassifyResponse", "Route", "Buffer(0)", `DeadlineHeader("a b")`} {
		require.Contains(t, err.Error(), want, i)
	}
	require.NoError(t, policyhttp.Validate())
	require.NoError(t, policyhttp.Validate(policyhttp.RetryStatuses(), policyhttp.Buffer(1)))
	require.Panics(t, func() { policyhttp.NewTransport(nil, nil) })
	require.Panics(t, func() { policyhttp.NewTransport(nil, (*resilience.Pipeline)(nil)) })
	require.PanicsWithError(t, "policyhttp.NewTransport: a Pipeline must be made with Compose",
		func() { policyhttp.NewTransport(nil, &resilience.Pipeline{}) })
	require.PanicsWithError(t, "policyhttp.NewTransport: *policyhttp_test.replaceable: the pipeline in force is nil",
		func() { policyhttp.NewTransport(nil, &replaceable{}) })
	require.PanicsWithError(t, "policyhttp.PerHost: a Pipeline must be made with Compose",
		func() { policyhttp.PerHost(func(string) *resilience.Pipeline { return new(resilience.Pipeline) }) })
	require.Panics(t, func() { policyhttp.NewTransport(nil, resilience.Compose(), policyhttp.Buffer(-1)) })
	require.Panics(t, func() { _, _ = (&policyhttp.Transport{}).RoundTrip(request(t, "GET", "http://example.com/", nil)) })
}
