package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// server is an HTTP server that runs.
type server struct {
	url  string
	http *http.Server
	done chan struct{} // closed when it serves no more
}

// serve starts a server. If it ends before it is closed, failed is called.
func serve(address string, handler http.Handler, failed func(error)) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &server{
		url:  "http://" + listener.Addr().String(),
		http: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed(err)
		}
	}()
	return s, nil
}

// close lets requests end until ctx does, and cuts off what is left.
func (s *server) close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}
