package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	every        = 40 * time.Millisecond // a request: 25 per second
	mostRequests = 100                   // at a time; what would be more is left out
)

// load is the traffic of the service.
type load struct {
	client                    http.Client
	answered, failed, leftOut atomic.Int64
}

func newLoad(base http.RoundTripper) *load {
	return &load{client: http.Client{Transport: base, Timeout: 10 * time.Second}}
}

// run sends requests until ctx ends, and waits for the last of them.
func (l *load) run(ctx context.Context, service string) {
	var sent sync.WaitGroup
	defer sent.Wait()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	slots := make(chan struct{}, mostRequests)
	for id := 1; ; id++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case slots <- struct{}{}:
			sent.Go(func() {
				defer func() { <-slots }()
				l.get(fmt.Sprintf("%s/users/%d", service, id))
			})
		default:
			l.leftOut.Add(1)
		}
	}
}

// get sends one request. It has no context: a request that was begun when the load ends is still answered.
func (l *load) get(url string) {
	response, err := l.client.Get(url)
	if err != nil {
		l.failed.Add(1)
		return
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		l.failed.Add(1)
		return
	}
	l.answered.Add(1)
}

func (l *load) String() string {
	return fmt.Sprintf("%d requests answered, %d failed, %d left out", l.answered.Load(), l.failed.Load(), l.leftOut.Load())
}
