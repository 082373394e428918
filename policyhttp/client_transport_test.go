package policyhttp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
)

func TestH1_DiscardedBodiesAreClosed(t *testing.T) {
	base := newScript(503, 503, 200)
	response, err := transport(base, atOnce(3)).RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	require.Equal(t, 200, response.StatusCode)
	require.Equal(t, "answer OK", read(t, response))
	for i, b := range base.bodies {
		require.EqualValues(t, 1, b.closes.Load(), "body %d", i)
	}
}

func TestFault203_H10_UH3_POSTIsSentOnce(t *testing.T) {
	send := func(r *http.Request) int {
		base := newScript(503)
		response, err := transport(base, atOnce(3)).RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, 503, response.StatusCode)
		require.NoError(t, response.Body.Close())
		return base.calls()
	}
	post := request(t, "POST", "http://example.com/", strings.NewReader("order"))
	require.Equal(t, 1, send(post))
	require.Equal(t, 1, send(request(t, "PATCH", "http://example.com/", nil)))

	post = request(t, "POST", "http://example.com/", strings.NewReader("order"))
	post.Header.Set("Idempotency-Key", "1")
	require.Equal(t, 3, send(post))

	post = request(t, "POST", "http://example.com/", strings.NewReader("order"))
	require.Equal(t, 3, send(post.WithContext(policyhttp.Idempotent(t.Context()))))

	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY", ""} {
		r := request(t, "GET", "http://example.com/", nil)
		r.Method = method
		require.Equal(t, 3, send(r), method)
	}
	require.Equal(t, 1, send(request(t, "GET", "http://example.com/", nil).WithContext(retry.NotIdempotent(t.Context()))))
}

// A base transport that makes requests of its own under the context of one: each is judged for itself.
func TestUH3_ARequestWithinARequestIsAnother(t *testing.T) {
	for _, c := range []struct {
		ctx           context.Context
		outer, within string
		want          int
	}{
		{t.Context(), "GET", "POST", 1},
		{t.Context(), "POST", "GET", 3},
		{policyhttp.Idempotent(t.Context()), "POST", "POST", 3}, // what the caller has said is about both
		{retry.NotIdempotent(t.Context()), "GET", "GET", 1},
	} {
		tokens := newScript(503)
		within := transport(tokens, atOnce(3))
		outer := transport(tripper(func(r *http.Request) (*http.Response, error) {
			return within.RoundTrip(request(t, c.within, "http://tokens.example/", nil).WithContext(r.Context()))
		}), atOnce(1))
		response, err := outer.RoundTrip(request(t, c.outer, "http://example.com/", nil).WithContext(c.ctx))
		require.NoError(t, err)
		read(t, response)
		require.Equal(t, c.want, tokens.calls(), "%s within %s", c.within, c.outer)
	}
}

func TestA8_H11_ExhaustedReturnsTheLastResponse(t *testing.T) {
	base := newScript(503)
	client := &http.Client{Transport: transport(base, atOnce(3))}
	response, err := client.Do(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	require.Equal(t, 503, response.StatusCode)
	require.Equal(t, "answer Service Unavailable", read(t, response))
	call, ok := policyhttp.Info(response, nil)
	require.True(t, ok)
	require.Equal(t, 3, call.Attempts)
	require.Len(t, call.Waits, 2)
	require.ErrorIs(t, call.Reason, retry.ErrExhausted)
	require.Equal(t, "retry.exhausted", call.Code())
	failed, ok := errors.AsType[*policyhttp.Error](call.Err)
	require.True(t, ok)
	require.Equal(t, 503, failed.Status)
}

func TestUH12_ARejectionIsAnError(t *testing.T) {
	open := breaker.New(breaker.Name("users"), breaker.ConsecutiveFailures(1))
	base := newScript(503)
	client := &http.Client{Transport: transport(base, open)}
	response, err := client.Do(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	response, err = client.Do(request(t, "GET", "http://example.com/", nil))
	require.Nil(t, response)
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.ErrorIs(t, err, policy.ErrRejected)
	wait, ok := policy.RetryAfter(err)
	require.True(t, ok)
	require.Positive(t, wait)
	call, ok := policyhttp.Info(response, err)
	require.True(t, ok)
	require.Zero(t, call.Attempts)
	require.Equal(t, "breaker.open", call.Code())
	require.Equal(t, 1, base.calls())
}

func TestUH11_TheSlotIsHeldUntilTheBodyEnds(t *testing.T) {
	for _, status := range []int{200, 404} {
		slots := bulkhead.New(1)
		base := newScript(status)
		tr := policyhttp.NewTransport(base, resilience.Compose(slots))
		response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.NoError(t, err)
		require.Equal(t, 1, slots.Snapshot().InFlight)
		_, err = tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.NoError(t, response.Body.Close())
		require.Zero(t, slots.Snapshot().InFlight)
		require.NoError(t, response.Body.Close())
		require.Zero(t, slots.Snapshot().InFlight)
	}
}

// opener is a guard that opens something of its own for as long as an attempt lasts.
type opener struct {
	slots  *bulkhead.Bulkhead
	permit *policy.Permit
	held   int // slots when the attempt ended
}

func (o *opener) Stage() policy.Stage { return policy.StageBulkhead }

func (o *opener) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	var err error
	_, o.permit, err = resilience.Open(ctx, o.slots, func(context.Context) (int, error) { return 1, nil })
	return ctx, policy.Ticket{}, err
}

func (o *opener) Settle(context.Context, policy.Ticket, policy.Outcome) {
	o.held = o.slots.Snapshot().InFlight
	o.permit.Done(nil)
}

func TestUH11_WhatALayerOpensIsItsOwn(t *testing.T) {
	slots, own := bulkhead.New(1), bulkhead.New(1)
	layer := &opener{slots: own}
	tr := transport(newScript(200), slots, layer)
	response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	require.Equal(t, 1, slots.Snapshot().InFlight)
	require.Equal(t, 1, own.Snapshot().InFlight)
	read(t, response)
	require.Zero(t, slots.Snapshot().InFlight)
	require.Zero(t, own.Snapshot().InFlight)
	require.Equal(t, 1, layer.held)
}

func TestUH14_ACancelIsNeutral(t *testing.T) {
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	judge := breaker.New(breaker.ConsecutiveFailures(1))
	calls := 0
	base := tripper(func(r *http.Request) (*http.Response, error) {
		calls++
		cancel(cause)
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	_, err := transport(base, atOnce(3), judge).RoundTrip(request(t, "GET", "http://example.com/", nil).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, calls)
	require.Equal(t, breaker.Closed, judge.State())
}

// twice is a wrapper that makes each call a second time, although the first one has succeeded.
type twice struct{}

func (twice) Stage() policy.Stage { return policy.StageHedge }

func (twice) Run(ctx context.Context, call func(context.Context) error) error {
	if err := call(ctx); err != nil {
		return err
	}
	_ = call(ctx) // its result is dropped
	return nil
}

func TestAnAttemptAfterASuccessHasNotWaited(t *testing.T) {
	response, err := transport(newScript(200), twice{}).RoundTrip(request(t, "GET", "http://example.com/", nil))
	require.NoError(t, err)
	call, _ := policyhttp.Info(response, nil)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 2, call.Attempts)
	require.Empty(t, call.Waits) // once it was 292 years
}
