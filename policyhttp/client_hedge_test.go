package policyhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// hedged is a hedge after 10 ms without a budget that matters.
func hedged(opts ...hedge.Option) *hedge.Hedge {
	return hedge.New(append([]hedge.Option{hedge.After(10 * time.Millisecond), hedge.Limit(1, 1e6)}, opts...)...)
}

func TestA9_UH16_TheWinnerIsReadableAndTheLoserClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 512 << 10
		var calls atomic.Int64
		n := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				time.Sleep(time.Second) // answers when the other one has won
			}
			_, _ = io.WriteString(w, strings.Repeat("x", size))
		})
		slots := bulkhead.New(2)
		tr := transport(n.base, timeout.Total(time.Minute), hedged(), slots, timeout.PerAttempt(5*time.Second))
		response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, slots.Snapshot().InFlight)
		require.Len(t, read(t, response), size)
		require.Zero(t, slots.Snapshot().InFlight)
		call, _ := policyhttp.Info(response, nil)
		require.Equal(t, 2, call.Attempts)
		require.Empty(t, call.Waits)
		n.close()
	})
}

// TestA9_LosersOfEveryKindAreClosed lets two attempts race, each ending in one of several ways at one of several times.
func TestA9_LosersOfEveryKindAreClosed(t *testing.T) {
	type end struct {
		status int // 0: an error
		after  time.Duration
		deaf   bool // does not look at its context
	}
	var ends []end
	for _, status := range []int{0, 200, 404, 503} {
		for _, after := range []time.Duration{5 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond, time.Second} {
			ends = append(ends, end{status, after, false}, end{status, after, true})
		}
	}
	for i, first := range ends {
		for j, second := range ends {
			if !whole && (i+j)%4 != 0 {
				continue
			}
			t.Run(fmt.Sprint(first, second), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var calls atomic.Int64
					var mu sync.Mutex
					var bodies []*body
					base := tripper(func(r *http.Request) (*http.Response, error) {
						e := first
						if calls.Add(1) > 1 {
							e = second
						}
						if e.deaf {
							time.Sleep(e.after)
						} else {
							select {
							case <-time.After(e.after):
							case <-r.Context().Done():
								return nil, r.Context().Err()
							}
						}
						if e.status == 0 {
							return nil, errors.New("reset")
						}
						b := newBody("x")
						mu.Lock()
						bodies = append(bodies, b)
						mu.Unlock()
						return answer(e.status, b), nil
					})
					slots, judge := bulkhead.New(10), breaker.New()
					for _, opts := range [][]hedge.Option{nil, {hedge.AfterFailure()}, {hedge.OnDiscard(policyhttp.Discard)}} {
						calls.Store(0)
						tr := transport(base, atOnce(2), hedged(opts...), judge, slots)
						response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
						require.True(t, (response == nil) != (err == nil))
						if err == nil {
							require.Equal(t, "x", read(t, response))
						}
						time.Sleep(time.Minute)
						require.Zero(t, slots.Snapshot().InFlight)
						for _, b := range bodies {
							require.Positive(t, b.closes.Load())
						}
					}
				})
			})
		}
	}
}

func TestHedgesLeaveWhatIsNotIdempotentAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send := func(r *http.Request, opts ...policyhttp.Option) int {
			var calls atomic.Int64
			slow := tripper(func(*http.Request) (*http.Response, error) {
				calls.Add(1)
				time.Sleep(time.Second)
				return answer(200, newBody("x")), nil
			})
			response, err := policyhttp.NewTransport(slow, resilience.Compose(hedged()), opts...).RoundTrip(r)
			require.NoError(t, err)
			read(t, response)
			time.Sleep(time.Minute)
			return int(calls.Load())
		}
		require.Equal(t, 2, send(request(t, "GET", "http://example.com/", nil)))
		require.Equal(t, 1, send(request(t, "POST", "http://example.com/", nil)))
		require.Equal(t, 2, send(request(t, "PUT", "http://example.com/", strings.NewReader("x"))))
		require.Equal(t, 1, send(request(t, "PUT", "http://example.com/", once{strings.NewReader("x")})))
		known := request(t, "PUT", "http://example.com/", once{strings.NewReader("x")})
		known.ContentLength = 1
		require.Equal(t, 2, send(known, policyhttp.Buffer(10)))
		require.Equal(t, 1, send(request(t, "PUT", "http://example.com/", once{strings.NewReader("x")}), policyhttp.Buffer(10)))
	})
}

// TestFault201_TheRequestIsNotMutated has a base transport that changes all it can, in attempts at the same time.
func TestFault201_UH4_TheRequestIsNotMutated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen sync.Map
		var calls atomic.Int64
		base := tripper(func(r *http.Request) (*http.Response, error) {
			if _, twice := seen.LoadOrStore(r, true); twice {
				return nil, errors.New("the same request twice")
			}
			if got := r.Header.Values("X-Attempt"); len(got) > 0 {
				return nil, fmt.Errorf("fields of another attempt: %v", got)
			}
			r.Header.Add("X-Attempt", "1")
			r.Header.Set("Accept", "changed")
			r.URL.Host, r.URL.Path = "changed", "changed"
			r.Host, r.Method = "changed", "changed"
			r.Header["Trailer"] = nil
			if r.Trailer != nil {
				r.Trailer.Set("Sum", "changed")
			}
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != "hello" {
				return nil, fmt.Errorf("body %q, %w", b, err)
			}
			_ = r.Body.Close()
			r.Body = nil
			if calls.Add(1)%3 != 0 {
				time.Sleep(2 * time.Millisecond)
				return answer(503, newBody("x")), nil
			}
			return answer(200, newBody("x")), nil
		})
		tr := transport(base, timeout.Total(time.Minute), atOnce(50), hedge.New(hedge.After(time.Millisecond), hedge.Limit(1, 1e6)),
			timeout.PerAttempt(time.Second))
		for _, header := range []http.Header{{}, {"Accept": {"text/plain"}}} {
			r := request(t, "PUT", "http://example.com/path?q=1", strings.NewReader("hello"))
			r.Header = header
			r.Trailer = http.Header{"Sum": nil}
			before := r.Clone(r.Context())
			var sent io.ReadCloser
			for range 20 {
				r.Body, _ = r.GetBody()
				sent = r.Body
				response, err := tr.RoundTrip(r)
				require.NoError(t, err)
				read(t, response)
				require.Equal(t, before.Header, r.Header)
				require.Equal(t, before.Trailer, r.Trailer)
				require.Equal(t, before.URL, r.URL)
				require.Equal(t, before.Method, r.Method)
				require.Equal(t, before.Host, r.Host)
				require.Equal(t, before.Context(), r.Context())
				require.True(t, sent == r.Body)
			}
		}
	})
}

// TestFault201_TheRequestIsTheCallersAgain lets the caller change a request while the loser of a hedge is still at it.
func TestFault201_TheRequestIsTheCallersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := serve(t, func(http.ResponseWriter, *http.Request) {})
		dial, dials := n.base.DialContext, 0
		n.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials++; dials > 1 {
				return dial(ctx, network, address)
			}
			stuck, _ := net.Pipe() // from which nobody reads
			return stuck, nil
		}
		r := request(t, "PUT", "http://example.com/", strings.NewReader("x"))
		r.Header.Set("A", "1")
		response, err := transport(n.base, hedged()).RoundTrip(r)
		require.NoError(t, err)
		read(t, response)
		r.Header.Set("A", "2")
		r.URL.Host, r.Body, r.ContentLength = "changed", nil, 0
		n.close()
	})
}

// replicas is a base transport to two hosts, one of which is down.
type replicas struct {
	mu   sync.Mutex
	down string
	sent map[string]int
}

func (p *replicas) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[r.URL.Host]++
	if r.URL.Host == p.down {
		return nil, errors.New("connection refused")
	}
	return answer(200, newBody(r.URL.String()+" "+r.Host)), nil
}

func TestFault237_UH10_OneOfTwoHostsIsDown(t *testing.T) {
	hosts := []string{"a.example", "b.example"}
	for _, down := range hosts {
		base := &replicas{down: down, sent: map[string]int{}}
		breakers := keyed.New(func(host string) *breaker.Breaker {
			return breaker.New(breaker.Name(host), breaker.ConsecutiveFailures(3))
		})
		route := policyhttp.Route(func(ctx context.Context, r *http.Request) *url.URL {
			u := *r.URL
			for i := range hosts {
				u.Host = hosts[(retry.Attempt(ctx)+hedge.Attempt(ctx)+i)%len(hosts)]
				if breakers.Get(u.Host).Ready(ctx) == nil {
					break
				}
			}
			return &u
		})
		pipeline := resilience.Compose(atOnce(2), keyed.By(policyhttp.Host, breakers))
		tr := policyhttp.NewTransport(base, pipeline, route)
		for range 20 {
			response, err := tr.RoundTrip(request(t, "GET", "http://users.example/path?q=1", nil))
			require.NoError(t, err)
			text := read(t, response)
			require.NotContains(t, text, down)
			require.Contains(t, text, "/path?q=1")
		}
		if down == hosts[0] { // where the first attempt goes
			require.Equal(t, 3, base.sent[down])
		} else {
			require.Zero(t, base.sent[down])
		}
		require.LessOrEqual(t, base.sent[hosts[0]]+base.sent[hosts[1]], 23)
	}
}

func TestUH10_AHedgeGoesToTheOtherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent sync.Map
		base := tripper(func(r *http.Request) (*http.Response, error) {
			_, twice := sent.LoadOrStore(r.URL.Host, true)
			if twice {
				return nil, errors.New("twice")
			}
			if r.URL.Host == "a.example" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answer(200, newBody(r.URL.Host)), nil
		})
		breakers := keyed.New(func(host string) *breaker.Breaker { return breaker.New(breaker.ConsecutiveFailures(1)) })
		tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3), hedged(), keyed.By(policyhttp.Host, breakers)),
			policyhttp.Route(func(ctx context.Context, _ *http.Request) *url.URL {
				return &url.URL{Scheme: "http", Host: []string{"b.example", "a.example"}[hedge.Attempt(ctx)%2]}
			}))
		response, err := tr.RoundTrip(request(t, "GET", "http://users.example/", nil))
		require.NoError(t, err)
		require.Equal(t, "b.example", read(t, response))
		time.Sleep(time.Second)
		require.Equal(t, breaker.Closed, breakers.Get("a.example").State(), "the loser is neutral")
	})
}

// TestWhatTheRouteSaysLastIsWhereTheAttemptGoes has a route that changes its mind all the time.
func TestWhatTheRouteSaysLastIsWhereTheAttemptGoes(t *testing.T) {
	asked := 0
	var admitted []string
	base := &replicas{sent: map[string]int{}}
	breakers := keyed.New(func(host string) *breaker.Breaker {
		if host != "" {
			admitted = append(admitted, host)
		}
		return breaker.New()
	})
	tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3), keyed.By(policyhttp.Host, breakers)),
		policyhttp.Route(func(context.Context, *http.Request) *url.URL {
			asked++
			return &url.URL{Scheme: "http", Host: fmt.Sprintf("%d.example", asked)}
		}))
	for range 3 {
		response, err := tr.RoundTrip(request(t, "GET", "http://users.example/", nil))
		require.NoError(t, err)
		require.Equal(t, "http://"+admitted[len(admitted)-1]+" ", read(t, response))
	}
}

func TestUH10_TheHostFieldGoesAlong(t *testing.T) {
	base := &replicas{sent: map[string]int{}}
	tr := policyhttp.NewTransport(base, resilience.Compose(), policyhttp.Route(func(_ context.Context, r *http.Request) *url.URL {
		return &url.URL{Scheme: "http", Host: "b.example", Path: "/other"}
	}))
	r := request(t, "GET", "http://a.example/", nil)
	response, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, "http://b.example/other ", read(t, response), "no field of its own: that of the URL is sent")
	require.Same(t, r, response.Request)
	require.Equal(t, "http://a.example/", r.URL.String())
	r.Host = "virtual.example"
	response, err = tr.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, "http://b.example/other virtual.example", read(t, response))

	tr = policyhttp.NewTransport(base, resilience.Compose(atOnce(3)),
		policyhttp.Route(func(context.Context, *http.Request) *url.URL { return nil }))
	sent := newBody("x")
	_, err = tr.RoundTrip(request(t, "PUT", "http://a.example/", sent))
	require.ErrorContains(t, err, "Route")
	require.EqualValues(t, 1, sent.closes.Load())
}
