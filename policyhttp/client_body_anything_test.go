package policyhttp_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/timeout"
)

// owned is a caller's body that cannot be read once it is closed.
type owned struct {
	strings.Reader
	closes atomic.Int64
}

var errClosed = errors.New("the body is closed")

func (o *owned) Read(p []byte) (int, error) {
	if o.closes.Load() > 0 {
		return 0, errClosed
	}
	return o.Reader.Read(p)
}

func (o *owned) Close() error {
	o.closes.Add(1)
	return nil
}

// careless is a base transport that does anything that it may with the body of a request, and then answers, fails or hangs.
type careless struct {
	text string // the body

	mu       sync.Mutex
	random   *rand.Rand
	sendings []*uploading // of the answers
	wrong    error        // what it found wrong
}

// uploading is how far an attempt has come with its body.
type uploading struct {
	body    io.ReadCloser // nil if it is closed
	read    int
	earlier []io.ReadCloser // that the base transport has not closed before it rewound
}

func (c *careless) draw(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

func (c *careless) RoundTrip(r *http.Request) (*http.Response, error) {
	s := &uploading{body: r.Body}
	for range c.draw(6) {
		switch c.draw(6) {
		case 0:
			if s.body != nil {
				_ = s.body.Close()
				s.body = nil
			}
		case 1:
			if r.GetBody == nil {
				break
			}
			again, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			if c.draw(2) == 0 { // to look at it
				_, _ = again.Read(make([]byte, c.draw(9)))
				break
			}
			if s.body != nil {
				s.earlier = append(s.earlier, s.body)
			}
			s = &uploading{body: again, earlier: s.earlier}
		case 2:
			time.Sleep(time.Duration(c.draw(30)) * time.Millisecond)
		default:
			if s.body != nil {
				c.readOne(r, s)
			}
		}
	}
	status := []int{0, 0, 503, 200, 200}[c.draw(5)]
	if status == 0 {
		if c.draw(3) == 0 {
			<-r.Context().Done()
		}
		return nil, errors.New("reset")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendings = append(c.sendings, s)
	return answer(status, newBody("x"), "Sending", strconv.Itoa(len(c.sendings)-1)), nil
}

// readOne reads a byte, which must be the right one unless the attempt is over.
func (c *careless) readOne(r *http.Request, s *uploading) {
	var b [1]byte
	n, err := s.body.Read(b[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 1 && b[0] != c.text[s.read] {
		c.wrong = errors.New("another byte")
	}
	if err != nil && !errors.Is(err, io.EOF) && r.Context().Err() == nil {
		c.wrong = err
	}
	s.read += n
}

// TestH2_WhateverBecomesOfABody sends bodies of all kinds with careless base transports, in retries and hedges: the
// attempt that is delivered can go on sending, and in the end the caller's body is closed once.
func TestH2_WhateverBecomesOfABody(t *testing.T) {
	const text = "hello body"
	const again, buffered, unknown, once = 0, 1, 2, 3
	for seed := range uint64(testsize.Pick(4000, 30_000)) {
		synctest.Test(t, func(t *testing.T) {
			base := &careless{text: text, random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // to be reproduced
			sent := &owned{Reader: *strings.NewReader(text)}
			r := request(t, "PUT", "http://example.com/", sent)
			r.ContentLength = int64(len(text))
			options := []policyhttp.Option{policyhttp.Buffer(100)}
			kind := seed % 4
			switch kind {
			case again:
				r.GetBody = func() (io.ReadCloser, error) { return newBody(text), nil }
			case unknown:
				r.ContentLength = -1
			case once:
				options = []policyhttp.Option{policyhttp.RetryNotIdempotent(503)}
			}
			layers := []policy.Layer{timeout.Total(time.Minute), atOnce(3), timeout.PerAttempt(time.Second)}
			if base.draw(3) > 0 {
				layers = append(layers, hedged(hedge.AfterFailure()))
			}
			response, err := policyhttp.NewTransport(base, resilience.Compose(layers...), options...).RoundTrip(r)
			synctest.Wait()
			if err == nil {
				n, err := strconv.Atoi(response.Header.Get("Sending"))
				require.NoError(t, err)
				base.mu.Lock()
				s := base.sendings[n]
				base.mu.Unlock()
				takenBack := kind == once && s.read == 0 && response.StatusCode == 503
				for _, earlier := range s.earlier {
					require.NoError(t, earlier.Close())
				}
				if s.body != nil && !takenBack {
					rest, err := io.ReadAll(s.body)
					require.NoError(t, err, "seed %d", seed)
					require.Equal(t, text[s.read:], string(rest), "seed %d", seed)
					require.NoError(t, s.body.Close())
				}
				read(t, response)
			}
			time.Sleep(time.Minute)
			require.EqualValues(t, 1, sent.closes.Load(), "seed %d", seed)
			base.mu.Lock()
			defer base.mu.Unlock()
			require.NoError(t, base.wrong, "seed %d", seed)
		})
	}
}
