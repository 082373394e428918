package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// reply is an answer of the server, read to its end.
type reply struct {
	status int
	body   []byte
}

// client makes calls and measures the requests that they are made of.
type client struct {
	http   http.Client
	server string
	meter
}

// meter is a transport that counts requests, and the time until they are answered.
type meter struct {
	http.Transport
	attempts atomic.Int64
	inside   atomic.Int64 // nanoseconds
}

func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	m.attempts.Add(1)
	start := time.Now()
	defer func() { m.inside.Add(int64(time.Since(start))) }()
	return m.Transport.RoundTrip(r)
}

// newClient returns a client with connections of its own. limit bounds each request; 0 means no limit.
func newClient(server string, limit time.Duration) *client {
	c := &client{server: server}
	c.MaxIdleConnsPerHost, c.IdleConnTimeout = 512, time.Minute
	c.http = http.Client{Transport: &c.meter, Timeout: limit}
	return c
}

// get asks for path. A status from 500 up is an error; not found is a proper answer.
func (c *client) get(ctx context.Context, path string) (*reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode >= http.StatusInternalServerError {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return &reply{status: response.StatusCode, body: body}, err
}
