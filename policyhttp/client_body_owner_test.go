package policyhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// upload is a base transport that answers while it still sends the body, as a server may: it hands the body out.
type upload struct {
	sending atomic.Pointer[http.Request] // the request that was answered
	rewind  bool                         // as http.Transport does when an idle connection turns out closed
}

func (u *upload) answer(r *http.Request) (*http.Response, error) {
	if u.rewind {
		_, _ = r.Body.Read(make([]byte, 2))
		_ = r.Body.Close()
		again, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		r.Body = again
	}
	_, err := r.Body.Read(make([]byte, 1))
	u.sending.Store(r)
	return answer(200, newBody("x")), err
}

// finish reads what is left of the body, and closes it.
func (u *upload) finish(t *testing.T) string {
	t.Helper()
	return read(t, &http.Response{Body: u.sending.Load().Body})
}

// putBuffered is a request whose body is recorded.
func putBuffered(t *testing.T, sent *body) *http.Request {
	r := request(t, "PUT", "http://example.com/", sent)
	r.ContentLength = int64(len("hello"))
	return r
}

// TestH2_ALoserClosesNoBodyThatTheWinnerSends: the first attempt of a hedge sends the body too, until the call ends.
func TestH2_ALoserClosesNoBodyThatTheWinnerSends(t *testing.T) {
	for _, rewind := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			winner := upload{rewind: rewind}
			base := tripper(func(r *http.Request) (*http.Response, error) {
				if hedge.Attempt(r.Context()) == 2 {
					return winner.answer(r)
				}
				_, _ = r.Body.Read(make([]byte, 3))
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			sent := newBody("hello")
			tr := policyhttp.NewTransport(base, resilience.Compose(hedged()), policyhttp.Buffer(10))
			response, err := tr.RoundTrip(putBuffered(t, sent))
			require.NoError(t, err)
			synctest.Wait()
			require.Zero(t, sent.closes.Load())
			require.Equal(t, "ello", winner.finish(t))
			require.EqualValues(t, 1, sent.closes.Load())
			read(t, response)
			require.EqualValues(t, 1, sent.closes.Load())
		})
	}
}

// TestH2_ABodyThatTheBaseHasRewoundIsStillSent needs no other attempt.
func TestH2_ABodyThatTheBaseHasRewoundIsStillSent(t *testing.T) {
	base := upload{rewind: true}
	send := func() (*body, *http.Response) {
		sent := newBody("hello")
		tr := policyhttp.NewTransport(tripper(base.answer), resilience.Compose(atOnce(2)), policyhttp.Buffer(10))
		response, err := tr.RoundTrip(putBuffered(t, sent))
		require.NoError(t, err)
		require.Zero(t, sent.closes.Load())
		return sent, response
	}
	sent, response := send()
	require.Equal(t, "ello", base.finish(t))
	require.EqualValues(t, 1, sent.closes.Load())
	read(t, response)
	require.EqualValues(t, 1, sent.closes.Load())

	sent, response = send()
	read(t, response)
	require.EqualValues(t, 1, sent.closes.Load(), "the base has not closed what it rewound")
	_, err := base.sending.Load().Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
}

// TestABodyThatTheBaseHasRewoundIsOneOfTheAttempt: of both kinds of body that can be rewound.
func TestABodyThatTheBaseHasRewoundIsOneOfTheAttempt(t *testing.T) {
	for _, buffered := range []bool{true, false} {
		put := func(text string) *http.Request {
			r := putBuffered(t, newBody(text))
			if !buffered {
				r.GetBody = func() (io.ReadCloser, error) { return newBody(text), nil }
			}
			return r
		}
		rewinds := tripper(func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			again, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			_, _ = io.Copy(io.Discard, again)
			_ = again.Close()
			return nil, errors.New("sum " + r.Trailer.Get("Sum"))
		})
		tr := policyhttp.NewTransport(rewinds, resilience.Compose(atOnce(2)), policyhttp.Buffer(10))

		r := put("hello")
		r.Trailer = http.Header{"Sum": {"5"}}
		_, err := tr.RoundTrip(r)
		require.ErrorContains(t, err, "sum 5")
		call, _ := policyhttp.Info(nil, err)
		require.Equal(t, 2, call.Attempts)

		_, err = tr.RoundTrip(put("hell")) // shorter than it says
		require.Equal(t, policy.Ignored, policy.ClassOf(err))
		call, _ = policyhttp.Info(nil, err)
		require.Equal(t, 1, call.Attempts)
	}
}

// TestWhatTheBaseHasRewoundAndClosedIsForgotten: a base transport may rewind for as long as it likes.
func TestWhatTheBaseHasRewoundAndClosedIsForgotten(t *testing.T) {
	for name, closeFirst := range map[string]bool{"closed, then rewound": true, "rewound, then closed": false} {
		t.Run(name, func(t *testing.T) {
			var made []weak.Pointer[body]
			alive := 0
			base := tripper(func(r *http.Request) (*http.Response, error) {
				for range 100 {
					if closeFirst {
						_ = r.Body.Close()
					}
					again, err := r.GetBody()
					if err != nil {
						return nil, err
					}
					_ = r.Body.Close()
					r.Body = again
				}
				runtime.GC()
				for _, b := range made {
					if b.Value() != nil {
						alive++
					}
				}
				_ = r.Body.Close()
				return answer(200, newBody("x")), nil
			})
			r := putBuffered(t, newBody("hello"))
			r.GetBody = func() (io.ReadCloser, error) {
				b := newBody("hello")
				made = append(made, weak.Make(b))
				return b, nil
			}
			response, err := transport(base, atOnce(2)).RoundTrip(r)
			require.NoError(t, err)
			read(t, response)
			require.Len(t, made, 100)
			require.LessOrEqual(t, alive, 2)
		})
	}
}

// TestABodyThatWasTooLongCannotBeRewound is also about what then becomes of the call: the server has the beginning of the body,
// so it was not refused.
func TestABodyThatWasTooLongCannotBeRewound(t *testing.T) {
	for method, reason := range map[string]error{"PUT": policyhttp.ErrBodyNotReplayable, "POST": policyhttp.ErrNotIdempotent} {
		base := tripper(func(r *http.Request) (*http.Response, error) { // as http.Transport does after a lost connection
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			_, err := r.GetBody()
			return nil, err
		})
		sent := newBody("hello")
		tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(3)), policyhttp.Buffer(2))
		_, err := tr.RoundTrip(request(t, method, "http://example.com/", sent))
		require.ErrorIs(t, err, policyhttp.ErrBodyNotReplayable)
		require.NotErrorIs(t, err, policy.ErrRejected)
		require.Equal(t, policy.Unclassified, policy.ClassOf(err))
		call, _ := policyhttp.Info(nil, err)
		require.Equal(t, reason, call.Reason)
		require.Equal(t, 1, call.Attempts)
		require.EqualValues(t, 1, sent.closes.Load())
	}
}

// TestNothingIsRewoundForAnAttemptThatLost: the caller has left, and nobody would close it.
func TestNothingIsRewoundForAnAttemptThatLost(t *testing.T) {
	for _, buffered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			rewound := make(chan error, 1)
			base := tripper(func(r *http.Request) (*http.Response, error) {
				if retry.Attempt(r.Context()) == 1 {
					time.Sleep(time.Minute)
					again, err := r.GetBody()
					if err == nil {
						_ = again.Close()
					}
					rewound <- err
					return nil, errors.New("reset")
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
				return answer(200, newBody("x")), nil
			})
			r := putBuffered(t, newBody("hello"))
			var asked atomic.Int64
			if !buffered {
				r.GetBody = func() (io.ReadCloser, error) {
					asked.Add(1)
					return newBody("hello"), nil
				}
			}
			tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(2), timeout.Abandon(time.Second)), policyhttp.Buffer(10))
			response, err := tr.RoundTrip(r)
			require.NoError(t, err)
			read(t, response)
			require.Error(t, <-rewound)
			require.LessOrEqual(t, asked.Load(), int64(1), "by the second attempt")
		})
	}
}

// TestHedgesDoNotRaceForABodyOfUnknownLength: the one behind could not go on where the body turns out too long. A retry comes
// after a failure, and may try. So it is whoever says that the request may be repeated.
func TestHedgesDoNotRaceForABodyOfUnknownLength(t *testing.T) {
	for name, c := range map[string]struct {
		ctx   func(context.Context) context.Context
		hedge []hedge.Option
	}{
		"by its method":  {ctx: func(ctx context.Context) context.Context { return ctx }},
		"by its context": {ctx: policyhttp.Idempotent},
		"by the hedge":   {ctx: func(ctx context.Context) context.Context { return ctx }, hedge: []hedge.Option{hedge.Idempotent()}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls, atOnceNow, most atomic.Int64
				base := tripper(func(r *http.Request) (*http.Response, error) {
					most.Store(max(most.Load(), atOnceNow.Add(1)))
					defer atOnceNow.Add(-1)
					time.Sleep(time.Second)
					b, err := io.ReadAll(r.Body)
					_ = r.Body.Close()
					if calls.Add(1) == 1 {
						return nil, errors.New("reset")
					}
					return answer(200, newBody(string(b))), err
				})
				tr := policyhttp.NewTransport(base, resilience.Compose(atOnce(2), hedged(c.hedge...)), policyhttp.Buffer(10))
				r := request(t, "PUT", "http://example.com/", once{strings.NewReader("hello")})
				response, err := tr.RoundTrip(r.WithContext(c.ctx(t.Context())))
				require.NoError(t, err)
				require.Equal(t, "hello", read(t, response))
				require.EqualValues(t, 2, calls.Load())
				require.EqualValues(t, 1, most.Load())
			})
		})
	}
}
