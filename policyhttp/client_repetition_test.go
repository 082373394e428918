package policyhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// TestReasonOfAPOST: the request itself is the reason only where another attempt would have followed otherwise.
func TestReasonOfAPOST(t *testing.T) {
	unanswered := errors.New("no answer")
	readAll := func(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	fails := func(err error) tripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	readsAndFails := func(err error) tripper {
		return func(r *http.Request) (*http.Response, error) {
			readAll(r)
			return nil, err
		}
	}
	answers := func(status int) tripper {
		return func(*http.Request) (*http.Response, error) { return answer(status, nil), nil }
	}
	hangs := tripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	deaf := tripper(func(*http.Request) (*http.Response, error) {
		time.Sleep(time.Hour)
		return nil, unanswered
	})
	refusedDial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	refusedStream := StreamError{StreamID: 1, Code: refusedStream}
	none, again := []policy.Layer(nil), []policy.Layer{atOnce(3)}
	for name, c := range map[string]struct {
		base    http.RoundTripper
		layers  []policy.Layer
		body    io.Reader
		options []policyhttp.Option
		reason  error
	}{
		"it may have arrived": {fails(unanswered), again, nil, nil, policyhttp.ErrNotIdempotent},
		"nobody repeats":      {fails(unanswered), none, nil, nil, policyhttp.ErrNotIdempotent},
		"a timeout":           {hangs, []policy.Layer{atOnce(3), timeout.PerAttempt(time.Second)}, nil, nil, policyhttp.ErrNotIdempotent},
		"given up":            {deaf, []policy.Layer{atOnce(3), timeout.Abandon(time.Second)}, nil, nil, policyhttp.ErrNotIdempotent},

		"it was not sent":                 {fails(refusedDial), again, nil, nil, retry.ErrExhausted},
		"it was not sent, nobody repeats": {fails(refusedDial), none, nil, nil, nil},
		"not processed, nobody repeats": {answers(503), none, once{strings.NewReader("order")},
			[]policyhttp.Option{policyhttp.RetryNotIdempotent(503)}, nil},
		"a class that is not retried": {answers(505), again, nil, nil, nil},
		"a status that is not retried": {answers(429), again, nil,
			[]policyhttp.Option{policyhttp.RetryStatuses(503)}, nil},

		"the body is gone": {readsAndFails(unanswered), again, once{strings.NewReader("order")}, nil, policyhttp.ErrBodyNotReplayable},
		"not sent, as the base says, but the body is gone": {readsAndFails(retry.NotSent(unanswered)), again,
			once{strings.NewReader("order")}, nil, policyhttp.ErrBodyNotReplayable},
		"refused, and the body is longer than what is kept": {readsAndFails(refusedStream), again, once{strings.NewReader("order")},
			[]policyhttp.Option{policyhttp.Buffer(2)}, policyhttp.ErrBodyNotReplayable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := policyhttp.NewTransport(c.base, resilience.Compose(c.layers...), c.options...)
				response, err := tr.RoundTrip(request(t, "POST", "http://example.com/", c.body))
				if err == nil {
					read(t, response)
				}
				call, _ := policyhttp.Info(response, err)
				require.Equal(t, c.reason, call.Reason)
				require.NotErrorIs(t, call.Err, policy.ErrRejected)
				time.Sleep(time.Hour)
			})
		})
	}
}

// TestReasonOfAnAttemptGivenUp: its body may be gone, too, although nobody has judged it yet.
func TestReasonOfAnAttemptGivenUp(t *testing.T) {
	deaf := tripper(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(time.Hour)
		return nil, io.EOF
	})
	for most, reason := range map[int64]error{2: policyhttp.ErrBodyNotReplayable, 64: nil} {
		synctest.Test(t, func(t *testing.T) {
			tr := policyhttp.NewTransport(deaf, resilience.Compose(timeout.Abandon(time.Second)), policyhttp.Buffer(most))
			_, err := tr.RoundTrip(request(t, "PUT", "http://example.com/", once{strings.NewReader("order")}))
			call, _ := policyhttp.Info(nil, err)
			require.Equal(t, reason, call.Reason, most)
			time.Sleep(time.Hour)
		})
	}
}

// TestReasonOfACallerWhoLeaves is that, whatever the method.
func TestReasonOfACallerWhoLeaves(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			hangs := tripper(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			_, err := transport(hangs, atOnce(3)).RoundTrip(request(t, method, "http://example.com/", nil).WithContext(ctx))
			call, _ := policyhttp.Info(nil, err)
			require.ErrorIs(t, call.Reason, context.Canceled, method)
		})
	}
}

// TestNoReasonOfASuccess: whether the request could have been sent again was never in question.
func TestNoReasonOfASuccess(t *testing.T) {
	for name, r := range map[string]func() *http.Request{
		"idempotent":     func() *http.Request { return request(t, "GET", "http://example.com/", nil) },
		"not idempotent": func() *http.Request { return request(t, "POST", "http://example.com/", nil) },
		"a body for once": func() *http.Request {
			return request(t, "PUT", "http://example.com/", once{strings.NewReader("order")})
		},
	} {
		for _, status := range []int{200, 404} {
			response, err := transport(newScript(status), atOnce(3)).RoundTrip(r())
			require.NoError(t, err)
			read(t, response)
			call, ok := policyhttp.Info(response, nil)
			require.True(t, ok)
			require.Equal(t, policyhttp.Call{Attempts: 1}, call, "%s: %d", name, status)
			require.Empty(t, call.Code())
		}
	}
}

// TestReasonIsNotThatOfACallInside, as where the base asks for a token with a Transport of its own.
func TestReasonIsNotThatOfACallInside(t *testing.T) {
	inner := transport(tripper(func(*http.Request) (*http.Response, error) { return nil, io.EOF }), atOnce(3))
	_, token := inner.RoundTrip(request(t, "POST", "http://token.example.com/", nil))
	require.ErrorIs(t, token, io.EOF)
	call, _ := policyhttp.Info(nil, token)
	require.ErrorIs(t, call.Reason, policyhttp.ErrNotIdempotent)

	base := tripper(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("token: %w", token) })
	_, err := transport(base, breaker.New()).RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.ErrorIs(t, err, io.EOF)
	call, _ = policyhttp.Info(nil, err)
	require.NotErrorIs(t, call.Reason, policyhttp.ErrNotIdempotent)
}

// TestReasonOfACallerWhoLeavesBeforeTheAttempt is that, too: the pipeline has ended the call by itself.
func TestReasonOfACallerWhoLeavesBeforeTheAttempt(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := transport(newScript(200), atOnce(3)).RoundTrip(request(t, method, "http://example.com/", nil).WithContext(ctx))
		call, _ := policyhttp.Info(nil, err)
		require.Zero(t, call.Attempts)
		require.ErrorIs(t, call.Reason, context.Canceled, method)
	}
}

// TestAnErrorOfTheBaseGoesAsItIs where there is nothing to add: functions of the user get it, and hedged attempts that fail alike
// say so once.
func TestAnErrorOfTheBaseGoesAsItIs(t *testing.T) {
	fails := tripper(func(*http.Request) (*http.Response, error) {
		time.Sleep(2 * time.Second)
		return nil, io.EOF
	})
	var asked error
	ask := retry.If(func(err error) bool {
		asked = err
		return false
	})
	for name, layer := range map[string]policy.Layer{
		"nobody repeats": atOnce(1), "a retry asks": atOnce(3, ask), "a hedge": hedge.New(hedge.After(time.Second)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := transport(fails, layer).RoundTrip(request(t, "GET", "http://example.com/", nil))
				require.EqualError(t, err, "EOF")
				call, _ := policyhttp.Info(nil, err)
				require.Same(t, io.EOF, call.Err)
			})
		})
	}
	require.Same(t, io.EOF, asked)
}

// TestNobodyReadsAheadForACallerWhoHasLeft: no attempt will follow.
func TestNobodyReadsAheadForACallerWhoHasLeft(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			answers := tripper(func(*http.Request) (*http.Response, error) {
				cancel()
				slow, _ := io.Pipe()
				return answer(503, slow), nil
			})
			begin := time.Now()
			_, err := transport(answers, atOnce(3)).RoundTrip(request(t, method, "http://example.com/", nil).WithContext(ctx))
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, time.Since(begin), method)
		})
	}
}

// closes is an error that closes the body which it is about whenever it is asked for its cause.
type closes struct{ body io.Closer }

func (c closes) Error() string { return "closes the body" }
func (c closes) Unwrap() error { return c.body.Close() }

// TestAnErrorMayUseTheCall: its methods are called under no lock.
func TestAnErrorMayUseTheCall(t *testing.T) {
	base := tripper(func(r *http.Request) (*http.Response, error) { return nil, closes{r.Body} })
	_, err := transport(base, atOnce(1)).RoundTrip(request(t, "PUT", "http://example.com/", strings.NewReader("order")))
	require.ErrorAs(t, err, new(closes))
	call, ok := policyhttp.Info(nil, err)
	require.True(t, ok)
	require.Equal(t, 1, call.Attempts)
}
