package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
)

// What the servers can do.
const (
	workers  = 8
	work     = 20 * time.Millisecond
	capacity = int(workers * time.Second / work) // requests a second
)

// customers are the known keys. A request with any other key counts as one without a key, and is identified by its
// address.
var customers = map[string]string{
	"key-of-ada": "ada", "key-of-grace": "grace", "key-of-joan": "joan", "key-of-mary": "mary", "key-of-max": "max",
}

func customer(r *http.Request) string { return customers[r.Header.Get("X-Api-Key")] }

// newFront returns the front door: each customer is served 150 requests a second, and 20 at once; as many requests as
// there are workers are handled at a time, and as many again may wait for a moment. A request that the bulkhead refuses
// costs its customer nothing.
func newFront() *resilience.Pipeline {
	return resilience.Compose(
		resilience.Name("front"),
		ratelimit.NewPerKey(150, 20, policyhttp.Key, ratelimit.Name("customer")),
		bulkhead.New(workers, bulkhead.Queue(workers, 2*work)),
	)
}

// server is a running server.
type server struct {
	url   string
	front *resilience.Pipeline // nil: no door
	ready *policyhttp.Ready
	http  *http.Server
	ended chan error
}

// start serves on loopback, behind a front door if door is true.
func start(door bool) (*server, error) {
	idle := make(chan struct{}, workers)
	var api http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case idle <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		time.Sleep(work)
		<-idle
		_, _ = io.WriteString(w, "done\n")
	})
	s := &server{ready: policyhttp.Readiness(), ended: make(chan error, 1)}
	if door {
		s.front = newFront()
		api = policyhttp.Handler(api, s.front,
			policyhttp.KeyBy(customer), policyhttp.RateLimitHeaders(policyhttp.Draft10), policyhttp.ProblemDetails())
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/readyz", s.ready) // beside the door, which must not refuse it

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second, // a client that sends or reads slowly keeps its slot no longer
		WriteTimeout:      10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() { s.ended <- s.http.Serve(listener) }()
	return s, nil
}

// stop is what to do when the process is told to end. In a cluster, wait some seconds after Drain, until the balancer
// has asked and sends no more.
func (s *server) stop() error {
	s.ready.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-s.ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
