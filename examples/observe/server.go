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

// listenTCP is how servers listen.
func listenTCP(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// serve starts a server. If it ends before it is closed, failed is called.
func (s *settings) serve(address string, handler http.Handler, failed func(error)) (*server, error) {
	listener, err := s.listener(address)
	if err != nil {
		return nil, err
	}
	return serve(listener, handler, failed), nil
}

func serve(listener net.Listener, handler http.Handler, failed func(error)) *server {
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
	return s
}

// close lets requests end until ctx does, and cuts off what is left.
func (s *server) close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}
