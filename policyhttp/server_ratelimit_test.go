package policyhttp_test

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
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
)

func TestRateLimitHeaders(t *testing.T) {
	t.Run("a limiter per key", func(t *testing.T) {
		testRateLimitHeaders(t, func() policy.Guard { return ratelimit.NewPerKey(0.5, 3, policyhttp.Key, ratelimit.Name("client")) })
	})
	t.Run("a registry of limiters", func(t *testing.T) {
		testRateLimitHeaders(t, func() policy.Guard {
			return keyed.By(policyhttp.Key, keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(0.5, 3, ratelimit.Name("client")) }))
		})
	})
}

func testRateLimitHeaders(t *testing.T, newClients func() policy.Guard) {
	synctest.Test(t, func(t *testing.T) {
		pipeline := resilience.Compose(newClients(), ratelimit.New(1000, 50, ratelimit.Name("all")))
		draft := policyhttp.Handler(status(200), pipeline, policyhttp.RateLimitHeaders(policyhttp.Draft10))
		legacy := policyhttp.Handler(status(200), pipeline, policyhttp.RateLimitHeaders(policyhttp.Legacy))
		none := policyhttp.Handler(status(200), pipeline)

		response := ask(draft, from("192.0.2.1:1"))
		require.Equal(t, `"client";q=3;w=6`, response.Header.Get("RateLimit-Policy"))
		require.Equal(t, `"client";r=2;t=2`, response.Header.Get("RateLimit"))

		response = ask(legacy, from("192.0.2.1:1"))
		require.Equal(t, "3", response.Header.Get("X-RateLimit-Limit"))
		require.Equal(t, "1", response.Header.Get("X-RateLimit-Remaining"))
		require.Equal(t, "4", response.Header.Get("X-RateLimit-Reset"))

		response = ask(none, from("192.0.2.1:1"))
		require.Equal(t, 200, response.StatusCode)
		for name := range response.Header {
			require.NotContains(t, strings.ToLower(name), "ratelimit")
		}

		response = ask(draft, from("192.0.2.1:1"))
		require.Equal(t, 429, response.StatusCode)
		require.Equal(t, `"client";q=3;w=6`, response.Header.Get("RateLimit-Policy"))
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Equal(t, `"client";r=0;t=`+strconv.Itoa(seconds), response.Header.Get("RateLimit"))
		require.GreaterOrEqual(t, seconds, 2)
		time.Sleep(time.Duration(seconds) * time.Second)
		require.Equal(t, 200, ask(draft, from("192.0.2.1:1")).StatusCode)
	})
}

// A limit per key is told for the key that it uses itself, of whatever type, be it policyhttp.Key or not.
func TestALimitWithAKeyOfItsOwnIsTold(t *testing.T) {
	type account struct{}
	accountOf := func(ctx context.Context) int { return ctx.Value(account{}).(int) }
	for name, newAccounts := range map[string]func() policy.Guard{
		"a limiter per key": func() policy.Guard { return ratelimit.NewPerKey(1, 5, accountOf, ratelimit.Name("account")) },
		"a registry": func() policy.Guard {
			return keyed.By(accountOf, keyed.New(func(int) *ratelimit.Limiter { return ratelimit.New(1, 5, ratelimit.Name("account")) }))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			addresses := ratelimit.NewPerKey(1, 9, policyhttp.Key, ratelimit.Name("address"))
			handler := policyhttp.Handler(status(200), resilience.Compose(addresses, newAccounts()), policyhttp.RateLimitHeaders(policyhttp.Draft10))
			for i := range 4 {
				request := from("192.0.2." + strconv.Itoa(i) + ":1")
				response := ask(handler, request.WithContext(context.WithValue(request.Context(), account{}, 7)))
				require.Equal(t, `"address";r=8;t=1, "account";r=`+strconv.Itoa(4-i)+`;t=`+strconv.Itoa(1+i), response.Header.Get("RateLimit"), name)
			}
		})
	}
}

// Two kinds of clients have two limits, and each kind costs nothing of the other: it is told only its own.
func TestALimitOfOthersIsNotTold(t *testing.T) {
	isCustomer := func(ctx context.Context) bool { return strings.HasPrefix(policyhttp.Key(ctx), "customer:") }
	customers := ratelimit.CostOf(func(ctx context.Context) int {
		if isCustomer(ctx) {
			return 1
		}
		return 0
	})
	strangers := ratelimit.CostOf(func(ctx context.Context) int {
		if isCustomer(ctx) {
			return 0
		}
		return 1
	})
	perKey := func(perSecond float64, burst int, options ...ratelimit.Option) policy.Layer {
		return ratelimit.NewPerKey(perSecond, burst, policyhttp.Key, options...)
	}
	registry := func(perSecond float64, burst int, options ...ratelimit.Option) policy.Layer {
		return keyed.By(policyhttp.Key, keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(perSecond, burst, options...) }))
	}
	single := func(perSecond float64, burst int, options ...ratelimit.Option) policy.Layer {
		return ratelimit.New(perSecond, burst, options...)
	}
	for name, limit := range map[string]func(float64, int, ...ratelimit.Option) policy.Layer{
		"per key": perKey, "registry": registry, "single": single,
	} {
		synctest.Test(t, func(t *testing.T) {
			handler := policyhttp.Handler(status(200), resilience.Compose(
				limit(100, 50, ratelimit.Name("customer"), customers), limit(1, 2, ratelimit.Name("stranger"), strangers),
			), policyhttp.RateLimitHeaders(policyhttp.Draft10), policyhttp.KeyBy(func(r *http.Request) string {
				if name := r.Header.Get("Customer"); name != "" {
					return "customer:" + name
				}
				return ""
			}))
			request := get()
			request.Header.Set("Customer", "ada")
			require.Equal(t, `"customer";q=50;w=1`, ask(handler, request).Header.Get("RateLimit-Policy"), name)
			for _, want := range []int{200, 200, 429} {
				response := ask(handler, get())
				require.Equal(t, want, response.StatusCode)
				require.Equal(t, `"stranger";q=2;w=2`, response.Header.Get("RateLimit-Policy"), name)
			}
		})
	}
}

// The t of a RateLimit field is never later than Retry-After, whoever refused.
func TestRetryAfterIsNotEarlierThanTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1)
		_, err := policy.Acquire(t.Context(), slots)
		require.NoError(t, err)
		limiter := ratelimit.New(0.01, 10)
		handler := policyhttp.Handler(status(200), resilience.Compose(limiter, slots), policyhttp.RateLimitHeaders(policyhttp.Draft10))
		_, err = policy.Acquire(t.Context(), limiter)
		require.NoError(t, err)
		response := ask(handler, get())
		require.Equal(t, 503, response.StatusCode)
		require.Equal(t, `"default";r=9;t=`+response.Header.Get("Retry-After"), response.Header.Get("RateLimit"))
	})
}

func TestWhichQuotasAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
		handler := func(format policyhttp.RateLimitFormat, layers ...policy.Layer) http.Header {
			return ask(policyhttp.Handler(status(200), resilience.Compose(layers...), policyhttp.RateLimitHeaders(format)), get()).Header
		}
		header := handler(policyhttp.Draft10, ratelimit.New(10, 20, ratelimit.Name(`a"\`+"\n\u00e9")), ratelimit.New(1, 5), keyed.By(policyhttp.Key, hosts))
		require.Equal(t, `"a\"\\__";q=20;w=2, "default";q=5;w=5`, header.Get("RateLimit-Policy"))
		require.Equal(t, `"a\"\\__";r=19;t=1, "default";r=4;t=1`, header.Get("RateLimit"))
		header = handler(policyhttp.Legacy, ratelimit.New(10, 20), ratelimit.New(1, 5))
		require.Equal(t, "5", header.Get("X-RateLimit-Limit"), "the one with least left")

		var layers []policy.Layer
		for range 8 {
			layers = append(layers, policy.At(policy.StageRateLimit-1, bulkhead.New(10)))
		}
		header = handler(policyhttp.Draft10, append(layers, ratelimit.New(1, 5))...)
		require.Equal(t, `"default";r=4;t=1`, header.Get("RateLimit"), "however many layers are no limits")
		for range 9 {
			layers = append(layers, ratelimit.New(1, 5))
		}
		require.Equal(t, 8, strings.Count(handler(policyhttp.Draft10, layers...).Get("RateLimit"), "default"))

		for name, layer := range map[string]policy.Layer{
			"in shadow": ratelimit.New(1, 5, ratelimit.Shadow()),
			"no limit":  ratelimit.New(math.Inf(1), 0),
			"no quota":  bulkhead.New(1),
		} {
			require.Empty(t, handler(policyhttp.Draft10, layer).Values("RateLimit"), name)
			require.Empty(t, handler(policyhttp.Legacy, layer).Values("X-RateLimit-Limit"), name)
		}
		header = handler(policyhttp.Draft10, ratelimit.New(0, 5))
		require.Equal(t, `"default";q=5`, header.Get("RateLimit-Policy"), "a bucket that is never filled has no window")
		require.Equal(t, `"default";r=4`, header.Get("RateLimit"))
	})
}

// A handler sees the fields and can change them; a limit is told as it is after the request was admitted.
func TestAHandlerCanDropTheFields(t *testing.T) {
	handler := policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("RateLimit-Policy")
		w.Header().Del("RateLimit")
	}), resilience.Compose(ratelimit.New(1, 5)), policyhttp.RateLimitHeaders(policyhttp.Draft10))
	require.Empty(t, ask(handler, get()).Header.Values("RateLimit"))
}

// Whatever a limiter is called, the fields stay on one line, in ASCII, and of bounded length.
func FuzzRateLimitHeaders(f *testing.F) {
	f.Add("client")
	f.Add("a\r\nSet-Cookie: x=1")
	f.Add(strings.Repeat(`"\`, 1000))
	f.Fuzz(func(t *testing.T, name string) {
		header := ask(policyhttp.Handler(status(200), resilience.Compose(ratelimit.New(1, 5, ratelimit.Name(name))),
			policyhttp.RateLimitHeaders(policyhttp.Draft10)), get()).Header
		value := header.Get("RateLimit")
		require.LessOrEqual(t, len(value), 200)
		require.True(t, strings.HasPrefix(value, `"`))
		require.True(t, strings.HasSuffix(value, `";r=4;t=1`), value)
		inside := strings.TrimSuffix(strings.TrimPrefix(value, `"`), `";r=4;t=1`)
		for i := 0; i < len(inside); i++ {
			require.GreaterOrEqual(t, inside[i], byte(' '))
			require.LessOrEqual(t, inside[i], byte('~'))
			if inside[i] == '\\' {
				i++
				require.Less(t, i, len(inside))
				require.Contains(t, `"\`, string(inside[i]))
				continue
			}
			require.NotEqual(t, byte('"'), inside[i])
		}
	})
}
