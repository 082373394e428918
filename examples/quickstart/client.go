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

// failure says which answers mean that the server is sick. Not found is a proper answer.
func (r *reply) failure() error {
	if r.status >= http.StatusInternalServerError {
		return fmt.Errorf("status %d", r.status)
	}
	return nil
}

// client makes single requests and measures them.
type client struct {
	http     http.Client
	server   string
	attempts atomic.Int64
	inside   atomic.Int64 // nanoseconds spent in requests
}

// newClient returns a client with connections of its own. limit bounds each request; 0 means no limit.
func newClient(server string, limit time.Duration) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 512, IdleConnTimeout: time.Minute}
	return &client{server: server, http: http.Client{Transport: transport, Timeout: limit}}
}

// send makes one request. It reads and closes the body, so that the connection can be used again and nothing needs
// ctx afterwards.
func (c *client) send(ctx context.Context, path string) (*reply, error) {
	c.attempts.Add(1)
	start := time.Now()
	defer func() { c.inside.Add(int64(time.Since(start))) }()

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
	if err != nil {
		return nil, err
	}
	return &reply{status: response.StatusCode, body: body}, nil
}
