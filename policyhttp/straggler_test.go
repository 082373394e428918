package policyhttp_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
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
