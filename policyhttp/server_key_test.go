package policyhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
)

func from(addr string) *http.Request {
	r := get()
	r.RemoteAddr = addr
	return r
}

func TestRemoteAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:1234":                 "192.0.2.1",
		"192.0.2.1:4321":                 "192.0.2.1",
		"192.0.2.1":                      "192.0.2.1",
		"[::ffff:192.0.2.1]:80":          "192.0.2.1",
		"[64:ff9b::192.0.2.1]:80":        "192.0.2.1",
		"[64:ff9b::c000:202]:80":         "192.0.2.2",
		"[64:ff9b:0:1::c000:202]:80":     "64:ff9b:0:1::/64",
		"[64:ff9b::1:c000:202]:80":       "64:ff9b::/64",
		"[2002:c000:201::1]:80":          "2002:c000:201::/64",
		"[2001:db8:1:2:3:4:5:6]:80":      "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:81":       "2001:db8:1:2::/64",
		"2001:db8:1:2::7":                "2001:db8:1:2::/64",
		"[2001:db8:1:2::7]":              "2001:db8:1:2::/64",
		"[2001:db8:1:2::7%evil1]:80":     "2001:db8:1:2::/64",
		"[2001:db8:1:3::]:80":            "2001:db8:1:3::/64",
		"[::1]:80":                       "::/64",
		"[fe80::1%eth0]:80":              "fe80::/64%eth0",
		"[fe80::2%eth0]:81":              "fe80::/64%eth0",
		"[fe80::1%eth1]:80":              "fe80::/64%eth1",
		"[fe80::1]:80":                   "fe80::/64",
		"":                               "",
		"@":                              "@",
		"pipe":                           "pipe",
		"/run/app.sock":                  "/run/app.sock",
		"host.example:80":                "host.example",
		"192.0.2.256:80":                 "192.0.2.256",
		strings.Repeat("x", 1000) + ":1": strings.Repeat("x", 64),
	} {
		require.Equal(t, want, policyhttp.RemoteAddr(from(addr)), addr)
	}
}

func FuzzRemoteAddr(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:80", "[::1]:80", "[fe80::1%eth0]:80", "x", "[", "]:", "[]:1", "%", "::%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		key := policyhttp.RemoteAddr(from(addr))
		require.LessOrEqual(t, len(key), 128)
		if parsed, err := netip.ParseAddrPort(addr); err == nil { // the port does not matter
			other := netip.AddrPortFrom(parsed.Addr(), parsed.Port()^1)
			require.Equal(t, key, policyhttp.RemoteAddr(from(other.String())))
		}
	})
}

// keyOf returns what Key says inside a Handler.
func keyOf(t *testing.T, r *http.Request, options ...policyhttp.HandlerOption) (key string) {
	t.Helper()
	handler := policyhttp.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		key = policyhttp.Key(r.Context())
	}), resilience.Compose(), options...)
	require.Equal(t, 200, ask(handler, r).StatusCode)
	return key
}

func TestKey(t *testing.T) {
	token := policyhttp.KeyBy(func(r *http.Request) string { return r.Header.Get("X-Token") })
	r := from("192.0.2.1:80")
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	r.Header.Set("X-Real-Ip", "198.51.100.1")
	r.Header.Set("Forwarded", "for=198.51.100.1")
	require.Equal(t, "192.0.2.1", keyOf(t, r), "no header is believed")
	require.Equal(t, "192.0.2.1", keyOf(t, r, token), "no token")
	r.Header.Set("X-Token", "a")
	require.Equal(t, "a", keyOf(t, r, token))
	long := map[string]bool{}
	for _, end := range []string{"a", "b"} {
		r.Header.Set("X-Token", strings.Repeat("x", 256)+end)
		key := keyOf(t, r, token)
		require.Len(t, key, 64)
		long[key] = true
	}
	require.Len(t, long, 2, "long keys are different clients")
	require.Empty(t, policyhttp.Key(context.Background()))
}

func TestKeyIsComputedOnce(t *testing.T) {
	calls := 0
	handler := policyhttp.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() { _ = policyhttp.Key(r.Context()) })
		}
		group.Wait()
	}), resilience.Compose(), policyhttp.KeyBy(func(*http.Request) string { calls++; return "x" }))
	ask(handler, get())
	require.Equal(t, 1, calls)
	ask(policyhttp.Handler(status(200), resilience.Compose(), policyhttp.KeyBy(func(*http.Request) string { calls++; return "x" })), get())
	require.Equal(t, 1, calls, "not when nobody asks")
}

// perClient returns a front door with a limit per client.
func perClient(burst int, options ...keyed.Option) (*resilience.Pipeline, *keyed.Registry[string, *ratelimit.Limiter]) {
	clients := keyed.New(func(string) *ratelimit.Limiter {
		return ratelimit.New(1, burst, ratelimit.Name("client"))
	}, options...)
	return resilience.Compose(keyed.By(policyhttp.Key, clients)), clients
}

func TestALimitPerClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipeline, clients := perClient(2)
		handler := policyhttp.Handler(status(200), pipeline)
		for _, want := range []int{200, 200, 429, 429} {
			require.Equal(t, want, ask(handler, from("192.0.2.1:1")).StatusCode)
		}
		require.Equal(t, 200, ask(handler, from("192.0.2.2:1")).StatusCode, "another client has its own quota")
		for i, want := range []int{200, 200, 429, 429} {
			require.Equal(t, want, ask(handler, from(fmt.Sprintf("[2001:db8::%x]:1", i))).StatusCode, "addresses of one network")
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, 200, ask(handler, from("192.0.2.1:9")).StatusCode)
		require.Equal(t, 3, clients.Len())
	})
}

// A flood of new clients costs bounded memory and gives no client a second quota.
func TestAFloodOfClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipeline, clients := perClient(2, keyed.Max(100))
		handler := policyhttp.Handler(status(200), pipeline)
		require.Equal(t, 200, ask(handler, from("192.0.2.1:1")).StatusCode)
		require.Equal(t, 200, ask(handler, from("192.0.2.1:1")).StatusCode)
		for i := range 1000 {
			ask(handler, from(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)))
		}
		require.LessOrEqual(t, clients.Len(), 100)
		require.Equal(t, 429, ask(handler, from("192.0.2.1:1")).StatusCode, "the exhausted one is not forgotten")
	})
}

// The same with a bucket for each client, which needs no policy for each.
func TestABucketPerClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients := ratelimit.NewPerKey(1, 2, policyhttp.Key, ratelimit.Name("client"), ratelimit.Keys(1))
		handler := policyhttp.Handler(status(200), resilience.Compose(clients))
		for _, want := range []int{200, 200, 429, 429} {
			require.Equal(t, want, ask(handler, from("192.0.2.1:1")).StatusCode)
		}
		require.Equal(t, 200, ask(handler, from("192.0.2.2:1")).StatusCode, "another client has its own quota")
		for i, want := range []int{200, 200, 429, 429} {
			require.Equal(t, want, ask(handler, from(fmt.Sprintf("[2001:db8::%x]:1", i))).StatusCode, "addresses of one network")
		}
		for i := range 2000 { // a flood of clients gives none a second quota
			ask(handler, from(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)))
		}
		require.Positive(t, clients.Snapshot().Overflowed)
		require.Equal(t, 429, ask(handler, from("192.0.2.1:1")).StatusCode, "the exhausted one is not forgotten")
		time.Sleep(2 * time.Second)
		require.Equal(t, 200, ask(handler, from("192.0.2.1:9")).StatusCode)
	})
}
