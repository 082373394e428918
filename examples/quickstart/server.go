package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// workers is how many requests a server works on at a time; the others wait for their turn.
const workers = 8

// phase is how well the server is for a while.
type phase struct {
	name    string
	lasts   time.Duration
	failing float64       // the share of requests that are answered with status 503
	dead    bool          // every connection is reset
	work    time.Duration // how long a worker needs for an answer
}

// server is a real HTTP server on loopback that can fall sick. It counts what reaches it, phase by phase.
type server struct {
	url      string
	phases   []phase
	http     http.Server
	listener net.Listener
	stopped  chan struct{}
	workers  chan struct{}

	current atomic.Int64
	reached []atomic.Int64 // by phase: requests, and connections that were reset at once

	mu          sync.Mutex
	random      *rand.Rand
	connections map[net.Conn]bool
}

// startServer starts a server in the first of phases.
func startServer(phases []phase) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		url:         "http://" + listener.Addr().String(),
		phases:      phases,
		listener:    listener,
		stopped:     make(chan struct{}),
		workers:     make(chan struct{}, workers),
		reached:     make([]atomic.Int64, len(phases)),
		random:      rand.New(rand.NewPCG(1, 2)), // the same for every server: no arm is luckier
		connections: make(map[net.Conn]bool),
	}
	s.http = http.Server{
		Handler:           http.HandlerFunc(s.answer),
		ConnState:         s.track,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go func() {
		defer close(s.stopped)
		_ = s.http.Serve(mortal{listener, s})
	}()
	return s, nil
}

// enter moves the server to a phase. Death resets the connections that are open.
func (s *server) enter(index int) {
	s.current.Store(int64(index))
	if s.phases[index].dead {
		s.mu.Lock()
		defer s.mu.Unlock()
		for connection := range s.connections {
			reset(connection)
		}
	}
}

// stop closes everything and waits until nobody listens any more.
func (s *server) stop() {
	_ = s.http.Close()
	<-s.stopped
}

// requestsOf returns how many requests have reached the server in a phase, or in the whole run.
func (s *server) requestsOf(phase int) (requests int64) {
	for i := range s.reached {
		if i == phase || phase == wholeRun {
			requests += s.reached[i].Load()
		}
	}
	return requests
}

// arrive counts something that reached the server, and returns the phase it reached it in.
func (s *server) arrive() phase {
	index := s.current.Load()
	s.reached[index].Add(1)
	return s.phases[index]
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	now := s.arrive()
	switch {
	case now.dead: // the connection was accepted just before
		panic(http.ErrAbortHandler)
	case now.failing > 0 && s.draw() < now.failing:
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	case !s.work(r.Context(), now.work):
		return
	}
	if strings.HasPrefix(r.URL.Path, "/missing/") {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, `{"name":"Ada"}`)
}

// work waits for a worker and lets it do its work. It reports false when the client left while it waited. Work that has
// begun is done to its end, even if nobody waits for it any more.
func (s *server) work(ctx context.Context, d time.Duration) bool {
	select {
	case s.workers <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-s.workers }()
	time.Sleep(d)
	return true
}

func (s *server) draw() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64()
}

// track keeps the set of open connections.
func (s *server) track(connection net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.connections[connection] = true
	case http.StateClosed, http.StateHijacked:
		delete(s.connections, connection)
	}
}

// mortal is the listener of a server: while that is dead, it resets every connection.
type mortal struct {
	net.Listener
	server *server
}

func (m mortal) Accept() (net.Conn, error) {
	for {
		connection, err := m.Listener.Accept()
		if err != nil || !m.server.phases[m.server.current.Load()].dead {
			return connection, err
		}
		m.server.arrive()
		reset(connection)
	}
}

// reset closes a connection as a dead process does: the peer gets a reset, not an end of file.
func reset(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}
