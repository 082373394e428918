package policyhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// turn is how a base transport answers: after a time, whatever becomes of the context.
type turn struct {
	status int
	after  time.Duration
}

// turns is a base transport that answers with one turn after the other, and keeps the bodies in the order of the requests.
func turns(all ...turn) (base tripper, bodies []*body) {
	var begun atomic.Int64
	for range all {
		bodies = append(bodies, newBody("answer"))
	}
	return func(*http.Request) (*http.Response, error) {
		n := begun.Add(1) - 1
		time.Sleep(all[n].after)
		return answer(all[n].status, bodies[n]), nil
	}, bodies
}

// TestA9_AStragglerIsClosed: an attempt that was abandoned answers while the next one is under way.
func TestA9_AStragglerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, bodies := turns(turn{200, 1500 * time.Millisecond}, turn{200, 900 * time.Millisecond})
		inner := bulkhead.New(5)
		nested := transport(base, inner)
		response, err := transport(nested, atOnce(2), timeout.Abandon(time.Second)).
			RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, "answer", read(t, response))
		time.Sleep(time.Minute)
		for i, b := range bodies {
			require.EqualValues(t, 1, b.closes.Load(), "body %d", i)
		}
		require.Zero(t, inner.Snapshot().InFlight)
	})
}

// TestA9_ARetryInsideOneAttemptOfAHedgeLeavesTheOthersAlone: with the hedge outside, each of its attempts has a retry of its
// own.
func TestA9_ARetryInsideOneAttemptOfAHedgeLeavesTheOthersAlone(t *testing.T) {
	ms := time.Millisecond
	for name, c := range map[string]struct {
		turns []turn
		want  int // the status
	}{
		"the other one succeeds":         {[]turn{{503, 20 * ms}, {200, 100 * ms}, {200, time.Second}}, 200},
		"the other one ends the call":    {[]turn{{503, 20 * ms}, {505, 15 * ms}, {200, 100 * ms}}, 505},
		"both fail, the other one first": {[]turn{{503, 20 * ms}, {503, 5 * ms}, {503, 60 * ms}, {503, 30 * ms}}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, bodies := turns(c.turns...)
				response, err := transport(base, policy.At(policy.StageRetry-1, hedged()), atOnce(2)).
					RoundTrip(request(t, "GET", "http://example.com/", nil))
				require.NoError(t, err)
				require.Equal(t, c.want, response.StatusCode)
				require.Equal(t, "answer", read(t, response))
				time.Sleep(time.Minute)
				call, ok := policyhttp.Info(response, nil)
				require.True(t, ok)
				for i, b := range bodies[:call.Attempts] {
					require.EqualValues(t, 1, b.closes.Load(), "body %d", i)
				}
			})
		})
	}
}

// TestA9_ARetryInsideOneAttemptOfAHedgeTakesNoAnswer: a success that another attempt of the hedge has not handed over yet is not
// superseded by a retry that has come further.
func TestA9_ARetryInsideOneAttemptOfAHedgeTakesNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := time.Millisecond
		base, bodies := turns(turn{503, 20 * ms}, turn{200, 5 * ms}, turn{200, time.Second})
		slow := policy.ObserverFunc(func(_ context.Context, event policy.Event) {
			if event.Kind == policy.EventAttempt && event.Outcome.Err == nil {
				time.Sleep(10 * ms)
			}
		})
		response, err := transport(base, policy.At(policy.StageRetry-1, hedged()), atOnce(2), resilience.Observe(slow)).
			RoundTrip(request(t, "GET", "http://example.com/", nil))
		time.Sleep(time.Minute)
		require.NoError(t, err)
		require.Equal(t, 200, response.StatusCode)
		require.EqualValues(t, 1, bodies[0].closes.Load(), "superseded by its own retry")
		require.Zero(t, bodies[1].closes.Load())
		require.Equal(t, "answer", read(t, response))
		require.EqualValues(t, 1, bodies[1].closes.Load())
		require.EqualValues(t, 1, bodies[2].closes.Load())
	})
}

// TestA9_ARetryInsideOneAttemptOfAHedgeGoesWhereItWasAdmitted: although another attempt of the hedge is sent meanwhile.
func TestA9_ARetryInsideOneAttemptOfAHedgeGoesWhereItWasAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		route := policyhttp.Route(func(context.Context, *http.Request) *url.URL {
			return &url.URL{Scheme: "http", Host: fmt.Sprint("replica", asked.Add(1))}
		})
		var admitted, sent atomic.Value
		admits := admit(func(ctx context.Context) {
			host := policyhttp.Host(ctx)
			if retry.Attempt(ctx) == 2 {
				admitted.Store(host)
				time.Sleep(20 * time.Millisecond) // in a queue, say
			}
		})
		base := tripper(func(r *http.Request) (*http.Response, error) {
			switch {
			case retry.Attempt(r.Context()) == 2:
				sent.Store(r.URL.Host)
				return answer(200, newBody("answer")), nil
			case hedge.Attempt(r.Context()) == 2:
				time.Sleep(time.Second)
			}
			return answer(503, newBody("answer")), nil
		})
		pipeline := resilience.Compose(policy.At(policy.StageRetry-1, hedged()), atOnce(2), admits)
		response, err := policyhttp.NewTransport(base, pipeline, route).RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, "answer", read(t, response))
		require.Equal(t, admitted.Load(), sent.Load())
		time.Sleep(time.Minute)
	})
}

// admit is a guard that admits every attempt.
type admit func(context.Context)

func (admit) Stage() policy.Stage { return policy.StageBreaker }
func (a admit) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	a(ctx)
	return ctx, policy.Ticket{}, nil
}
func (admit) Settle(context.Context, policy.Ticket, policy.Outcome) {}
