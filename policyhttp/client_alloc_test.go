//go:build !race

package policyhttp_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
)

// TestA12_Allocations: the call and the permit. A base that may change what it gets costs a copy of the header on top,
// which allocates once here, where it is empty. What timeouts add is what their contexts cost; see the module bench.
func TestA12_Allocations(t *testing.T) {
	r := request(t, "GET", "http://example.com/", nil)
	count := func(tr http.RoundTripper) float64 {
		return testing.AllocsPerRun(1000, func() {
			response, err := tr.RoundTrip(r)
			if err != nil {
				panic(err)
			}
			_ = response.Body.Close()
		})
	}
	guards := transport(canned, retry.New(), breaker.New(), bulkhead.New(10))
	require.LessOrEqual(t, count(guards)-count(canned), 3.0)

	// Every request pays for the size of a call, so it must not grow unnoticed.
	const class, carefulClass = 1280, 1408 // of the allocator
	require.LessOrEqual(t, policyhttp.SizeOfCall, uintptr(class))
	require.LessOrEqual(t, policyhttp.SizeOfCall+unsafe.Sizeof(url.URL{}), uintptr(carefulClass))

	// A Transport is a base that is known to keep its hands off.
	require.LessOrEqual(t, count(transport(guards, retry.New(), breaker.New()))-count(guards), 2.0)
}

// TestA12_AllocationsOfABody: what the attempts share about it with the body of the first one, and the GetBody of the request
// that is sent.
func TestA12_AllocationsOfABody(t *testing.T) {
	var room [16]byte
	sends := tripper(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = r.Body.Read(room[:])
			_ = r.Body.Close()
		}
		return canned(r)
	})
	for layers, tr := range map[string]http.RoundTripper{
		"none":   transport(sends),
		"guards": transport(sends, retry.New(), breaker.New(), bulkhead.New(10)),
	} {
		count := func(r *http.Request) float64 {
			return testing.AllocsPerRun(1000, func() {
				response, err := tr.RoundTrip(r)
				if err != nil {
					panic(err)
				}
				_ = response.Body.Close()
			})
		}
		r := request(t, "PUT", "http://example.com/", nil)
		without := count(r)
		r.Body, r.ContentLength = endless{}, 16
		r.GetBody = func() (io.ReadCloser, error) { return endless{}, nil }
		require.LessOrEqual(t, count(r)-without, 2.0, layers)
	}
}

// endless is a body that allocates nothing.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

// TestA12_AllocationsOfAFailure: an error of which there is no more to say costs that of the call, and the times that Call.Waits
// is made of, in place of a response.
func TestA12_AllocationsOfAFailure(t *testing.T) {
	r := request(t, "GET", "http://example.com/", nil)
	count := func(base http.RoundTripper) float64 {
		tr := transport(base, bulkhead.New(10))
		return testing.AllocsPerRun(1000, func() {
			if response, err := tr.RoundTrip(r); err == nil {
				_ = response.Body.Close()
			}
		})
	}
	fails := tripper(func(*http.Request) (*http.Response, error) { return nil, io.EOF })
	require.LessOrEqual(t, count(fails)-count(canned), 1.0)
}
